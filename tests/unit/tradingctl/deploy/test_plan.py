"""What a rollback is going to do, and why."""

from __future__ import annotations

from tests.unit.tradingctl.deploy.release_world import BOARD, STACK, STREAM, World

from tradingctl.deploy.blocks import Block
from tradingctl.deploy.plan import Action, Plan, Step, plan_rollback, plan_text
from tradingctl.deploy.store import kept_release

BEFORE = {STREAM: "1", STACK: "1", BOARD: ""}


def plan(world: World, *blocked: Block) -> Plan:
    return plan_rollback(world.server, kept_release(world.machine.paths, "1"), BEFORE, blocked)


def verify(world: World) -> Action:
    at = kept_release(world.machine.paths, "1").verified_at
    return Action(Step.VERIFY, "1", "1", f"last good at {at}")


def test_the_whole_way_back_from_a_release(world: World) -> None:
    world.apt("2", STREAM, BOARD)
    away = Block(STACK, "2", "failed")
    found = plan(world, away)
    link = world.machine.paths.link(STREAM)
    assert found.actions == (
        Action(Step.SWITCH, STREAM, "1", f"{link} points to 2"),
        Action(Step.INSTALL, STREAM, "1", "is at 2"),
        Action(Step.INSTALL, STACK, "1", "is at 2"),
        Action(Step.REMOVE, BOARD, "2", "came with the release that is left"),
        verify(world),
        Action(Step.BLOCK, STACK, "2", "failed"),
    )
    assert found.blocks == (away,)
    assert found.of(Step.INSTALL) == [STREAM, STACK]


def test_where_nothing_differs_it_is_only_verified(world: World) -> None:
    assert plan(world).actions == (verify(world),)


def test_what_dpkg_did_not_finish_is_installed_again_although_the_version_is_right(
    world: World,
) -> None:
    world.dpkg.packages[STREAM] = ("iHR", "1")
    world.dpkg.packages[STACK] = ("iF ", "1")
    assert plan(world).actions == (
        Action(Step.INSTALL, STREAM, "1", "is in state 'iHR' at 1"),
        Action(Step.INSTALL, STACK, "1", "is in state 'iF' at 1"),
        verify(world),
    )


def test_what_is_gone_is_installed(world: World) -> None:
    world.dpkg.packages[STREAM] = ("rc ", "1")
    del world.dpkg.packages[STACK]
    assert [(each.subject, each.reason) for each in plan(world).actions[:2]] == [
        (STREAM, "is not installed"),
        (STACK, "is not installed"),
    ]


def test_a_link_is_only_switched_to_a_generation_that_is_there(world: World) -> None:
    world.apt("2")
    (world.machine.paths.generation(STREAM, "1") / "RELEASE.json").unlink()
    assert plan(world).of(Step.SWITCH) == []
    world.machine.paths.link(STREAM).unlink()
    world.machine.write(f"opt/trading/releases/{STREAM}/1/RELEASE.json", "{}")
    assert plan(world).actions[0].reason.endswith("points to nothing")


def test_what_came_along_and_is_gone_again_is_not_removed(world: World) -> None:
    world.dpkg.packages[BOARD] = ("rc ", "2")
    assert plan(world).of(Step.REMOVE) == []


def test_what_the_target_needs_stays_although_it_was_not_there_before(world: World) -> None:
    found = plan_rollback(
        world.server, kept_release(world.machine.paths, "1"), {STREAM: "", STACK: "1"}
    )
    assert found.of(Step.REMOVE) == []


def test_planning_changes_nothing(world: World) -> None:
    world.apt("2")
    before = world.files()
    plan(world)
    assert world.files() == before


def test_the_plan_is_a_table_with_reasons(world: World) -> None:
    world.dpkg.packages[STACK] = ("iF ", "1")
    assert plan_text(plan(world)).splitlines() == [
        "to release 1:",
        "STEP     WHAT               VERSION  WHY",
        "install  traderunner-stack  1        is in state 'iF' at 1",
        f"verify   1                  1        {verify(world).reason}",
    ]
