"""Making a backup while everything goes on."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.unit.tradingctl.backup import writing
from tests.unit.tradingctl.backup.writing import create, database, inventory, pairs, writer
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.backup import catalogue, snapshot
from tradingctl.backup import database as databases
from tradingctl.backup.manifest import Backup
from tradingctl.deploy.history import read_events
from tradingctl.errors import BackupError


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds have passed since whatever was written."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10_000_000_000)


def take(machine: Machine, kind: str = "manual") -> Backup:
    return snapshot.take(machine.server, inventory(machine), kind, "2026.11.23.1")


def copy_of(machine: Machine, backup: Backup) -> Path:
    (saved,) = backup.databases
    return machine.paths.backups / backup.id / saved.file


def left_behind(machine: Machine) -> list[str]:
    return sorted(each.name for each in machine.paths.backups.iterdir())


def test_what_does_not_exist_yet_is_named_and_the_settings_are_kept(machine: Machine) -> None:
    backup = take(machine)
    assert backup.databases == ()
    assert backup.absent == ("/var/lib/trading/marketdata-stream/data/ticks.db",)
    assert {each.name: oct(each.mode) for each in backup.settings if each.kind == "file"} == {
        "secrets/stream.env": "0o640",
        "stream.env": "0o644",
    }
    kept = machine.paths.backups / backup.id / "settings/secrets/stream.env"
    assert kept.read_text() == "PASS=s3cret\n"
    assert not machine.paths.state.exists()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_that_is_written_to_is_copied_whole(machine: Machine, mode: str) -> None:
    create(database(machine), mode)
    with writer(database(machine)):
        backups = [take(machine) for _ in range(3)]
    found = [pairs(copy_of(machine, each)) for each in backups]
    assert found == sorted(found)
    for each in backups:
        assert catalogue.damage(machine.paths, each) == ""
        assert each.databases[0].user_version == 7


def test_committed_rows_of_a_log_that_was_never_written_back_are_in_it(machine: Machine) -> None:
    create(database(machine))
    with closing(sqlite3.connect(database(machine), isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        for n in range(50):
            writing.write_pair(connection, 100 + n)
        backup = take(machine)
    assert pairs(copy_of(machine, backup)) == 53
    assert list(backup.databases[0].seen) == ["database", "database-wal"]


def test_a_transaction_that_a_killed_service_left_is_rolled_back(machine: Machine) -> None:
    file = database(machine)
    create(file, "delete")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN")
        for n in range(500):
            connection.execute("INSERT INTO pairs VALUES (?, 1, ?)", (n, "y" * 900))
        # What a killed process leaves is what lies there now.
        journal = file.with_name("ticks.db-journal")
        halfway = (file.read_bytes(), journal.read_bytes())
        connection.execute("ROLLBACK")
    file.write_bytes(halfway[0])
    journal.write_bytes(halfway[1])
    assert pairs(copy_of(machine, take(machine))) == 3


def test_everything_is_for_root_alone(machine: Machine) -> None:
    create(database(machine))
    backup = take(machine)
    top = machine.paths.backups / backup.id
    for each in (top.parent, top, *top.rglob("*")):
        assert each.stat().st_mode & 0o777 == (0o700 if each.is_dir() else 0o600), each


def test_the_manifest_says_what_is_in_it(machine: Machine) -> None:
    create(database(machine))
    backup = take(machine, "upgrade")
    data = json.loads((machine.paths.backups / backup.id / "manifest.json").read_text())
    assert data["id"] == backup.id
    assert backup.id.endswith("Z-upgrade")
    assert (data["kind"], data["release"]) == ("upgrade", "2026.11.23.1")
    assert data["packages"] == {"marketdata-stream": stream().version}
    assert data["databases"][0]["source"] == "/var/lib/trading/marketdata-stream/data/ticks.db"
    assert catalogue.read(machine.paths, backup.id) == backup


def test_one_after_another_have_names_of_their_own(machine: Machine) -> None:
    ids = {take(machine).id for _ in range(3)}
    assert len(ids) == 3
    assert {each.id for each in catalogue.read_all(machine.paths)[0]} == ids


def test_the_name_of_one_that_cannot_be_read_is_taken(machine: Machine) -> None:
    first = take(machine)
    (machine.paths.backups / first.id / "manifest.json").write_text("{")
    second = take(machine)
    assert second.id == first.id.replace("Z-", "Z-2-")


def test_a_clock_that_went_back_a_little_does_not_make_a_backup_the_older_one(
    machine: Machine,
) -> None:
    first = take(machine)
    machine.today -= timedelta(minutes=4)
    second = take(machine)
    assert second.at == first.at + timedelta(seconds=1)
    assert [each.id for each in catalogue.read_all(machine.paths)[0]] == [second.id, first.id]
    assert catalogue.order(second.id) > catalogue.order(first.id)


def test_a_clock_that_was_far_ahead_once_dates_none_after_itself(
    machine: Machine, later: None
) -> None:
    create(database(machine))
    right = machine.today
    machine.today += timedelta(days=400)
    ahead = take(machine)
    machine.today = right
    first, second = take(machine), take(machine)
    assert (first.at, second.at) == (right, right + timedelta(seconds=1))
    assert copy_of(machine, first).stat().st_ino != copy_of(machine, ahead).stat().st_ino
    assert copy_of(machine, first).stat().st_ino == copy_of(machine, second).stat().st_ino


def test_what_did_not_change_is_the_same_file_in_both(machine: Machine, later: None) -> None:
    create(database(machine))
    first, second = take(machine), take(machine)
    assert copy_of(machine, first).stat().st_ino == copy_of(machine, second).stat().st_ino
    with closing(sqlite3.connect(database(machine), isolation_level=None)) as connection:
        writing.write_pair(connection, 99)
    assert pairs(copy_of(machine, take(machine))) == 4
    assert pairs(copy_of(machine, second)) == 3


def test_what_was_written_a_moment_ago_may_have_changed(machine: Machine) -> None:
    create(database(machine))
    first, second = take(machine), take(machine)
    assert copy_of(machine, first).stat().st_ino != copy_of(machine, second).stat().st_ino


def test_a_damaged_copy_is_not_taken_over(machine: Machine, later: None) -> None:
    create(database(machine))
    first = copy_of(machine, take(machine))
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second = take(machine)
    assert catalogue.damage(machine.paths, second) == ""
    assert f"warning: {first} is damaged" in machine.err.getvalue()


@pytest.mark.parametrize("what", ["link", "directory", "garbage", "torn"])
def test_what_cannot_be_copied_is_a_veto_and_leaves_nothing(machine: Machine, what: str) -> None:
    file = database(machine)
    create(file)
    if what == "link":
        file.rename(machine.root / "elsewhere.db")
        file.symlink_to(machine.root / "elsewhere.db")
    elif what == "directory":
        file.unlink()
        file.mkdir()
    elif what == "garbage":
        file.write_text("this is no database" * 100)
    else:
        file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 4096)
    with pytest.raises(BackupError, match=r"ticks\.db of component marketdata-stream") as raised:
        take(machine, "upgrade")
    assert raised.value.next_command
    assert left_behind(machine) == []
    (event,) = read_events(machine.server)
    assert (event.event, event.detail) == ("backup-failed", raised.value.message)


def test_a_damaged_database_is_a_veto_that_names_the_way_back(machine: Machine) -> None:
    create(database(machine), pairs=200)
    whole = database(machine).read_bytes()
    # The tree of pages goes, the header stays: SQLite opens it and copies it without a word.
    database(machine).write_bytes(whole[:4096] + bytes(8192) + whole[12288:])
    with pytest.raises(BackupError, match=r"ticks\.db of component marketdata-stream is") as raised:
        take(machine)
    assert raised.value.next_command == "tradingctl restore --component marketdata-stream --dry-run"


def test_a_state_directory_that_leads_elsewhere_is_not_followed(machine: Machine) -> None:
    create(database(machine))
    data = database(machine).parent
    data.rename(machine.root / "moved")
    data.symlink_to(machine.root / "moved")
    with pytest.raises(BackupError, match="/data is not a directory"):
        take(machine)


class Hours:
    """A clock on which an hour passes with every look."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> float:
        """Return a later time than before."""
        self.looks += 1
        return self.looks * 3600.0

    def sleep(self, seconds: float) -> None:
        """Return at once."""


