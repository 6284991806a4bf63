"""Faults come at the moment that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.system.faults import DPKG_LOG, kill_dpkg, power_cut
from tests.system.machine import CommandError, Machine, Snapshot
from tests.system.project import Project
from tests.system.stack import apt, installed_server

pytestmark = pytest.mark.system

UPGRADE = ("apt-get", "-y", "install", "traderunner-stack")


@pytest.fixture
def outdated(releases: Callable[..., Project], installed_slim: Snapshot) -> Iterator[Machine]:
    """Return a server with the slim stack that knows of a newer release."""
    project = releases("good2")
    project.publish()
    with installed_server(installed_slim, project) as machine:
        apt(machine, "update")
        yield machine


def test_dpkg_is_killed_in_the_middle(outdated: Machine) -> None:
    killed = kill_dpkg(outdated, UPGRADE, "status half-installed automatictrader-api")
    assert killed.returncode == 100
    assert "Sub-process /usr/bin/dpkg exited unexpectedly" in killed.output
    assert "automatictrader-api" in outdated.run("dpkg", "--audit", check=False).stdout


def test_power_is_cut_in_the_middle(outdated: Machine) -> None:
    power_cut(outdated, UPGRADE, "status unpacked traderunner:")
    assert not outdated.booted
    log = outdated.read(DPKG_LOG)
    assert "status unpacked traderunner:amd64 " in log
    assert "status installed traderunner-stack:all" not in log.rpartition("startup")[2]
    outdated.boot(degraded_ok=True)
    assert outdated.run("dpkg", "--audit", check=False).stdout != ""


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
