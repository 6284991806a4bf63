"""Another process that holds a lock of dpkg's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.tradingctl.fakes import Machine

HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "r+")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(machine: Machine, name: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock; it ends when its standard input does."""
    (machine.paths.dpkg / name).touch()
    command = [sys.executable, "-c", HOLDER, str(machine.paths.dpkg / name)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        machine.write(f"proc/{child.pid}/cmdline", "apt-get\0install\0traderunner-stack\0")
        yield child
        if child.stdin and not child.stdin.closed:
            child.stdin.close()
