"""The backups that there are: listed, read, proved to be intact; the lock of who works on them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tradingctl import tree
from tradingctl.backup import database
from tradingctl.backup.manifest import CHECKSUM, LIST, MANIFEST, Backup, parse
from tradingctl.errors import BackupError
from tradingctl.files import sha256
from tradingctl.paths import Paths
from tradingctl.server import Server

ID = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?-(?:upgrade|manual|timer)")
UNFINISHED = ".new-"
REMOVED = ".old-"
LOCK_SECONDS = 600.0
LOCK_INTERVAL = 0.5
AHEAD = timedelta(minutes=5)
"""How far the date of a backup may be ahead of a clock that is right."""


@dataclass(frozen=True)
class Unreadable:
    """A backup whose manifest cannot be read, and why."""

    id: str
    reason: str


@contextlib.contextmanager
def locked(server: Server, folder: Path | None = None) -> Iterator[None]:
    """Keep others from the backups in a directory, and clear away what a crash left.

    Raises BackupError when another one does not end within ten minutes.
    """
    folder = folder or server.paths.backups
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = server.clock.now() + LOCK_SECONDS
        while not _lock(descriptor):
            if server.clock.now() > deadline:
                raise BackupError(
                    f"{folder} has been in use by another backup or restore for {LOCK_SECONDS:g} s",
                    f"fuser -v {folder}",
                )
            server.clock.sleep(LOCK_INTERVAL)
        for leftover in (*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"{REMOVED}*")):
            tree.remove(leftover)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_ahead(at: datetime, now: datetime) -> bool:
    """Return whether a date is in the future, by more than a clock is moved to be right.

    The clock was wrong when a backup got such a date, or is now. What it holds may be good; what is
    not known is its place among the others.
    """
    return at - now > AHEAD


def date_of_new(paths: Paths, now: datetime) -> datetime:
    """Return the date of a new backup: now, or right after the newest where the clock went back."""
    previous = newest(paths, now)
    return max(now, previous.at + timedelta(seconds=1)) if previous else now


def new_id(paths: Paths, kind: str, at: datetime) -> str:
    """Return an id that no backup has: the time in UTC and the kind."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while (paths.backups / (name := _id(stamp, number, kind))).exists():
        number += 1
    return name


def _id(stamp: str, number: int, kind: str) -> str:
    return f"{stamp}-{kind}" if number == 1 else f"{stamp}-{number}-{kind}"


def order(name: str) -> tuple[str, int]:
    """Return what ids are sorted by, also of backups that cannot be read."""
    found = ID.fullmatch(name)
    return (found[1], int(found[2] or 1)) if found else (name, 0)


def directory(paths: Paths, backup: Backup | Unreadable) -> Path:
    """Return the directory of a backup."""
    return paths.backups / backup.id


def read_all(paths: Paths) -> tuple[list[Backup], list[Unreadable]]:
    """Return the backups, newest first, and what looks like one and cannot be read."""
    good: list[Backup] = []
    bad: list[Unreadable] = []
    names = [each.name for each in paths.backups.iterdir()] if paths.backups.is_dir() else []
    for name in sorted(names, key=order, reverse=True):
        if ID.fullmatch(name):
            try:
                good.append(read(paths, name))
            except BackupError as error:
                bad.append(Unreadable(name, error.message))
    good.sort(key=lambda each: each.at, reverse=True)
    return good, bad


def read(paths: Paths, name: str) -> Backup:
    """Return one backup as its manifest has it. Raises BackupError naming the file."""
    file = paths.backups / name / MANIFEST
    try:
        backup = parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{file}: cannot be read: {error}", LIST) from error
    if backup.id != name:
        raise BackupError(f"{file}: is of the backup {backup.id}", LIST)
    return backup


def newest(paths: Paths, now: datetime) -> Backup | None:
    """Return the newest backup that can be read and is not dated in the future."""
    good, _ = read_all(paths)
    return next((each for each in good if not is_ahead(each.at, now)), None)


def damage(paths: Paths, backup: Backup) -> str:
    """Return the first thing that is wrong with a backup, naming the file; empty for nothing.

    Every file is read and every database checked by SQLite: seconds for each GB.
    """
    top = directory(paths, backup)
    try:
        wanted = (top / CHECKSUM).read_text(encoding="utf-8").split()
        if wanted[:1] != [sha256(top / MANIFEST)]:
            return f"{top / MANIFEST}: does not have the SHA-256 of {CHECKSUM}"
        for name, digest in backup.checksums().items():
            if sha256(top / name) != digest:
                return f"{top / name}: does not have the SHA-256 of the manifest"
    except (OSError, UnicodeDecodeError) as error:
        return f"{getattr(error, 'filename', None) or top}: {error}"
    for each in backup.databases:
        if found := database.damage(top / each.file):
            return f"{top / each.file}: {found}"
    return ""
