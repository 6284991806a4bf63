"""Releases that apt is not to install by itself."""

from __future__ import annotations

from tests.unit.tradingctl.fakes import Machine

from tradingctl.deploy.blocks import Block, block, blocks, unblock

STACK = "traderunner-stack"
BAD = Block(STACK, "2026.11.23.1~deb12", "release 2026.11.23.1 failed on 2026-11-24: health")
WORSE = Block(STACK, "2026.11.24.1~deb12", "gone back by alice")


def test_a_blocked_version_is_a_pin_that_apt_reads(machine: Machine) -> None:
    block(machine.server, [BAD])
    text = machine.paths.blocked.read_text(encoding="utf-8")
    assert text.partition("\n\n")[2] == (
        f"Explanation: {BAD.reason}\nPackage: {STACK}\nPin: version {BAD.version}\n"
        "Pin-Priority: -1\n"
    )
    assert all(line.startswith("#") for line in text.partition("\n\n")[0].splitlines())
    assert machine.paths.blocked.stat().st_mode & 0o777 == 0o644


def test_what_is_blocked_is_read_again(machine: Machine) -> None:
    assert blocks(machine.server) == []
    block(machine.server, [BAD])
    block(machine.server, [WORSE])
    assert blocks(machine.server) == [BAD, WORSE]


def test_a_version_is_blocked_once_and_the_newer_reason_counts(machine: Machine) -> None:
    block(machine.server, [BAD])
    again = Block(STACK, BAD.version, "failed again")
    block(machine.server, [again])
    assert blocks(machine.server) == [again]


def test_a_reason_of_several_lines_stays_one(machine: Machine) -> None:
    block(machine.server, [Block(STACK, "2", "got 500\n\nPackage: *\n Pin: version *")])
    assert blocks(machine.server) == [Block(STACK, "2", "got 500 Package: * Pin: version *")]


def test_the_file_goes_with_the_last_block(machine: Machine) -> None:
    block(machine.server, [BAD, WORSE])
    unblock(machine.server, STACK, BAD.version)
    assert blocks(machine.server) == [WORSE]
    unblock(machine.server, STACK, WORSE.version)
    assert not machine.paths.blocked.exists()


def test_what_is_older_than_the_version_that_passes_is_forgotten(machine: Machine) -> None:
    block(machine.server, [BAD, WORSE])
    unblock(machine.server, STACK, WORSE.version)
    assert blocks(machine.server) == []


def test_without_blocks_nothing_is_written(machine: Machine) -> None:
    block(machine.server, [])
    unblock(machine.server, STACK, "2")
    assert not machine.paths.blocked.parent.exists()


def test_a_version_that_is_not_blocked_changes_nothing(machine: Machine) -> None:
    block(machine.server, [BAD])
    inode = machine.paths.blocked.stat().st_ino
    unblock(machine.server, STACK, "2026.11.22.1~deb12")
    assert machine.paths.blocked.stat().st_ino == inode
