"""Faults at a chosen moment: a power cut, a shutdown, dpkg killed, as soon as a file says so.

    power_cut(machine, ("apt-get", "-y", "install", "traderunner-stack"), "status unpacked")
    kill_dpkg(machine, ("apt-get", "-y", "install", "traderunner-stack"), "status half-configured")

A *moment* is a text that is written to a file while the command runs, by default to dpkg's log;
it is met within milliseconds. Lines of dpkg.log are such as ``status half-installed PACKAGE:ARCH
VERSION``, ``status unpacked ...``, ``configure ...``, ``status half-configured ...``.
"""

from __future__ import annotations

import contextlib

from tests.system.machine import Machine, Result, Started

DPKG_LOG = "/var/log/dpkg.log"
MOMENT_SECONDS = 120.0

# Ends when text is appended to a file, after killing what the third argument names.
_WATCH = r"""
import os, signal, sys, time
path, text, victim = sys.argv[1:]

def size():
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0

def kill(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read().strip() == name:
                    os.kill(int(pid), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass

start = size()
print("watching", flush=True)
while True:
    if size() > start:
        with open(path, "rb") as file:
            file.seek(start)
            if text.encode() in file.read():
                break
    time.sleep(0.002)
if victim:
    kill(victim)
"""


def power_cut(machine: Machine, argv: tuple[str, ...], moment: str, path: str = DPKG_LOG) -> None:
    """Run a command in the machine and cut its power when ``moment`` is appended to a file.

    AssertionError with the command's output if it ends before.
    """
    with _watch(machine, moment, path, "") as watch, machine.start(*argv) as started:
        _await(machine, watch, started, moment)
        machine.kill()


def shut_down(machine: Machine, argv: tuple[str, ...], moment: str, path: str = DPKG_LOG) -> None:
    """Run a command as a service in the machine and shut it down in good order at ``moment``."""
    with _watch(machine, moment, path, "") as watch:
        machine.run("systemd-run", "--no-block", "--setenv=DEBIAN_FRONTEND=noninteractive", *argv)
        machine.wait_until(lambda: watch.ended, MOMENT_SECONDS, repr(moment))
    machine.poweroff()


def kill_dpkg(
    machine: Machine,
    argv: tuple[str, ...],
    moment: str,
    path: str = DPKG_LOG,
    victim: str = "dpkg",
) -> Result:
    """Run a command, kill every dpkg in the machine at ``moment``, and return how it ended.

    ``victim`` names another program than dpkg. AssertionError if the command ends before.
    """
    with _watch(machine, moment, path, victim) as watch, machine.start(*argv) as started:
        _await(machine, watch, started, moment)
        return started.wait(MOMENT_SECONDS)


def _watch(machine: Machine, moment: str, path: str, victim: str) -> Started:
    watch = machine.start("/usr/bin/python3", "-IB", "-c", _WATCH, path, moment, victim)
    machine.wait_until(lambda: "watching" in watch.output(), MOMENT_SECONDS, "the watch")
    return watch


def _await(machine: Machine, watch: Started, started: Started, moment: str) -> None:
    machine.wait_until(
        lambda: watch.ended or started.ended, MOMENT_SECONDS, f"{moment!r} or the command's end"
    )
    if not watch.ended:  # the command may have ended of what the watch did, just before it ended
        with contextlib.suppress(TimeoutError):
            machine.wait_until(lambda: watch.ended, 20, "the watch")
    assert watch.ended, f"{moment!r} did not come before the end:\n{started.output()}"
