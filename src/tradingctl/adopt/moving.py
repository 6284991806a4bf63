"""Moving, copying and owning files such that all of it can be gone back on, and repeated."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from tradingctl.account import Account
from tradingctl.adopt.trees import files_below
from tradingctl.errors import AdoptionError
from tradingctl.files import sync_directory, sync_file, write_whole

FOLDER_MODE = 0o2770
FILE_MODE = 0o660


def move(source: Path, target: Path) -> None:
    """Give a file, link or directory another name; a file also on another file system.

    What was done before is left. Raises AdoptionError when something is in the way, OSError.
    """
    if not os.path.lexists(source) and os.path.lexists(target):
        return
    empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if os.path.lexists(target) and not (empty and source.is_dir()):
        raise AdoptionError(f"{target} is in the way of {source}", f"ls -ld {source} {target}")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV or (source.is_dir() and not source.is_symlink()):
            raise
        _copy_over(source, target)
        source.unlink()
    sync_directory(source.parent)
    sync_directory(target.parent)


def move_all(source: Path, target: Path, endings: Iterable[str]) -> None:
    """Move a file and those beside it whose names go on with one of ``endings``, if they exist."""
    for end in endings:
        if os.path.lexists(source.with_name(source.name + end)):
            move(source.with_name(source.name + end), target.with_name(target.name + end))


def _copy_over(source: Path, target: Path) -> None:
    staged = target.with_name(f".{target.name}.moving")
    staged.unlink(missing_ok=True)
    shutil.copy2(source, staged, follow_symlinks=False)
    status = source.lstat()
    os.chown(staged, status.st_uid, status.st_gid, follow_symlinks=False)
    if not staged.is_symlink():
        sync_file(staged)
    staged.replace(target)


def own(folder: Path, account: Account, list_file: Path) -> None:
    """Give everything in a directory to the services; who had it is written to ``list_file``.

    An earlier list is kept: it is the one of before. Hard links and what is mounted below are left
    alone only as far as ``chown`` does. Raises OSError.
    """
    if not list_file.exists():
        found = {".": _rights(folder.lstat())}
        for top, folders, names in os.walk(folder):
            for name in (*folders, *names):
                path = Path(top, name)
                found[str(path.relative_to(folder))] = _rights(path.lstat())
        list_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(list_file, json.dumps(found) + "\n", 0o600)
    for name in json.loads(list_file.read_text(encoding="utf-8")):
        path = folder / name
        if os.path.lexists(path):
            _give(path, account)


def _rights(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def _give(path: Path, account: Account) -> None:
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
    if path.is_symlink():
        return
    mode = stat.S_IMODE(path.lstat().st_mode)
    # What its owner could do the services can, which were the owner's own processes until now, and
    # the owner goes on to, who is in the group.
    path.chmod(mode | (FOLDER_MODE if path.is_dir() else FILE_MODE))


def disown(folder: Path, list_file: Path) -> None:
    """Give everything back to whom it belonged; what is new gets the directory's owner."""
    if not list_file.exists() or not folder.is_dir():
        return
    before = json.loads(list_file.read_text(encoding="utf-8"))
    uid, gid, _ = before["."]
    names = [".", *(str(name) for name, _ in files_below(folder))]
    names += [
        str(Path(top, n).relative_to(folder)) for top, dirs, _ in os.walk(folder) for n in dirs
    ]
    for name in dict.fromkeys(names):
        path = folder / name
        owner = before.get(name, (uid, gid, None))
        os.chown(path, owner[0], owner[1], follow_symlinks=False)
        if owner[2] is not None and not path.is_symlink():
            path.chmod(owner[2])


def copy_files(
    source: Path,
    target: Path,
    account: Account,
    skip: Callable[[Path], bool],
    beside: str,
    mode: int | None = None,
) -> int:
    """Copy what differs from ``source`` into ``target`` and return how many files that were.

    They belong to ``account``, which shares them with its group. With ``mode`` they do not: what
    replaces a file has the owner and mode of that one, and what is new has this mode.

    ``skip`` is asked with the path below ``source``, of files and links. A file that is replaced is
    kept with the ending ``beside``. Raises AdoptionError when a link leads out of ``target``,
    OSError.
    """
    count = 0
    for relative, status in files_below(source):
        there = target / relative
        # Asked first: who opens a FIFO waits for ever, and a socket cannot be opened at all.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)) or skip(relative):
            continue
        if _alike(status, there, source / relative):
            continue
        _folders(target, relative.parent, account)
        uid, gid, new_mode = account.uid, account.gid, mode
        if new_mode is None:
            new_mode = stat.S_IMODE(status.st_mode) | FILE_MODE
        if os.path.lexists(there):
            if mode is not None:
                uid, gid, new_mode = _rights(there.lstat())
            kept = there.with_name(there.name + beside)
            if not os.path.lexists(kept):
                there.rename(kept)
        staged = there.with_name(f".{there.name}.adopting")
        staged.unlink(missing_ok=True)
        shutil.copy2(source / relative, staged, follow_symlinks=False)
        os.chown(staged, uid, gid, follow_symlinks=False)
        if not staged.is_symlink():
            staged.chmod(new_mode)
            sync_file(staged)
        staged.replace(there)
        count += 1
    return count


def _alike(status: os.stat_result, there: Path, source: Path) -> bool:
    try:
        found = there.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISLNK(status.st_mode):
        return there.is_symlink() and there.readlink() == source.readlink()
    if not stat.S_ISREG(found.st_mode):
        return False
    return (found.st_size, found.st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def _folders(target: Path, relative: Path, account: Account) -> None:
    here = target
    for part in relative.parts:
        here = here / part
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            raise AdoptionError(f"{here} is not a directory", f"ls -ld {here}")
        make_folder(here, account)


def make_folder(folder: Path, account: Account) -> None:
    """Make a directory that the services and their group write to, if it is missing."""
    if not folder.exists():
        folder.mkdir(mode=0o750)
        os.chown(folder, account.uid, account.gid)
        folder.chmod(FOLDER_MODE)


def same_bytes(one: Path, other: Path) -> bool:
    """Return whether two files hold the same."""
    try:
        if one.stat().st_size != other.stat().st_size:
            return False
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False
