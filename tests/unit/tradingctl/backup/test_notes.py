"""What the status says of backups that are not made."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.tradingctl.backup.writing import create, database
from tests.unit.tradingctl.fakes import BOOTED, Machine, stream, unit_state

from tradingctl.backup import snapshot
from tradingctl.backup.notes import INTERVALS, backup_notes
from tradingctl.inventory import read_inventory

UNITS = Path(__file__).parents[4] / "debian-templates/common/payload/lib/systemd/system"
REST = {"ActiveState": "inactive", "SubState": "dead", "UnitFileState": "static"}
MINUTE = 60.0


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """Give a server on which both services that back up have just done so."""
    machine.healthy(stream())
    for name in INTERVALS:
        ran(machine, name, 0)
        began(machine, name, BOOTED)
    return machine


def ran(machine: Machine, name: str, ago: float, **changed: str) -> None:
    """Let a service have ended so many seconds ago."""
    ended = str(int((BOOTED - ago) * 1e6))
    state = unit_state(name, ExecMainExitTimestampMonotonic=ended, **{**REST, **changed})
    machine.system.units[name] = [state]


def began(machine: Machine, name: str, ago: float, **changed: str) -> None:
    """Let the timer of a service be active for so many seconds."""
    since = str(int((BOOTED - ago) * 1e6))
    timer = f"{name}.timer"
    machine.system.units[timer] = [
        unit_state(timer, ActiveEnterTimestampMonotonic=since, **changed)
    ]


def notes(machine: Machine) -> list[str]:
    return list(backup_notes(machine.server))


def test_the_intervals_are_those_of_the_timers() -> None:
    when = {
        name: re.findall(r"^OnCalendar=(.+)$", (UNITS / f"{name}.timer").read_text(), re.M)
        for name in INTERVALS
    }
    assert when == {"trading-backup": ["*:0/5"], "trading-backup-artifacts": ["*-*-* 03:40"]}
    assert list(INTERVALS.values()) == [5 * MINUTE, 24 * 60 * MINUTE]


@pytest.mark.parametrize(("minutes", "said"), [(0, 0), (9, 0), (10.1, 1)])
def test_a_run_that_is_overdue_is_said(machine: Machine, minutes: float, said: int) -> None:
    ran(machine, "trading-backup", minutes * MINUTE)
    assert len(notes(machine)) == said


def test_what_is_said_names_the_age_of_the_newest_and_what_to_type(machine: Machine) -> None:
    ran(machine, "trading-backup", 3600)
    assert notes(machine) == [
        "trading-backup.service has not run for 1h 0m, and there is no backup;"
        " next: systemctl status trading-backup.timer"
    ]
    create(database(machine))
    made = snapshot.take(machine.server, read_inventory(machine.paths), "timer", "1")
    machine.today = made.at + timedelta(minutes=70)
    assert "and the newest backup is 1h 10m old; next: " in notes(machine)[0]
    machine.today = made.at - timedelta(minutes=3)
    assert "and the newest backup is dated 3m 0s in the future; next: " in notes(machine)[0]
    machine.today = made.at - timedelta(minutes=70)
    assert "and every backup is dated in the future; next: " in notes(machine)[1]


def test_a_run_that_failed_is_said(machine: Machine) -> None:
    ran(machine, "trading-backup-artifacts", 90, ActiveState="failed", Result="exit-code")
    assert notes(machine) == [
        "trading-backup-artifacts.service failed 1m 30s ago, and there is no backup;"
        " next: journalctl -u trading-backup-artifacts.service -n 50 --no-pager"
    ]


def test_a_run_that_never_was_counts_from_the_start_of_the_timer(machine: Machine) -> None:
    ran(machine, "trading-backup", BOOTED)
    assert notes(machine)
    began(machine, "trading-backup", 9 * MINUTE)
    assert not notes(machine)


def test_a_timer_that_is_switched_off_is_said(machine: Machine) -> None:
    began(machine, "trading-backup", 0, ActiveState="inactive")
    assert notes(machine) == [
        "trading-backup.timer is inactive, so that nobody backs up, and there is no backup;"
        " next: systemctl enable --now trading-backup.timer"
    ]


def test_one_that_is_at_work_is_not_overdue(machine: Machine) -> None:
    ran(machine, "trading-backup", 3600, ActiveState="activating")
    assert not notes(machine)


def test_what_is_dated_in_the_future_is_said_with_what_to_do(machine: Machine) -> None:
    right = machine.today
    made = []
    for _ in range(2):
        machine.today += timedelta(days=400)
        made.append(snapshot.take(machine.server, read_inventory(machine.paths), "timer", "1").id)
    assert not notes(machine)
    machine.today = right
    machine.write("var/backups/trading/artifacts/20290101T000000Z/x", "")
    path = machine.paths.backups / made[1]
    here = f"{right.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    assert notes(machine) == [
        f"{path} and 2 more are dated in the future: the clock was wrong then, or it is now"
        f" ({here}); next: timedatectl, and where the clock is right: rm -r {path}"
    ]
    machine.today += timedelta(days=401)
    assert f"{path} and 1 more are" in notes(machine)[0]
