"""Make a backup: all databases and settings, whole and proved, or none.

It is made under a name that begins with a dot and then renamed, so a backup that bears its name is
complete. A database that nobody wrote to since the last backup is the same file in both.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tradingctl import tree
from tradingctl.account import find_account
from tradingctl.backup import catalogue, database, restic, saved_settings
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.database import Database, Trace
from tradingctl.backup.manifest import CHECKSUM, MANIFEST, Backup, SavedDatabase
from tradingctl.deploy import history
from tradingctl.errors import BackupError, TradingError
from tradingctl.files import sha256, sync_directory, sync_file
from tradingctl.inventory import Inventory
from tradingctl.server import Server

FOLDER = "databases"
MARGIN = 16 * 1024 * 1024  # bytes that stay free beside what a backup is expected to take


@dataclass(frozen=True)
class Step:
    """What is to be done with a database, and why; ``earlier`` is the copy that still holds."""

    database: Database
    trace: Trace
    earlier: SavedDatabase | None
    reason: str


def take(server: Server, inventory: Inventory, kind: str, release: str) -> Backup:
    """Back up every declared database and the settings, while the services run.

    ``kind`` is ``upgrade``, ``manual`` or ``timer``. Raises BackupError, and leaves nothing behind,
    when anything is not provably backed up. It also raises BackupError when the restic repository
    did not get it, unless an upgrade waits for it: then this is a warning.
    """
    try:
        with catalogue.locked(server):
            backup = _take(server, inventory, kind, release)
    except BackupError as error:
        history.record(server, "backup-failed", release, error.message)
        raise
    if kind != "timer":
        history.record(server, "backup", release, backup.id, versions=backup.packages)
    try:
        upload(server, backup, restic.SECONDS_OF.get(kind, restic.SECONDS))
    except BackupError as error:
        history.record(server, "backup-failed", release, error.message)
        if kind != "upgrade":
            raise
        server.warn(f"warning: {error.message}\n  next: {error.next_command}")
    return backup


def upload(server: Server, backup: Backup, seconds: float) -> None:
    """Copy a backup into the restic repository, if there is one. Raises BackupError."""
    try:
        environment = read_configuration(server.paths).restic
        if not environment:
            return
        restic.upload(
            server,
            environment,
            server.paths.backups / backup.id,
            (restic.BACKUPS, f"kind={backup.kind}", f"release={backup.release or 'none'}"),
            backup.at,
            seconds,
        )
    except BackupError as error:
        raise BackupError(
            f"{backup.id} is complete on this server alone: {error.message}", error.next_command
        ) from error


def changed(server: Server, inventory: Inventory) -> str:
    """Return what changed since the newest backup, empty for nothing. Raises BackupError."""
    previous = catalogue.newest(server.paths, server.wall())
    if previous is None:
        others, _ = catalogue.read_all(server.paths)
        return "every backup is dated in the future" if others else "there is no backup yet"
    for step in plan(server, inventory)[0]:
        if step.earlier is None:
            return f"{step.database.file} {step.reason}"
    file = saved_settings.changed(server.paths.settings, previous.settings)
    return f"{file} changed since {previous.id}" if file else ""


def _take(server: Server, inventory: Inventory, kind: str, release: str) -> Backup:
    paths = server.paths
    at = catalogue.date_of_new(paths, server.wall())
    name = catalogue.new_id(paths, kind, at)
    top = paths.backups / f"{catalogue.UNFINISHED}{name}"
    stack = {inventory.stack.package: inventory.stack.version} if inventory.stack else {}
    try:
        steps, absent = plan(server, inventory)
        require_space(paths.backups, _needed(server, steps))
        backup = Backup(
            id=name,
            kind=kind,
            release=release,
            created_at=at.isoformat(),
            packages={**{each.package: each.version for each in inventory.components}, **stack},
            absent=tuple(absent),
        )
        backup = _fill(server, top, backup, steps)
        top.rename(paths.backups / name)
        sync_directory(paths.backups)
    except BackupError:
        tree.remove(top)
        raise
    except (OSError, TradingError) as error:
        tree.remove(top)
        raise _failed(server, error) from error
    except BaseException:
        tree.remove(top)
        raise
    return backup


def plan(server: Server, inventory: Inventory) -> tuple[list[Step], list[str]]:
    """Return what is to be done with each database that exists, and those that do not.

    Raises BackupError.
    """
    previous = catalogue.newest(server.paths, server.wall())
    known = {(each.component, each.name): each for each in previous.databases} if previous else {}
    steps: list[Step] = []
    absent: list[str] = []
    for each in database.declared(server.paths, inventory):
        trace = database.look(server.paths, each)
        if trace is None:
            absent.append(server.paths.shown(each.file))
            continue
        saved = known.get((each.component, each.name))
        if previous is None or saved is None:
            steps.append(Step(each, trace, None, "is in no earlier backup"))
        elif not saved.settled or saved.seen != trace.files:
            steps.append(Step(each, trace, None, f"was written to since {previous.id}"))
        else:
            # Named from the directory of all backups, where it is linked from.
            earlier = replace(saved, file=f"{previous.id}/{saved.file}")
            steps.append(Step(each, trace, earlier, f"unchanged since {previous.id}"))
    return steps, absent


def _fill(server: Server, top: Path, backup: Backup, steps: list[Step]) -> Backup:
    """Put the copies and the manifest into the directory ``top`` and bring them to the disk."""
    top.mkdir(mode=0o700)
    saved = [_save(server, top, step) for step in steps]
    settings, left_out = saved_settings.save(server.paths.settings, top)
    filled = replace(
        backup, databases=tuple(saved), settings=tuple(settings), notes=tuple(left_out)
    )
    _write(top / MANIFEST, filled.to_json())
    _write(top / CHECKSUM, f"{sha256(top / MANIFEST)}  {MANIFEST}\n")
    for folder in _folders(top):
        folder.chmod(0o700)
        sync_directory(folder)
    return filled


def _save(server: Server, top: Path, step: Step) -> SavedDatabase:
    each = step.database
    place = f"{FOLDER}/{each.component}/{each.name}"
    target = top / place
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if step.earlier and _link(server, step.earlier, target):
        return replace(step.earlier, file=place)
    version = database.copy(each, target, find_account(server.paths), server.clock)
    sync_file(target)
    return SavedDatabase(
        component=each.component,
        name=each.name,
        source=server.paths.shown(each.file),
        file=place,
        size=target.stat().st_size,
        sha256=sha256(target),
        user_version=version,
        # As it was before the copy: what is written from then on shows.
        seen=step.trace.files,
        settled=step.trace.settled,
    )


def _link(server: Server, earlier: SavedDatabase, target: Path) -> bool:
    """Make ``target`` the copy of an earlier backup; say whether that one was intact."""
    file = server.paths.backups / earlier.file
    try:
        if sha256(file) != earlier.sha256:
            server.warn(f"warning: {file} is damaged; the database is copied anew")
            return False
        target.hardlink_to(file)
    except FileNotFoundError:
        server.warn(f"warning: {file} is missing; the database is copied anew")
        return False
    except OSError as error:
        if error.errno in (errno.EMLINK, errno.EPERM, errno.EXDEV):
            return False  # as many links as the file system can hold, or it knows none
        raise
    return True


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)


def _folders(top: Path) -> Iterator[Path]:
    for entry in top.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            yield from _folders(entry)
    yield top


def _needed(server: Server, steps: list[Step]) -> int:
    copied = sum(step.trace.size for step in steps if step.earlier is None)
    return copied + saved_settings.size(server.paths.settings) + MARGIN


def require_space(folder: Path, needed: int) -> None:
    """Raise BackupError, with the numbers, when fewer bytes are free than ``needed``."""
    available = shutil.disk_usage(folder).free
    if available < needed:
        raise BackupError(
            f"not enough space for a backup: {folder} has {megabytes(available)} available,"
            f" {megabytes(needed)} are needed",
            f"df -h {folder}; du -sh {folder}/*; then remove what is not needed",
        )


def megabytes(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1e6:.1f} MB"


def _failed(server: Server, error: OSError | TradingError) -> BackupError:
    if isinstance(error, TradingError):
        return BackupError(error.message, error.next_command)
    return BackupError(f"the backup failed: {error}", f"df -h {server.paths.backups}")