def test_a_database_that_stays_locked_is_not_waited_for_for_ever(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(database(machine), "delete")
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.0)
    server = replace(machine.server, clock=Hours())
    with closing(sqlite3.connect(database(machine), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackupError, match="has been locked for 60 s"):
            snapshot.take(server, inventory(machine), "upgrade", "")
    assert left_behind(machine) == []


def test_too_little_space_is_said_in_numbers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(database(machine))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Mock(free=5_000_000))
    with pytest.raises(BackupError) as raised:
        take(machine, "upgrade")
    assert f"{machine.paths.backups} has 5.0 MB available, 16.8 MB are needed" in str(raised.value)
    assert f"df -h {machine.paths.backups}" in raised.value.next_command
    assert left_behind(machine) == []


def test_what_a_crash_left_is_cleared_away(machine: Machine) -> None:
    half = machine.write("var/backups/trading/.new-20261125T144846Z-timer/databases/x.db", "half")
    backup = take(machine)
    assert not half.exists()
    assert left_behind(machine) == [backup.id]


def test_a_backup_waits_for_another_one(machine: Machine) -> None:
    with catalogue.locked(machine.server), pytest.raises(BackupError, match="another backup"):
        take(machine)
    assert sum(machine.clock.slept) >= 600


def test_a_link_among_the_settings_is_kept_with_what_it_leads_to(machine: Machine) -> None:
    inventory(machine)
    elsewhere = machine.write("srv/secrets/api.env", "TOKEN=t\n")
    (machine.paths.secrets / "api.env").symlink_to(elsewhere)
    (machine.paths.secrets / "gone.env").symlink_to("nowhere")
    saved = {each.name: each for each in take(machine).settings}
    link = saved["secrets/api.env"]
    assert (link.kind, link.target) == ("link", str(elsewhere))
    top = machine.paths.backups / catalogue.read_all(machine.paths)[0][0].id
    assert (top / link.file).read_text() == "TOKEN=t\n"
    assert (saved["secrets/gone.env"].target, saved["secrets/gone.env"].file) == ("nowhere", "")


def test_a_failed_write_is_a_veto_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(database(machine))

    def full(*arguments: Any) -> Iterator[None]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "sync_file", full)
    with pytest.raises(BackupError, match="No space left on device"):
        take(machine)
    assert left_behind(machine) == []
