"""Faults come at the moment that was asked for."""

from __future__ import annotations

import pytest
from tests.system.faults import DPKG_LOG, kill_dpkg, power_cut
from tests.system.machine import CommandError, Machine

pytestmark = pytest.mark.system

INSTALL = ("dpkg", "-i", "/root/example.deb")
MOMENT = "status half-configured example:all 1"
# A package whose configuration never ends: a fault comes in the middle or not at all.
MAKE_PACKAGE = """
mkdir -p /root/example/DEBIAN
cd /root/example/DEBIAN
printf '%s\\n' 'Package: example' 'Version: 1' 'Architecture: all' 'Description: example' \\
    'Maintainer: tester <tester@example.org>' >control
printf '#!/bin/sh\\nexec sleep infinity\\n' >postinst
chmod 755 postinst
dpkg-deb --build /root/example /root/example.deb
"""


@pytest.fixture
def waiting(booted: Machine) -> Machine:
    """Return a server with the file of a package that is not installed yet."""
    booted.sh(MAKE_PACKAGE)
    return booted


def test_dpkg_is_killed_in_the_middle(waiting: Machine) -> None:
    killed = kill_dpkg(waiting, INSTALL, MOMENT)
    assert killed.returncode in (-9, 137)
    assert waiting.read(DPKG_LOG).rstrip().endswith(MOMENT)
    assert "example" in waiting.run("dpkg", "--audit", check=False).stdout


def test_power_is_cut_in_the_middle(waiting: Machine) -> None:
    power_cut(waiting, INSTALL, MOMENT)
    assert not waiting.booted
    assert waiting.read(DPKG_LOG).rstrip().endswith(MOMENT)
    waiting.boot()
    assert "example" in waiting.run("dpkg", "--audit", check=False).stdout


def test_moment_that_does_not_come_fails(booted: Machine) -> None:
    with pytest.raises(AssertionError, match="'tomorrow' did not come before the end:\nhello\n"):
        kill_dpkg(booted, ("echo", "hello"), "tomorrow")


def test_started_command_is_watched_and_ended(booted: Machine) -> None:
    with booted.start("sh", "-c", "echo hello; sleep 1000") as started:
        booted.wait_until(lambda: started.output() == "hello\n", 10, "a greeting")
        assert not started.ended
        with pytest.raises(CommandError, match="took over 0 s"):
            started.wait(0)
    assert started.ended
    with booted.start("sh", "-c", "echo sorry >&2; exit 3") as started:
        done = started.wait(10)
    assert (done.returncode, done.stdout) == (3, "sorry\n")
