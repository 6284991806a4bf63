"""Give /etc/trading back as it was: contents, modes and owners. What is there is kept aside.

At every moment each file is the old one or the new one, whole.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl import tree
from tradingctl.backup.manifest import SavedSetting
from tradingctl.backup.saved_settings import same
from tradingctl.files import sync_directory

ASIDE = ".before-restore-"


@dataclass(frozen=True)
class SettingStep:
    """A file, directory or link that is not as it was."""

    saved: SavedSetting
    path: Path
    reason: str


def steps(settings: Path, saved: Iterable[SavedSetting]) -> Iterator[SettingStep]:
    """Give what is to be restored, directories before what is in them."""
    for each in saved:
        path = settings / each.name
        if not os.path.lexists(path):
            yield SettingStep(each, path, "there is none")
        elif not same(path, each):
            kept = each.kind == "directory" and path.is_dir() and not path.is_symlink()
            yield SettingStep(
                each, path, "mode and owner" if kept else "what is there is moved aside"
            )


def restore(step: SettingStep, top: Path, stamp: str) -> Path | None:
    """Restore one of the steps from the backup ``top``; return where what was there is now.

    May be repeated. Raises OSError.
    """
    saved, path = step.saved, step.path
    owner = _owner(saved)
    if saved.kind == "directory" and path.is_dir() and not path.is_symlink():
        os.chown(path, *owner)
        path.chmod(saved.mode)
        return None
    new = path.parent / f".{path.name}.restoring"
    tree.remove(new)
    if saved.kind == "directory":
        new.mkdir(mode=0o700)
    elif saved.kind == "link" and ((path.parent / saved.target).exists() or not saved.file):
        new.symlink_to(saved.target)
    else:
        # Also what a link led to that leads nowhere now.
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (top / saved.file).open("rb") as copy, os.fdopen(descriptor, "wb") as stream:
            shutil.copyfileobj(copy, stream)
            stream.flush()
            os.fsync(descriptor)
    os.chown(new, *owner, follow_symlinks=False)
    if not new.is_symlink():
        new.chmod(saved.mode if saved.kind != "link" else 0o600)
    aside = _set_aside(path, stamp, new)
    new.replace(path)
    sync_directory(path.parent)
    return aside


def _set_aside(path: Path, stamp: str, new: Path) -> Path | None:
    """Keep what lies at ``path``; a file keeps its name too until it is replaced."""
    if not os.path.lexists(path):
        return None
    aside = path.with_name(f"{path.name}{ASIDE}{stamp}")
    number = 1
    while os.path.lexists(aside):
        if aside.lstat().st_ino == path.lstat().st_ino:
            return aside  # a restore that was cut short got as far as this
        number += 1
        aside = path.with_name(f"{path.name}{ASIDE}{stamp}-{number}")
    if stat.S_ISREG(path.lstat().st_mode) and not new.is_dir():
        aside.hardlink_to(path)
    else:
        path.rename(aside)
    return aside


def _owner(saved: SavedSetting) -> tuple[int, int]:
    """Return user and group by their names, which stay when numbers change."""
    uid, gid = saved.uid, saved.gid
    try:
        uid = pwd.getpwnam(saved.user).pw_uid if saved.user else uid
        gid = grp.getgrnam(saved.group).gr_gid if saved.group else gid
    except KeyError:
        pass
    return uid, gid
