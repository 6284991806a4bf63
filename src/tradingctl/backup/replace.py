"""Put the copy of a database in the place of the live one, which is kept beside it.

First the copy is staged under another name, whole and checked. Then what is there gets second
names, which SQLite too takes for one database, and one rename puts the copy in its place: there is
a database at every moment. Everything may be repeated after a crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tradingctl.account import Account
from tradingctl.backup.database import Database, damage, look
from tradingctl.backup.rights import open_state
from tradingctl.errors import RestoreError
from tradingctl.paths import Paths

ASIDE = ".before-restore-"
SIDE_FILES = ("-wal", "-journal", "-shm")
MODE = 0o640  # what the services' own mask leaves
BLOCK = 1 << 20


def stage(paths: Paths, live: Database, copy: Path, sha256: str, account: Account) -> None:
    """Put a copy beside the live database, owned as that one is.

    Raises RestoreError when it is not what the manifest says, BackupError, OSError.
    """
    with _folder(paths, live) as folder:
        name = _staged(live)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        digest = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as stream, copy.open("rb") as original:
            while block := original.read(BLOCK):
                digest.update(block)
                stream.write(block)
            stream.flush()
            uid, gid, mode = _owner(folder, live, account)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    found = "" if digest.hexdigest() == sha256 else "does not have the SHA-256 of the manifest"
    found = found or damage(live.file.with_name(name))
    if found:
        raise RestoreError(f"{copy}: {found}; nothing was changed", "tradingctl backup --list")


def unstage(paths: Paths, live: Database) -> None:
    """Remove the staged copy, if there is one."""
    with open_state(paths, _parent(live)) as folder:
        if folder is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_staged(live), dir_fd=folder)


def swap(paths: Paths, live: Database, stamp: str) -> list[Path]:
    """Put the staged copy in place and return where what was there is now.

    Without a staged copy that was done before. Nothing may have the database open. Raises
    RestoreError, BackupError, OSError.
    """
    with _folder(paths, live) as folder:
        if _entry(folder, _staged(live)) is None:
            return _asides(folder, live, stamp)
        look(paths, live)  # nothing but files lies in the way
        name = live.file.name
        there = [each for each in ("", *SIDE_FILES) if _entry(folder, name + each) is not None]
        for suffix in there:
            _second_name(folder, name, suffix, stamp)
        os.fsync(folder)
        # What belongs to the old database must not be found beside the new one.
        for suffix in there:
            if suffix:
                os.unlink(name + suffix, dir_fd=folder)
        os.rename(_staged(live), name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
        return _asides(folder, live, stamp)


def _second_name(folder: int, name: str, suffix: str, stamp: str) -> None:
    live = _entry(folder, name + suffix)
    number = 1
    while True:
        aside = f"{name}{ASIDE}{stamp}{'' if number == 1 else f'-{number}'}{suffix}"
        there = _entry(folder, aside)
        if there is None:
            os.link(
                name + suffix,
                aside,
                src_dir_fd=folder,
                dst_dir_fd=folder,
                follow_symlinks=False,
            )
            return
        if live is not None and there.st_ino == live.st_ino:
            return  # a restore that was cut short got as far as this
        number += 1


def _asides(folder: int, live: Database, stamp: str) -> list[Path]:
    start = f"{live.file.name}{ASIDE}{stamp}"
    names = sorted(name for name in os.listdir(folder) if name.startswith(start))
    return [live.file.with_name(name) for name in names]


def _entry(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _owner(folder: int, live: Database, account: Account) -> tuple[int, int, int]:
    there = _entry(folder, live.file.name)
    if there is None or not stat.S_ISREG(there.st_mode):
        return account.uid, account.gid, MODE
    return there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)


def _staged(live: Database) -> str:
    return f".{live.file.name}.restoring"


def _parent(live: Database) -> PurePosixPath:
    return PurePosixPath(live.component, live.name).parent


@contextlib.contextmanager
def _folder(paths: Paths, live: Database) -> Iterator[int]:
    with open_state(paths, _parent(live)) as folder:
        if folder is None:
            raise RestoreError(
                f"{live.file.parent} of component {live.component} does not exist",
                f"tradingctl activate {live.component}",
            )
        yield folder


def holders(paths: Paths, databases: list[Database]) -> list[str]:
    """Return the processes, for people, that have one of the databases open."""
    found = []
    for pid in holder_pids(paths, databases):
        command = ""
        with contextlib.suppress(OSError):
            text = (paths.proc / pid / "cmdline").read_bytes()
            command = text.replace(b"\0", b" ").decode().strip()
        found.append(f"process {pid} ({command})")
    return found


def holder_pids(paths: Paths, databases: Iterable[Database]) -> list[str]:
    """Return the numbers of the processes that have one of the databases open."""
    files = set()
    for live in databases:
        for suffix in ("", *SIDE_FILES):
            with contextlib.suppress(OSError):
                there = live.file.with_name(live.file.name + suffix).lstat()
                files.add((there.st_dev, there.st_ino))
    processes = sorted(paths.proc.glob("[0-9]*"), key=lambda each: int(each.name))
    names = [folder.name for folder in processes if _opened(folder) & files]
    return [name for name in names if name != str(os.getpid())]


def _opened(process: Path) -> set[tuple[int, int]]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                there = entry.stat()
                found.add((there.st_dev, there.st_ino))
    return found
