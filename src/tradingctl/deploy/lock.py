"""The lock that every program takes that changes the installed packages.

apt and dpkg hold it from the first change to the last hook, and say so to the programs that they
start; see frontend-api.txt of dpkg.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tradingctl.errors import BusyError
from tradingctl.server import Server

HELD = "DPKG_FRONTEND_LOCKED"
FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process


@contextmanager
def frontend_lock(server: Server, wait: bool = False) -> Iterator[None]:
    """Hold dpkg's frontend lock; at once or not at all, or ``wait`` for it without limit.

    Below a program that holds it already nothing is taken. Raises BusyError naming the holder.
    """
    if held(server):
        yield
        return
    descriptor = _locked(server, "lock-frontend", wait)
    try:
        # A dpkg whose frontend was killed goes on: it holds the other lock until it ends.
        os.close(_locked(server, "lock", wait))
        yield
    finally:
        os.close(descriptor)


def _locked(server: Server, name: str, wait: bool) -> int:
    descriptor = os.open(server.paths.dpkg / name, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        busy = _busy(server, descriptor)
        os.close(descriptor)
        raise busy from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def held(server: Server) -> bool:
    """Return whether a program above this one holds the lock."""
    return bool(server.environ.get(HELD))


def require_idle(server: Server) -> None:
    """Raise BusyError when another program is changing the installed packages."""
    with frontend_lock(server):
        pass


def _busy(server: Server, descriptor: int) -> BusyError:
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    kind, pid = answer[0], answer[4]
    holder = "another program"
    if kind != fcntl.F_UNLCK and pid > 0:
        holder = f"process {pid}"
        try:
            command = (server.paths.proc / str(pid) / "cmdline").read_bytes()
            holder += f" ({command.replace(bytes(1), b' ').decode('utf-8', 'replace').strip()})"
        except OSError:
            pass  # it has ended meanwhile
    return BusyError(
        f"packages are being changed by {holder}; nothing was changed",
        "wait for it to end, then type the command again",
    )
