"""A second copy of a directory tree that costs no space: directories made, files hard-linked."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def duplicate(source: Path, target: Path) -> bool:
    """Make ``target`` a copy of ``source`` and return whether its files are hard links.

    Files are copied where ``target`` lies on another file system. Raises OSError; ``target`` may
    then be incomplete.
    """
    linked = True
    for relative, entry in _walk(source):
        copy = target / relative
        if stat.S_ISDIR(entry.st_mode):
            copy.mkdir(mode=0o700)
        elif stat.S_ISLNK(entry.st_mode):
            copy.symlink_to((source / relative).readlink())
        elif linked:
            try:
                copy.hardlink_to(source / relative)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    raise
                linked = False
        if stat.S_ISREG(entry.st_mode) and not linked:
            shutil.copy2(source / relative, copy, follow_symlinks=False)
            _own(copy, entry)
    # Modes last: a directory that root's copy shall not write to is filled before.
    for relative, entry in _walk(source):
        if stat.S_ISDIR(entry.st_mode):
            _own(target / relative, entry)
            (target / relative).chmod(stat.S_IMODE(entry.st_mode))
    return linked


def _own(path: Path, entry: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, entry.st_uid, entry.st_gid, follow_symlinks=False)


def difference(source: Path, target: Path) -> str:
    """Return the first way in which ``target`` is no copy of ``source``, empty when it is one.

    A file corresponds when it is the same inode or, on another file system, has the same size,
    mode and modification time. Raises OSError.
    """
    try:
        theirs = dict(_walk(target))
    except FileNotFoundError:
        return "missing"
    for relative, ours in _walk(source):
        copy = theirs.pop(relative, None)
        if copy is None:
            return f"{relative} is missing"
        if not _same(ours, copy):
            return f"{relative} differs"
        if stat.S_ISLNK(ours.st_mode):
            pointed = (source / relative).readlink() == (target / relative).readlink()
            if not pointed:
                return f"{relative} points elsewhere"
    extra = next(iter(theirs), None)
    return f"{extra} is not of the package" if extra is not None else ""


def _same(ours: os.stat_result, copy: os.stat_result) -> bool:
    if ours.st_mode != copy.st_mode:
        return False
    if not stat.S_ISREG(ours.st_mode):
        return True
    if ours.st_dev == copy.st_dev:
        # Two mounts of one file system have the same device and yet refuse links between them.
        return ours.st_ino == copy.st_ino or (copy.st_nlink == 1 and _alike(ours, copy))
    return _alike(ours, copy)


def _alike(ours: os.stat_result, copy: os.stat_result) -> bool:
    return (ours.st_size, int(ours.st_mtime)) == (copy.st_size, int(copy.st_mtime))


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give every entry below ``root``, and ``root`` itself as ``.``, parents first."""
    yield ".", root.lstat()
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                yield relative, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(relative)


def remove(path: Path) -> None:
    """Remove a tree, a file or a link; it need not exist. Raises OSError."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
