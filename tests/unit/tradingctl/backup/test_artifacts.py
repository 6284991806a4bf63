"""Daily snapshots of artifacts."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.backup import artifacts
from tradingctl.backup.artifacts import Snapshot
from tradingctl.description import State
from tradingctl.errors import BackupError
from tradingctl.inventory import read_inventory

LIVE = "var/lib/trading/marketdata-stream/out"


@pytest.fixture
def producing(machine: Machine) -> Machine:
    machine.describe(stream(state=(State("data", ("x.db",)), State("out", artifacts=True))))
    machine.write(f"{LIVE}/run 1/result.csv", "a,b\n")
    machine.write(f"{LIVE}/run 2/result.csv", "c,d\n")
    return machine


def save(machine: Machine) -> Snapshot:
    made = artifacts.save(machine.server, read_inventory(machine.paths))
    assert made is not None
    return made


def kept(machine: Machine, made: Snapshot, name: str) -> Path:
    return machine.paths.artifact_backups / made.id / "marketdata-stream/out" / name


def test_a_file_that_did_not_change_is_the_same_in_both_and_not_the_live_one(
    producing: Machine,
) -> None:
    first = save(producing)
    producing.write(f"{LIVE}/run 2/result.csv", "changed\n")
    producing.write(f"{LIVE}/run 3/result.csv", "new\n")
    second = save(producing)
    assert (second.files, second.copied) == (3, 2)
    same = kept(producing, second, "run 1/result.csv").stat()
    assert same.st_ino == kept(producing, first, "run 1/result.csv").stat().st_ino
    assert same.st_ino != (producing.root / LIVE / "run 1/result.csv").stat().st_ino
    assert kept(producing, first, "run 2/result.csv").read_text() == "c,d\n"
    assert kept(producing, second, "run 2/result.csv").read_text() == "changed\n"


def test_nothing_new_is_no_new_snapshot(producing: Machine) -> None:
    first = save(producing)
    again = save(producing)
    assert (again.id, again.is_new) == (first.id, False)
    (producing.root / LIVE / "run 1/result.csv").unlink()
    assert save(producing).is_new


def test_links_are_kept_as_links_and_never_followed(producing: Machine) -> None:
    secret = producing.write("etc/shadow", "root:secret")
    (producing.root / LIVE / "run 1/link").symlink_to(secret)
    (producing.root / LIVE / "folder").symlink_to(secret.parent)
    os.mkfifo(producing.root / LIVE / "pipe")
    made = save(producing)
    top = producing.paths.artifact_backups / made.id
    assert kept(producing, made, "run 1/link").readlink() == secret
    assert kept(producing, made, "folder").readlink() == secret.parent
    assert [path for path in top.rglob("*") if path.is_fifo()] == []


def test_a_state_directory_that_leads_elsewhere_is_refused(producing: Machine) -> None:
    (producing.root / LIVE).rename(producing.root / "elsewhere")
    (producing.root / LIVE).symlink_to(producing.root / "elsewhere")
    with pytest.raises(BackupError, match="out is not a directory"):
        save(producing)


def test_the_newest_seven_stay(producing: Machine) -> None:
    made = []
    for n in range(9):
        producing.write(f"{LIVE}/run 1/result.csv", str(n))
        made.append(save(producing))
    assert made[-1].removed == (made[1].id,)
    names = artifacts.snapshots(producing.paths.artifact_backups)
    assert sorted(names) == sorted(each.id for each in made[2:])


def test_it_is_for_root_alone(producing: Machine) -> None:
    made = save(producing)
    top = producing.paths.artifact_backups
    for each in (top, top / made.id, *(top / made.id).rglob("*")):
        assert each.stat().st_mode & 0o777 == (0o700 if each.is_dir() else 0o600), each


def change(machine: Machine, text: str) -> Snapshot:
    machine.write(f"{LIVE}/run 1/result.csv", text)
    return save(machine)


def test_a_clock_that_went_back_does_not_make_a_snapshot_the_oldest(producing: Machine) -> None:
    producing.write("etc/trading/backup.env", "BACKUP_KEEP_ARTIFACTS=1\n")
    change(producing, "before")
    producing.today -= timedelta(minutes=4)
    made = change(producing, "and after")
    assert artifacts.snapshots(producing.paths.artifact_backups) == [made.id]


def test_a_snapshot_that_is_dated_in_the_future_stays_and_counts_for_nothing(
    producing: Machine,
) -> None:
    producing.write("etc/trading/backup.env", "BACKUP_KEEP_ARTIFACTS=1\n")
    ahead = change(producing, "before")
    producing.today -= timedelta(days=400)
    first = change(producing, "and after")
    assert (first.copied, first.removed) == (2, ())
    second = change(producing, "and later")
    assert (second.copied, second.removed) == (1, (first.id,)), "compared with the first"
    assert artifacts.snapshots(producing.paths.artifact_backups) == [ahead.id, second.id]
    assert not save(producing).is_new
