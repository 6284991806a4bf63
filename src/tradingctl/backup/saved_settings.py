"""The copies of /etc/trading in a backup: secrets too, with their modes and owners."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tradingctl.backup.manifest import SavedSetting
from tradingctl.files import sha256, sync_file

FOLDER = "settings"


def save(settings: Path, top: Path) -> tuple[list[SavedSetting], list[str]]:
    """Copy everything below ``settings`` into the backup ``top``; return also what was left out.

    The directory is root's, so nobody lays links in the way. Raises OSError.
    """
    saved: list[SavedSetting] = []
    left_out: list[str] = []
    for file in _walk(settings):
        name = file.relative_to(settings).as_posix()
        found = file.lstat()
        kind = _kind(found)
        if kind is None:
            left_out.append(f"{file} is neither a file nor a directory nor a link")
            continue
        content = {}
        if kind == "file" or (kind == "link" and file.is_file()):
            content = _copy(file, top, f"{FOLDER}/{name}")
        saved.append(
            SavedSetting(
                name=name,
                kind=kind,
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                user=_user(found.st_uid),
                group=_group(found.st_gid),
                target=str(file.readlink()) if kind == "link" else "",
                **content,  # type: ignore[arg-type]
            )
        )
    return saved, left_out


def changed(settings: Path, saved: Iterable[SavedSetting]) -> str:
    """Return the first file that is not as it was saved, empty when nothing changed."""
    known = {each.name: each for each in saved}
    for file in _walk(settings):
        was = known.pop(file.relative_to(settings).as_posix(), None)
        if was is None or not same(file, was):
            return str(file)
    return str(settings / next(iter(known))) if known else ""


def same(file: Path, was: SavedSetting) -> bool:
    """Return whether a file, directory or link is as it was saved."""
    found = file.lstat()
    if _kind(found) != was.kind:
        return False
    owner = (found.st_uid, found.st_gid) == (was.uid, was.gid)
    # Links have no mode of their own.
    if not owner or (was.kind != "link" and stat.S_IMODE(found.st_mode) != was.mode):
        return False
    if was.kind == "link" and str(file.readlink()) != was.target:
        return False
    return was.kind == "directory" or (sha256(file) if file.is_file() else "") == was.sha256


def size(settings: Path) -> int:
    """Return the bytes that the copies will take."""
    return sum(each.stat().st_size for each in _walk(settings) if each.is_file())


def _walk(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)


def _kind(found: os.stat_result) -> str | None:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(found.st_mode))


def _copy(file: Path, top: Path, place: str) -> dict[str, str | int]:
    target = top / place
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with file.open("rb") as original, os.fdopen(descriptor, "wb") as copied:
        shutil.copyfileobj(original, copied)
    sync_file(target)
    return {"file": place, "size": target.stat().st_size, "sha256": sha256(target)}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""
