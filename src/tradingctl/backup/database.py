"""Copies of SQLite databases while the services write to them.

``Connection.backup`` with all pages in one step is consistent in WAL and in journal mode under any
load. Copying the files is not, and copying some pages at a time never ends while others write.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tradingctl.account import Account
from tradingctl.backup.rights import open_state, rights_of
from tradingctl.errors import BackupError
from tradingctl.inventory import Inventory
from tradingctl.paths import Paths
from tradingctl.server import Clock

LOG_FILES = ("-wal", "-journal")
"""What holds committed or half-written pages beside the database itself."""
LOCKED_SECONDS = 60.0
BUSY_SECONDS = 5.0  # that SQLite waits at each attempt
# Within a tick of the kernel's clock a second write leaves the time of the first.
SETTLED_NS = 1_000_000_000


@dataclass(frozen=True)
class Database:
    """A database that a component declares; ``name`` is below the component's state."""

    component: str
    name: str
    file: Path


@dataclass(frozen=True)
class Trace:
    """What shows whether a database was written to: its files as the file system has them.

    Only one that is ``settled``, not written to just before, can prove that nothing changed.
    """

    files: Mapping[str, str]
    settled: bool
    size: int


def declared(paths: Paths, inventory: Inventory) -> Iterator[Database]:
    """Give every database that the components declare, whether it exists or not."""
    for component in inventory.components:
        for state in component.state:
            for name in state.databases:
                relative = (PurePosixPath(state.path) / name).as_posix()
                yield Database(
                    component.name, relative, paths.state / component.name / state.path / name
                )


def look(paths: Paths, database: Database) -> Trace | None:
    """Return the state of a database's files, None when there is no database.

    Raises BackupError when a link or something else that is no file lies in its place.
    """
    now = time.time_ns()
    files: dict[str, str] = {}
    newest = size = 0
    with open_state(paths, PurePosixPath(database.component, database.name).parent) as folder:
        for suffix in ("", *LOG_FILES):
            found = _entry(folder, database, suffix)
            if found is None and not suffix:
                return None
            # SQLite leaves an empty log behind, or none.
            if found is None or (suffix and found.st_size == 0):
                continue
            newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
            size += found.st_size
            files[f"database{suffix}"] = (
                f"{found.st_size} bytes, inode {found.st_ino}, modified {found.st_mtime_ns},"
                f" changed {found.st_ctime_ns}"
            )
    return Trace(files, newest + SETTLED_NS < now, size)


def _entry(folder: int | None, database: Database, suffix: str) -> os.stat_result | None:
    if folder is None:
        return None
    try:
        found = os.stat(database.file.name + suffix, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise BackupError(
            f"{database.file}{suffix} of component {database.component} is not a file",
            f"ls -l {database.file.parent}  # to have it on another disk, use a bind mount",
        )
    return found


def copy(
    database: Database, target: Path, account: Account, clock: Clock, resting: bool = False
) -> int:
    """Copy a database into the new file ``target`` and return its ``user_version``.

    The copy is checked by SQLite. Beside one that is ``resting``, which nobody has open and which
    has no log beside it, no file is made. Raises BackupError, OSError when it cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        try:
            _copy(database, target, account, clock, "ro&immutable=1" if resting else "ro")
        except sqlite3.OperationalError as error:
            # A service that was killed left a transaction to be rolled back, which needs writing.
            if not error.sqlite_errorname.startswith("SQLITE_READONLY"):
                raise
            _copy(database, target, account, clock, "rw")
    except sqlite3.Error as error:
        raise BackupError(
            f"{database.file} of component {database.component} cannot be copied: {error}",
            f"ls -l {database.file.parent}; sqlite3 {database.file} 'PRAGMA integrity_check'",
        ) from error
    if found := damage(target):
        raise BackupError(
            f"{database.file} of component {database.component} is damaged: {found}",
            f"tradingctl restore --component {database.component} --dry-run",
        )
    return _user_version(target)


def _copy(database: Database, target: Path, account: Account, clock: Clock, mode: str) -> None:
    deadline = clock.now() + LOCKED_SECONDS

    def watch(status: int, remaining: int, total: int) -> None:
        # Called after each attempt: sqlite3 itself would wait for a lock for ever.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and clock.now() > deadline:
            raise BackupError(
                f"{database.file} of component {database.component} has been locked for"
                f" {LOCKED_SECONDS:g} s",
                f"fuser -v {database.file}",
            )

    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copied:
        # The copy is a new file that nothing relies on before it is whole.
        copied.execute("PRAGMA journal_mode=OFF")
        copied.execute("PRAGMA synchronous=OFF")
        with (
            rights_of(account),
            contextlib.closing(
                sqlite3.connect(
                    f"file:{quote(str(database.file))}?mode={mode}", BUSY_SECONDS, uri=True
                )
            ) as source,
        ):
            source.backup(copied, progress=watch)


def damage(file: Path) -> str:
    """Return what SQLite finds wrong with a database that nobody writes to, empty for nothing."""
    try:
        with contextlib.closing(_resting(file)) as connection:
            rows = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return "" if rows == ["ok"] else "; ".join(rows)


def _user_version(file: Path) -> int:
    with contextlib.closing(_resting(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _resting(file: Path) -> sqlite3.Connection:
    # Immutable: a database in WAL mode would else get files beside it.
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)
