"""Daily snapshots of the state directories that hold artifacts, such as results of backtests.

A file that did not change is the same file in two snapshots, never in a snapshot and the live
directory: there the service may write to it. Nothing here follows a link.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from tradingctl import tree
from tradingctl.backup import catalogue, restic
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.rights import open_state
from tradingctl.backup.snapshot import MARGIN, require_space
from tradingctl.backup.uploaded import uploaded
from tradingctl.deploy import history
from tradingctl.errors import BackupError
from tradingctl.files import sync_directory
from tradingctl.inventory import Inventory
from tradingctl.server import Server

ID = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?")
STAMP = "%Y%m%dT%H%M%SZ"
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Entry:
    """A file, directory or link below the snapshot; ``what`` changes when it does."""

    kind: int
    what: str
    size: int = 0


@dataclass(frozen=True)
class Snapshot:
    """What was made, or the newest there was when nothing changed since."""

    id: str
    files: int
    copied: int
    size: int
    removed: tuple[str, ...] = ()
    is_new: bool = True


def save(server: Server, inventory: Inventory) -> Snapshot | None:
    """Make a snapshot of all artifacts, None when no component declares any.

    Nothing is made when nothing changed. Raises BackupError, OSError.
    """
    places = [
        PurePosixPath(component.name, state.path)
        for component in inventory.components
        for state in component.state
        if state.artifacts
    ]
    if not places:
        return None
    folder = server.paths.artifact_backups
    try:
        with catalogue.locked(server, folder):
            found = _save(server, places)
            keep = read_configuration(server.paths).keep.artifacts
            removed = _prune(server, folder, keep)
        _upload(server, folder)
    except (BackupError, OSError) as error:
        detail = getattr(error, "message", str(error))
        history.record(server, "backup-failed", inventory.release, f"artifacts: {detail}")
        raise
    return Snapshot(found.id, found.files, found.copied, found.size, removed, found.is_new)


def snapshots(folder: Path) -> list[str]:
    """Return the names of the complete snapshots, newest first."""
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    return sorted(filter(ID.fullmatch, names), key=_order, reverse=True)


def dated(folder: Path, now: datetime) -> list[str]:
    """Return the complete snapshots that are not dated in the future, newest first.

    The others stay, are compared with nothing and push out none.
    """
    latest = (now.astimezone(UTC) + catalogue.AHEAD).strftime(STAMP)
    return [each for each in snapshots(folder) if _order(each)[0] <= latest]


def _order(name: str) -> tuple[str, int]:
    found = ID.fullmatch(name)
    return (found[1], int(found[2] or 1)) if found else (name, 0)


def _new_id(known: list[str], now: datetime) -> str:
    """Return an id after all others, also within a second and when the clock went back."""
    stamp = max((now.astimezone(UTC).strftime(STAMP), *(_order(each)[0] for each in known[:1])))
    number = max((_order(each)[1] for each in known if each.startswith(stamp)), default=0) + 1
    return stamp if number == 1 else f"{stamp}-{number}"


def _save(server: Server, places: list[PurePosixPath]) -> Snapshot:
    folder = server.paths.artifact_backups
    at = server.wall()
    known = dated(folder, at)
    earlier = folder / known[0] if known else None
    before = dict(_entries(earlier)) if earlier else {}
    now: dict[str, Entry] = {}
    for place in places:
        with open_state(server.paths, place) as source:
            if source is not None:
                now.update((f"{place}/{name}", entry) for name, entry in _walk(source))
    files = {name: entry for name, entry in now.items() if entry.kind != stat.S_IFDIR}
    same = {name for name, entry in files.items() if before.get(name) == entry}
    changed = files.keys() - same
    size = sum(entry.size for entry in files.values())
    if known and not changed and files.keys() == _not_directories(before):
        return Snapshot(known[0], len(files), 0, size, is_new=False)
    require_space(folder, sum(files[name].size for name in changed) + MARGIN)
    name = _new_id(known, at)
    top = folder / f"{catalogue.UNFINISHED}{name}"
    try:
        top.mkdir(mode=0o700)
        for place in places:
            with open_state(server.paths, place) as source:
                if source is not None:
                    _copy_all(source, top, place, earlier, same)
        for each, _, _ in os.walk(top):
            Path(each).chmod(0o700)
            sync_directory(Path(each))
        top.rename(folder / name)
    except BaseException:
        tree.remove(top)
        raise
    sync_directory(folder)
    return Snapshot(name, len(files), len(changed), size)


def _not_directories(entries: dict[str, Entry]) -> set[str]:
    return {name for name, entry in entries.items() if entry.kind != stat.S_IFDIR}


def _entries(top: Path) -> Iterator[tuple[str, Entry]]:
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield from _walk(folder)
    finally:
        os.close(folder)


def _walk(top: int) -> Iterator[tuple[str, Entry]]:
    """Give what lies below an opened directory, parents first, without following links."""
    for folder, directories, files, descriptor in os.fwalk(".", dir_fd=top):
        for name in sorted((*directories, *files)):
            relative = (PurePosixPath(folder) / name).as_posix()
            with contextlib.suppress(FileNotFoundError):  # removed a moment ago
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFREG:
                    what = f"{status.st_size} {status.st_mtime_ns}"
                    yield relative, Entry(kind, what, status.st_size)
                elif kind == stat.S_IFLNK:
                    yield relative, Entry(kind, os.readlink(name, dir_fd=descriptor))
                elif kind == stat.S_IFDIR:
                    yield relative, Entry(kind, "")


def _copy_all(
    source: int, top: Path, place: PurePosixPath, earlier: Path | None, same: set[str]
) -> None:
    (top / place).mkdir(mode=0o700, parents=True)
    for relative, entry in _walk(source):
        name = f"{place}/{relative}"
        target = top / name
        if entry.kind == stat.S_IFDIR:
            target.mkdir(mode=0o700, exist_ok=True)
        elif entry.kind == stat.S_IFLNK:
            target.symlink_to(entry.what)
        elif earlier and name in same:
            target.hardlink_to(earlier / name)
        else:
            with contextlib.suppress(FileNotFoundError):
                _copy(source, relative, target)


def _copy(source: int, relative: str, target: Path) -> None:
    *parents, name = PurePosixPath(relative).parts
    with contextlib.ExitStack() as opened:
        folder = source
        for part in parents:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            opened.callback(os.close, folder)
        original = opened.enter_context(os.fdopen(os.open(name, READ, dir_fd=folder), "rb"))
        status = os.fstat(original.fileno())
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        copied = opened.enter_context(os.fdopen(descriptor, "wb"))
        shutil.copyfileobj(original, copied)
        copied.flush()
        os.fsync(descriptor)
        # The time before the copy: what is written from then on is a change.
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


def _prune(server: Server, folder: Path, keep: int) -> tuple[str, ...]:
    surplus = tuple(dated(folder, server.wall())[keep:])
    for name in surplus:
        aside = folder / f"{catalogue.REMOVED}{name}"
        (folder / name).rename(aside)
        tree.remove(aside)
    return surplus


def _upload(server: Server, folder: Path) -> None:
    """Copy the snapshots into the repository that it has not got, the newest first."""
    environment = read_configuration(server.paths).restic
    if not environment:
        return
    there = uploaded(server.paths, environment)
    for name in dated(folder, server.wall()):
        path = folder / name
        if path.relative_to(server.paths.backups).as_posix() not in there:
            made = datetime.strptime(_order(name)[0], STAMP).replace(tzinfo=UTC)
            tags = (restic.ARTIFACTS,)
            restic.upload(server, environment, path, tags, made, restic.SECONDS)
