"""Who asked for a change."""

from __future__ import annotations

import os
import pwd

import pytest
from tests.unit.tradingctl.deploy.release_world import ancestors
from tests.unit.tradingctl.fakes import Machine

from tradingctl.deploy.actor import actor


def login(machine: Machine, number: int) -> None:
    machine.write("proc/self/loginuid", f"{number}\n")


def test_who_used_sudo_is_named(machine: Machine) -> None:
    machine.environ["SUDO_USER"] = "alice"
    login(machine, 0)
    assert actor(machine.server) == "alice"


def test_who_logged_in_is_named_also_after_becoming_root(machine: Machine) -> None:
    login(machine, os.getuid())
    assert actor(machine.server) == pwd.getpwuid(os.getuid()).pw_name


def test_what_a_unit_of_systemd_does_is_told_from_what_a_person_does(machine: Machine) -> None:
    machine.environ["INVOCATION_ID"] = "c0ffee"
    assert actor(machine.server) == "systemd"
    login(machine, os.getuid())
    assert actor(machine.server) == pwd.getpwuid(os.getuid()).pw_name


def test_an_account_without_a_name_is_a_number(machine: Machine) -> None:
    login(machine, 987_654_321)
    assert actor(machine.server) == "987654321"


def test_what_nobody_logged_in_for_is_the_system_s(machine: Machine) -> None:
    assert actor(machine.server) == "root"
    login(machine, (1 << 32) - 1)
    assert actor(machine.server) == "root"
    machine.euid = 1000
    assert actor(machine.server) == "1000"


def test_apt_above_dpkg_is_the_one_that_was_asked(machine: Machine) -> None:
    dpkg = ["/usr/bin/dpkg", "--status-fd", "9", "--unpack", "/tmp/apt-dpkg-install"]
    apt = ["/usr/bin/apt-get", "-y", "-t", "stable", "install", "traderunner-stack"]
    ancestors(machine, ["/bin/sh", "-c", "x"], dpkg, apt, ["bash"], ["sshd"])
    assert actor(machine.server) == "root: apt-get install traderunner-stack"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["dpkg", "-i", "/srv/new/board_2_all.deb"], "dpkg board_2_all.deb"),
        (["/usr/bin/apt", "upgrade"], "apt upgrade"),
        (["python3", "-IB", "/usr/bin/tradingctl", "rollback", "1"], "tradingctl rollback 1"),
        (["python3", "/usr/bin/unattended-upgrade"], "unattended-upgrade"),
        (
            ["apt-get", "-o", "Acquire::http::Proxy=http://u:secret@192.0.2.1", "upgrade"],
            "apt-get upgrade",
        ),
        (["apt-get", "-oAcquire::http::Proxy=http://u:secret@192.0.2.1"], "apt-get"),
    ],
)
def test_a_command_is_told_without_its_options(
    machine: Machine, command: list[str], named: str
) -> None:
    ancestors(machine, command)
    assert actor(machine.server) == f"root: {named}"


def test_a_long_command_is_cut(machine: Machine) -> None:
    ancestors(machine, ["apt-get", "install", *(f"package-{n}" for n in range(20))])
    said = actor(machine.server).removeprefix("root: ")
    assert len(said) == 60
    assert said.endswith("…")


def test_other_programs_are_not_named(machine: Machine) -> None:
    ancestors(machine, ["bash"], ["sshd"])
    assert actor(machine.server) == "root"
