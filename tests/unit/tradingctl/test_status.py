"""The status at a glance."""

from __future__ import annotations

import json

import pytest
from tests.unit.tradingctl.fakes import Machine, Reply, answering, health, stream, stream_unit

from tradingctl.cli import main
from tradingctl.report import age_text

NAME = "marketdata-stream"


def test_the_status_shows_release_channel_versions_units_and_health(machine: Machine) -> None:
    machine.write(
        "etc/apt/sources.list.d/traderunner.sources", "Types: deb\nSuites: bookworm-prod\n"
    )
    machine.write("etc/trading/environment", "# one of two\nTRADING_ENVIRONMENT=staging\n")
    machine.euid = 1000
    with answering(Reply()) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        assert main(["status"], machine.server) == 0
    text = machine.out.getvalue()
    for word in ("2026.11.23.1", "bookworm-prod", "staging", "no release yet", "7817388"):
        assert word in text
    assert "active" in text
    assert "(1m 40s)" in text
    assert text.rstrip().endswith("ok")
    assert machine.clock.slept == []


def test_a_sick_service_and_another_running_version_are_shown(machine: Machine) -> None:
    with answering(Reply(status=500, body=b"")) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        machine.link(NAME, "1")
        assert main(["status"], machine.server) == 0
    assert "(runs 1)" in machine.out.getvalue()
    assert "status 500" in machine.out.getvalue()


def test_the_status_without_systemd_and_with_a_broken_record_still_reports(
    machine: Machine,
) -> None:
    machine.healthy(stream())
    machine.paths.systemd_running.rmdir()
    machine.write("var/lib/trading/last-good.json", '{"release": "1"}')
    assert main(["status", "--json"], machine.server) == 0
    found = json.loads(machine.out.getvalue())
    assert found["components"][0]["units"][0]["state"] == "unknown"
    assert found["notes"][0] == "unit states are not known: systemd is not running"
    assert "last-good.json: version: missing" in found["notes"][1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (3700, "1h 1m"),
        (90000, "1d 1h"),
        (-0.5, "0s"),
        (-3600, "dated 1h 0m in the future"),
    ],
)
def test_an_age_is_told_in_its_largest_two_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
