"""Waiting for apt and dpkg by their lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.tradingctl.fakes import Machine

from tradingctl.market.waiting import wait_for_packages

HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(machine: Machine) -> Iterator[None]:
    """Let another process hold the lock."""
    path = machine.write("var/lib/dpkg/lock-frontend", "")
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


def test_nothing_is_waited_for_while_nobody_holds_the_lock(machine: Machine) -> None:
    assert wait_for_packages(machine.server, 60)
    machine.write("var/lib/dpkg/lock-frontend", "")
    assert wait_for_packages(machine.server, 60)
    assert machine.clock.slept == []


def test_a_held_lock_is_waited_for_as_long_as_was_said(machine: Machine) -> None:
    with held(machine):
        assert not wait_for_packages(machine.server, 2.5)
        assert machine.clock.slept == [1, 1, 0.5]
    assert wait_for_packages(machine.server, 2.5)
