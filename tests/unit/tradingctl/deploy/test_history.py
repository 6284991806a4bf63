"""What happened to the releases."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.cli import main
from tradingctl.deploy.history import Event, history_text, read_events, record


def events(machine: Machine) -> list[Event]:
    return list(read_events(machine.server))


def shown(machine: Machine, *words: str) -> str:
    machine.out.seek(0)
    machine.out.truncate()
    assert main(["history", *words], machine.server) == 0
    return machine.out.getvalue()


def test_an_event_is_one_line_of_json_and_one_of_the_journal(machine: Machine) -> None:
    machine.environ["SUDO_USER"] = "alice"
    record(machine.server, "failed", "2", "gone back", "health: got 500", {"board": "2"})
    (line,) = machine.paths.deploy_log.read_text(encoding="utf-8").splitlines()
    data = json.loads(line)
    assert data.pop("at").endswith("+00:00")
    assert data == {
        "event": "failed",
        "release": "2",
        "by": "alice",
        "detail": "gone back",
        "check": "health: got 500",
        "versions": {"board": "2"},
    }
    assert machine.system.ran("logger") == [
        "logger -t tradingctl -p user.notice -- failed 2 gone back by alice"
    ]


def test_events_are_appended(machine: Machine) -> None:
    for release in ("1", "2"):
        record(machine.server, "install", release)
    assert [each.release for each in events(machine)] == ["1", "2"]
    assert machine.paths.deploy_log.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("half", ['{"at": "20', "nonsense", "[]", "7"])
def test_a_half_written_last_line_is_left_out_and_swallows_nothing(
    machine: Machine, half: str
) -> None:
    record(machine.server, "install", "1")
    with machine.paths.deploy_log.open("a") as stream:
        stream.write(half)
    assert [each.release for each in events(machine)] == ["1"]
    record(machine.server, "install", "2")
    assert [each.release for each in events(machine)] == ["1", "2"]


def test_what_a_later_version_wrote_is_read_as_far_as_it_is_known(machine: Machine) -> None:
    line = {"at": "2026", "event": "install", "release": "1", "by": "root", "mood": "good"}
    machine.write("var/log/trading/deploy.log", json.dumps(line) + "\n")
    assert events(machine) == [Event("2026", "install", "1", "root")]


def test_a_log_that_cannot_be_written_is_a_warning(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write("var/log/trading", "no directory")
    record(machine.server, "install", "1")
    said = machine.err.getvalue()
    assert f"warning: {machine.paths.deploy_log}: " in said
    assert "the event is in the journal alone" in said
    assert machine.system.ran("logger")


def test_the_table_has_a_line_for_each_event() -> None:
    found = [
        Event("2026-11-24T03:00:00+00:00", "install", "2", "alice: apt-get install"),
        Event("2026-11-24T03:01:00+00:00", "failed", "", "root", "two\nlines", "health: got 500"),
    ]
    assert history_text(found).splitlines() == [
        "WHEN                 EVENT    RELEASE  BY                      WHAT",
        "2026-11-24 03:00:00  install  2        alice: apt-get install",
        "2026-11-24 03:01:00  failed   -        root                    health: got 500; two lines",
    ]


def test_the_command_shows_the_last_events_and_all_as_json(machine: Machine) -> None:
    assert shown(machine) == "no event yet\n"
    for number in range(25):
        record(machine.server, "install", f"r{number}")
    assert len(shown(machine).splitlines()) == 21
    assert "r24" in shown(machine, "-n", "1")
    assert "r23" not in shown(machine, "-n", "1")
    assert len(json.loads(shown(machine, "--json"))) == 25


@pytest.mark.parametrize("number", ["0", "-3", "x", ""])
def test_fewer_than_one_event_is_wrong_usage(
    machine: Machine, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["history", "-n", number], machine.server)
    assert raised.value.code == 2
    assert f"expected a number, 1 or more, got {number!r}" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_is_recorded(machine: Machine) -> None:
    name = os.fsdecode(b"B\xf6rse.env")
    record(machine.server, "restore", "1", name)
    assert events(machine)[0].detail == name
    assert rb"B\udcf6rse.env" in machine.paths.deploy_log.read_bytes()
    (said,) = machine.system.ran("logger")
    assert r"restore 1 B\udcf6rse.env" in said, "the journal is UTF-8"


def test_the_log_is_found_where_the_folder_is_not_there_yet(machine: Machine) -> None:
    assert not Path(machine.paths.deploy_log.parent).exists()
    record(machine.server, "install", "1")
    assert len(events(machine)) == 1
