"""State directories and the release's own files in them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.account import Account
from tradingctl.errors import TradingError
from tradingctl.state import (
    link_tracked,
    make_directories,
    prune_tracked,
    shared_places,
    take_places,
)

ACCOUNT = Account(os.getuid(), os.getgid())
NOBODY = 0xFFFFFFFF  # in an ACL: no account is named
TARGET = "/opt/trading/marketdata-stream/.tracked/data"


@pytest.fixture
def data(machine: Machine) -> Path:
    (machine.root / "var/lib/trading").mkdir(parents=True)
    make_directories(machine.paths, stream(logs=("logs",)), ACCOUNT)
    return machine.root / "var/lib/trading/marketdata-stream/data"


def link(machine: Machine, **files: str) -> list[str]:
    tree = machine.ship("marketdata-stream", {})
    for name, text in files.items():
        machine.write(f"usr/lib/trading/marketdata-stream/.tracked/data/{name}", text)
    return link_tracked(machine.paths, stream(), tree, ACCOUNT)


def test_missing_state_and_log_directories_are_made(machine: Machine, data: Path) -> None:
    assert data.is_dir()
    assert (machine.root / "var/log/trading/marketdata-stream").is_dir()


def mode_of_new(file: Path) -> int:
    """Return the mode that a file gets which a program with a strict umask asks to be 0660."""
    outside = os.umask(0o077)
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o660))
    finally:
        os.umask(outside)
    return file.stat().st_mode & 0o777


def test_a_log_of_sqlite_is_the_groups_to_write_as_soon_as_it_is_there(data: Path) -> None:
    assert mode_of_new(data / "signals.db") == 0o660
    assert mode_of_new(data / "signals.db-wal") == 0o660


def test_what_the_administrator_said_of_new_files_stays(machine: Machine, data: Path) -> None:
    acl = "system.posix_acl_default"
    group_reads = struct.pack("<IHHIHHIHHI", 2, 1, 7, NOBODY, 4, 5, NOBODY, 32, 5, NOBODY)
    os.setxattr(data, acl, group_reads)
    make_directories(machine.paths, stream(), ACCOUNT)
    assert os.getxattr(data, acl) == group_reads
    assert mode_of_new(data / "signals.db") == 0o640


def test_each_tracked_file_is_linked_and_folders_are_made(machine: Machine, data: Path) -> None:
    assert link(machine, **{"symbols.csv": "", "cal/nyse.csv": ""}) == []
    assert str((data / "symbols.csv").readlink()) == f"{TARGET}/symbols.csv"
    assert str((data / "cal/nyse.csv").readlink()) == f"{TARGET}/cal/nyse.csv"
    assert link(machine) == []


def test_a_file_of_the_administrator_stays_and_is_reported(machine: Machine, data: Path) -> None:
    (data / "symbols.csv").write_text("mine", encoding="utf-8")
    (kept,) = link(machine, **{"symbols.csv": "ours"})
    assert (data / "symbols.csv").read_text() == "mine"
    assert "data/symbols.csv is not of the package" in kept


def test_a_link_of_the_administrator_stays(machine: Machine, data: Path) -> None:
    (data / "symbols.csv").symlink_to("/srv/symbols.csv")
    assert len(link(machine, **{"symbols.csv": ""})) == 1
    assert str((data / "symbols.csv").readlink()) == "/srv/symbols.csv"


def test_our_links_to_files_that_the_release_dropped_go_and_others_stay(
    machine: Machine, data: Path
) -> None:
    link(machine, **{"old.csv": "", "new.csv": ""})
    (data / "mine.csv").symlink_to("/srv/nowhere.csv")
    tree = machine.paths.shipped("marketdata-stream")
    (tree / ".tracked/data/old.csv").unlink()
    prune_tracked(machine.paths, stream(), tree)
    assert sorted(each.name for each in data.iterdir()) == ["mine.csv", "new.csv"]


def test_a_link_laid_in_roots_way_is_not_followed(machine: Machine, data: Path) -> None:
    outside = machine.root / "etc"
    (data / "cal").symlink_to(outside)
    with pytest.raises(TradingError, match="cal is not a directory"):
        link(machine, **{"cal/nyse.csv": ""})
    assert not (outside / "nyse.csv").exists()


@pytest.mark.parametrize("taken_over", [True, False])
def test_directories_of_somebody_else_become_the_services_once_all_is_taken_over(
    machine: Machine, taken_over: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    account = Account(1, 1)
    top = machine.root / "var/lib/trading/marketdata-stream"
    (top / "data").mkdir(parents=True, mode=0o755)
    os.chown(top / "data", 2, 2)
    make_directories(machine.paths, stream(), account, taken_over)
    # The one above was made by root, such as for another disk.
    assert owned(top) == (1, 1, 0o750)
    assert owned(top / "data") == ((1, 1, 0o2770) if taken_over else (2, 2, 0o755))


@pytest.mark.parametrize("mode", [0o700, 0o2775, 0o755])
def test_the_directories_above_are_for_all_to_see_and_for_root_to_change(
    machine: Machine, mode: int
) -> None:
    machine.paths.base.mkdir(parents=True, exist_ok=True)
    machine.paths.base.chmod(mode)
    assert (machine.paths.base in shared_places(machine.paths)) is (mode != 0o755)
    take_places(machine.paths)
    assert owned(machine.paths.base)[2] == 0o755


def owned(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777
