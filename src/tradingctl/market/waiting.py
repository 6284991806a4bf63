"""Waiting for apt and dpkg.

A service that is started or stopped while its code is exchanged would be taken for one that fails.
"""

from __future__ import annotations

import fcntl
import os
import struct

from tradingctl.deploy.lock import FLOCK
from tradingctl.server import Server

INTERVAL = 1.0  # seconds between two looks


def wait_for_packages(server: Server, seconds: float) -> bool:
    """Return whether no apt or dpkg works, at once or within ``seconds``.

    Only looks at their lock: to take it, however briefly, could make another apt fail.
    """
    deadline = server.clock.now() + seconds
    while _locked(server):
        left = deadline - server.clock.now()
        if left <= 0:
            return False
        server.clock.sleep(min(INTERVAL, left))
    return True


def _locked(server: Server) -> bool:
    try:
        descriptor = os.open(server.paths.dpkg / "lock-frontend", os.O_RDWR)
    except OSError:
        return False
    try:
        question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
    finally:
        os.close(descriptor)
    return bool(struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK)
