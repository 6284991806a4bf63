"""A first installation that fails: nothing to go back to, so it says why and stops.

The faults show only under systemd, so that nothing but the installation can find them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.rollback import await_settled
from tests.system.stack import (
    APT_SECONDS,
    UNITS,
    active_units,
    assert_healthy,
    install_stack,
    installed,
    last_good,
    next_command,
    server,
    tradingctl,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
SQUATTER = ("systemd-run", "--quiet", "--unit=squatter", "python3", "-m", "http.server", "9001")


@dataclass(frozen=True)
class Report:
    """What the gate says of one unit: what is wrong, and the end of its journal."""

    finding: str
    journal: str


def report_on(unit: str, output: str) -> Report:
    """Return the gate's report on a unit that failed; AssertionError if it is not complete."""
    _, found, text = output.partition(f"\n{unit}.service FAILED\n")
    assert found, f"{unit} is not reported:\n{output}"
    finding, _, journal = text.partition("         the last 20 lines of its journal\n")
    for part in ("           expected  ", "           got       ", "           next      "):
        assert part in finding
    lines = list(takewhile(lambda line: line.startswith("           "), journal.splitlines()))
    assert 0 < len(lines) <= 20
    return Report(finding, "\n".join(lines))


def test_bad_answer_is_shown_with_what_was_expected(os_base: Path, releases: Releases) -> None:
    project = releases("answers_500")
    project.publish()
    with server(os_base, project) as machine:
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("automatictrader-api", failed.output)
        assert "health check" in report.finding
        assert "expected  status 200 from http://127.0.0.1:8080/healthz" in report.finding
        assert "got       status 500 broken on purpose" in report.finding
        assert next_command(failed.output) == "journalctl -u automatictrader-api.service -n 100"
        assert "broken on a server" in machine.sh(next_command(failed.output)).stdout
        assert "traderunner-stack" not in installed(machine)
        assert last_good(machine) is None
        assert tradingctl(machine, "verify").returncode == 3
        machine.wait_until(
            lambda: "NO ROLLBACK: no release was verified on this server before"
            in machine.journal("trading-rollback.service"), 120, "the end of the installation"
        )  # fmt: skip
        assert "could not be taken back" in tradingctl(machine, "status").stdout


def test_crash_at_start_is_shown_with_its_journal(os_base: Path, releases: Releases) -> None:
    project = releases("crashes_at_import")
    project.publish()
    with server(os_base, project) as machine:
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("automatictrader-api", failed.output)
        assert "unit state" in report.finding
        assert "RuntimeError: this release cannot start on a server" in report.journal
        others = [unit for unit in UNITS if UNITS[unit] != "automatictrader-api"]
        assert active_units(machine) == others, "one failing service takes no other down"


def test_port_held_by_another_process_names_the_holder(os_base: Path, slim: Project) -> None:
    with server(os_base, slim) as machine:
        machine.run(*SQUATTER)
        machine.wait_for_http("http://127.0.0.1:9001/")
        holder = machine.systemctl_show("squatter.service")["MainPID"]
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("trading-dashboard-v2", failed.output)
        assert "port 9001" in report.finding
        assert f"held by process {holder} (" in report.finding
        assert "-m http.server 9001)" in report.finding
        assert last_good(machine) is None
        assert machine.http("http://127.0.0.1:9001/").status == 200, "the holder is left alone"
        mend_and_configure(machine)
        assert_healthy(machine)
        assert "could not be taken back" not in tradingctl(machine, "status").stdout


def mend_and_configure(machine: Machine) -> None:
    """Take the cause away, as an administrator would, and have dpkg go on."""
    machine.run("systemctl", "stop", "squatter.service")
    machine.run("dpkg", "--configure", "-a", timeout=APT_SECONDS)
    await_settled(machine)
