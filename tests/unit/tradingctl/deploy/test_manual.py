"""A rollback that the administrator asks for."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.deploy.release_world import BOARD, STACK, STREAM, World
from tests.unit.tradingctl.fakes import Unheard

from tradingctl.deploy.blocks import Block, block, blocks
from tradingctl.deploy.lastgood import read_last_good


@pytest.fixture
def third(world: World) -> World:
    """Give a server that went from release 1 to 2 to 3."""
    assert (world.apt("2"), world.apt("3")) == (0, 0)
    world.dpkg.offered = ("4", "3", "2", "1")
    world.said()
    world.dpkg.commands.clear()
    return world


def blocked(world: World) -> list[str]:
    return [each.version for each in blocks(world.server)]


def last_good(world: World) -> str:
    good = read_last_good(world.machine.paths)
    return good.release if good else ""


def test_any_kept_release_can_be_gone_back_to_without_the_network(third: World) -> None:
    assert third.tradingctl("rollback", "1", SUDO_USER="alice") == 0
    assert third.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert (third.active, last_good(third), third.pending) == ("1", "1", None)
    assert not third.dpkg.ran("apt-get")
    assert third.events()[-1].by == "alice"
    assert "release 1 is in service and verified\n" in third.said()


def test_a_rollback_goes_on_although_nobody_can_hear_of_it(third: World) -> None:
    third.machine.out, third.machine.err = Unheard(), Unheard()
    assert third.tradingctl("rollback", "1") == 0
    assert third.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert (third.active, last_good(third), third.pending) == ("1", "1", None)


def test_a_dry_run_ends_when_nobody_reads_on(third: World) -> None:
    third.machine.out = Unheard()
    assert third.tradingctl("rollback", "1", "--dry-run") == 1
    assert third.machine.err.getvalue() == ""


def test_the_versions_between_are_blocked_and_later_ones_pass(third: World) -> None:
    third.tradingctl("rollback", "1", SUDO_USER="alice")
    assert blocked(third) == ["2", "3"]
    assert "gone back to release 1 on 2" in blocks(third.server)[0].reason
    assert blocks(third.server)[0].reason.endswith(" by alice")
    assert third.apt("4") == 0


def test_the_version_that_was_left_is_named_although_it_has_more_digits(world: World) -> None:
    for release in ("9", "10"):
        assert world.apt(release) == 0
    world.dpkg.offered = ("10", "9", "1")
    world.said()
    assert world.tradingctl("rollback", "1") == 0
    assert blocked(world) == ["9", "10"]
    assert "To try it again: tradingctl upgrade 10" in world.said()


def test_a_release_that_nobody_knows_any_more_is_blocked_as_well(world: World) -> None:
    world.skip = "policy-rc.d forbids to start services"
    world.apt("2")
    world.skip = ""
    world.tradingctl("rollback", "1")
    assert blocked(world) == ["2"]


def test_a_release_that_is_installed_after_all_and_verifies_is_blocked_no_longer(
    third: World,
) -> None:
    third.tradingctl("rollback", "1")
    assert third.apt("2") == 0
    assert blocked(third) == ["3"]


def test_without_a_release_it_is_the_one_verified_before(third: World) -> None:
    assert third.tradingctl("rollback") == 0
    assert third.installed()[STACK] == "ii 2"


def test_twice_without_a_release_goes_on_back_and_never_to_what_was_left(third: World) -> None:
    assert third.tradingctl("rollback") == 0
    assert third.tradingctl("rollback") == 0
    assert third.installed()[STACK] == "ii 1"
    assert third.tradingctl("rollback") == 5
    assert "no release before the installed one is kept" in third.said()
    assert third.installed()[STACK] == "ii 1"


def test_without_a_release_the_installed_one_is_known_without_its_description(third: World) -> None:
    third.machine.write(f"usr/share/trading/components/{STREAM}.json", "{")
    assert third.tradingctl("rollback") == 0
    assert third.installed()[STACK] == "ii 2"


def test_there_and_back_again(third: World) -> None:
    third.tradingctl("rollback", "1")
    assert third.tradingctl("rollback", "3") == 0
    assert third.installed() == {STREAM: "ii 3", STACK: "ii 3"}
    assert blocked(third) == []


def test_a_dry_run_shows_the_plan_and_what_is_kept_and_changes_nothing(third: World) -> None:
    before = third.files()
    assert third.tradingctl("rollback", "1", "--dry-run") == 0
    assert third.files() == before
    assert not third.dpkg.ran("dpkg --force")
    said = third.said()
    assert said.startswith("to release 1:\nSTEP     WHAT               VERSION  WHY\n")
    assert f"install  {STREAM}  1        is at 3\n" in said
    assert "KEPT  VERIFIED             PACKAGES\n3     2026-11-24" in said


def test_a_release_that_is_not_kept_is_refused_and_the_kept_are_named(third: World) -> None:
    before = third.files()
    assert third.tradingctl("rollback", "9") == 5
    assert "release 9 is not kept in /var/lib/trading/releases; kept: 3, 2, 1" in third.said()
    assert third.files() == before


def test_where_nothing_else_is_kept_there_is_nothing_to_go_back_to(world: World) -> None:
    assert world.tradingctl("rollback") == 5
    assert "no release before the installed one is kept" in world.said()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_damaged_release_is_refused_before_anything_is_touched_with_another_way(
    third: World, more: list[str]
) -> None:
    file = third.machine.paths.releases / "1" / f"{STREAM}_1_all.deb"
    file.unlink()
    before = third.files()
    assert third.tradingctl("rollback", "1", *more) == 1
    said = third.said()
    assert f"release 1 cannot be installed again: {file}: No such file" in said
    assert said.endswith("  next: tradingctl rollback 2\n")
    assert third.files() == before


def test_where_every_kept_release_is_damaged_the_way_is_the_archive(third: World) -> None:
    for file in third.machine.paths.releases.glob(f"*/{STREAM}_*_all.deb"):
        file.unlink()
    assert third.tradingctl("rollback", "1", "--dry-run") == 1
    assert third.said().endswith(
        f"  next: apt-get update && apt-get install --allow-downgrades {STREAM}=1 {STACK}=1\n"
    )


def test_the_installed_release_is_only_verified_again(third: World) -> None:
    assert third.tradingctl("rollback", "3") == 0
    assert "release 3 is installed already; it is verified again" in third.said()
    assert not third.dpkg.ran("dpkg --force")


def test_what_only_the_release_that_is_left_has_goes_with_it(world: World) -> None:
    world.apt("2", STREAM, BOARD)
    assert world.tradingctl("rollback", "1") == 0
    assert world.installed() == {STREAM: "ii 1", STACK: "ii 1", BOARD: "rc 2"}


def test_a_component_beside_the_stack_stays(world: World) -> None:
    world.apt("2")
    debs = world.publish("7", BOARD)
    world.dpkg.run(["dpkg", "--install", str(debs[BOARD])], extra={"TRADING_ROLLBACK": "1"})
    assert world.tradingctl("rollback", "1") == 0
    assert world.installed()[BOARD] == "ii 7"


def test_a_description_that_cannot_be_read_is_no_obstacle(third: World) -> None:
    third.machine.write(f"usr/share/trading/components/{STREAM}.json", "{")
    assert third.tradingctl("rollback", "1") == 0
    assert third.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert "warning: bad description: " in third.said()


def test_while_a_restore_is_not_finished_no_service_is_started_by_a_rollback(third: World) -> None:
    third.machine.write("var/lib/trading/restore.json", "{}")
    before = third.files()
    assert third.tradingctl("rollback", "1") == 5
    assert third.said().endswith("nothing was changed\n  next: tradingctl restore\n")
    assert third.files() == before


def test_a_rollback_needs_root(third: World) -> None:
    third.machine.euid = 1000
    assert third.tradingctl("rollback", "1") == 5
    assert third.installed()[STACK] == "ii 3"


def test_what_was_blocked_and_is_gone_back_to_is_blocked_no_longer(third: World) -> None:
    block(third.server, [Block(STACK, "2", "failed once")])
    third.tradingctl("rollback", "2")
    assert blocked(third) == ["3"]
