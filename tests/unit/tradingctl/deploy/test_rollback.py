"""Going back: what is stopped, switched, installed and started, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import BOARD, STACK, STREAM, World
from tests.unit.tradingctl.fakes import unit_state

from tradingctl.deploy.rollback import FORCES, is_rollback, switch
from tradingctl.deploy.store import inventory_of, kept_release
from tradingctl.errors import RollbackError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.server import Server

UNIT = f"{STREAM}.service"
STOP = f"deb-systemd-invoke stop {UNIT}"
START = f"systemctl start --no-block {UNIT}"
SETTINGS = f"etc/trading/{STREAM}.env"


@pytest.fixture
def second(world: World) -> World:
    """Give a server that went from release 1 to 2."""
    assert world.apt("2") == 0
    world.said()
    world.dpkg.commands.clear()
    world.dpkg.variables.clear()
    return world


def steps(world: World) -> list[str]:
    return [
        line.partition("/var/lib/trading")[0].strip().replace(" ".join(FORCES) + " ", "")
        for line in (" ".join(command) for command in world.dpkg.commands)
        if line.startswith(("deb-systemd-invoke", "systemctl start", "dpkg --force"))
    ]


def inventory(world: World, release: str) -> Inventory:
    return inventory_of(world.machine.paths, kept_release(world.machine.paths, release))


def test_units_are_stopped_for_the_switch_and_once_more_for_what_dpkg_installed(
    second: World,
) -> None:
    second.machine.write(f"lib/systemd/system/{UNIT}", "of release 2")
    install = second.dpkg._install

    def replacing(*arguments: object) -> tuple[int, str]:
        second.machine.write(f"lib/systemd/system/{UNIT}", "of release 1")
        return install(*arguments)  # type: ignore[arg-type]

    second.monkeypatch.setattr(second.dpkg, "_install", replacing)
    assert second.tradingctl("rollback", "1") == 0
    assert steps(second) == [STOP, START, f"dpkg --install {second.machine.root}", STOP, START]


def test_a_unit_that_only_the_release_that_is_left_has_is_stopped_first(world: World) -> None:
    world.bad.add("2")
    world.apt("2", STREAM, BOARD)
    began = steps(world).index(f"deb-systemd-invoke stop {BOARD}.service")
    assert steps(world)[began : began + 3] == [
        f"deb-systemd-invoke stop {BOARD}.service", STOP, START]  # fmt: skip


def test_units_run_on_when_dpkg_replaced_nothing_that_they_read(second: World) -> None:
    second.machine.write(f"lib/systemd/system/{UNIT}", "of both")
    second.machine.write(SETTINGS, "A=1\n")
    assert second.tradingctl("rollback", "1") == 0
    assert steps(second) == [STOP, START, f"dpkg --install {second.machine.root}", START]


def test_settings_that_changed_are_read_by_a_new_start(second: World) -> None:
    second.machine.write(SETTINGS, "A=2\n")
    install = second.dpkg._install

    def replacing(*arguments: object) -> tuple[int, str]:
        second.machine.write(SETTINGS, "A=1\n")
        return install(*arguments)  # type: ignore[arg-type]

    second.monkeypatch.setattr(second.dpkg, "_install", replacing)
    second.tradingctl("rollback", "1")
    assert steps(second)[-2:] == [STOP, START]


def test_dpkg_keeps_settings_may_downgrade_and_finds_the_lock_taken(second: World) -> None:
    second.tradingctl("rollback", "1")
    command = next(each for each in second.dpkg.commands if "--install" in each)
    folder = second.machine.paths.releases / "1"
    assert command == ["dpkg", *FORCES, "--install", f"{folder}/{STREAM}_1_all.deb",
                       f"{folder}/{STACK}_1_all.deb"]  # fmt: skip
    assert {"--force-confold", "--force-confdef", "--force-downgrade"} <= set(FORCES)
    variables = second.dpkg.variables[second.dpkg.commands.index(command)]
    assert variables == {"DPKG_FRONTEND_LOCKED": "true", "TRADING_ROLLBACK": "1"}


def test_what_the_administrator_put_aside_is_not_started(second: World) -> None:
    aside = unit_state(STREAM, UnitFileState="disabled", ActiveState="inactive")
    second.dpkg.units[STREAM] = [aside]
    second.tradingctl("rollback", "1")
    assert START not in steps(second)
    assert f"note: {STREAM} is disabled, not starting it" in second.said()


def test_a_disabled_unit_that_ran_nevertheless_runs_again(second: World) -> None:
    second.dpkg.units[STREAM] = [unit_state(STREAM, UnitFileState="disabled")]
    install = second.dpkg._install

    def replacing(*arguments: object) -> tuple[int, str]:
        second.machine.write(f"lib/systemd/system/{UNIT}", "of release 1")
        return install(*arguments)  # type: ignore[arg-type]

    second.monkeypatch.setattr(second.dpkg, "_install", replacing)
    second.tradingctl("rollback", "1")
    assert steps(second)[-2:] == [STOP, START]


def test_without_systemd_it_is_installed_and_not_verified(second: World) -> None:
    second.machine.paths.systemd_running.rmdir()
    second.asked.clear()
    assert second.tradingctl("rollback", "1") == 0
    assert second.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert second.asked == []
    assert steps(second) == [f"dpkg --install {second.machine.root}"]
    assert "is installed and NOT verified: systemd is not running" in second.said()


def test_what_rests_while_the_market_is_closed_is_stopped_again(second: World) -> None:
    second.machine.write("run/trading/market-closed", f'["{STREAM}"]')
    second.tradingctl("rollback", "1")
    assert second.dpkg.ran("systemctl stop") == [f"systemctl stop {UNIT}"]


def test_no_data_and_no_setting_is_touched(second: World) -> None:
    kept = [
        second.machine.write(SETTINGS, "AT_WORKER_MODE=plan-only\n"),
        second.machine.write("etc/trading/secrets/x.env", "PASS=x\n"),
        second.machine.write(f"var/lib/trading/{STREAM}/data/ticks.db", "rows"),
    ]

    def look() -> list[object]:
        return [(each.stat().st_ino, each.stat().st_mtime_ns, each.read_bytes()) for each in kept]

    before = look()
    second.bad.add("3")
    second.apt("3")
    second.tradingctl("rollback", "1")
    assert look() == before


def test_only_the_named_components_are_switched_and_nothing_is_started_at_boot(
    world: World,
) -> None:
    world.apt("2", STREAM, BOARD)
    world.apt("3", STREAM, BOARD)
    world.dpkg.commands.clear()
    switch(world.server, inventory(world, "2"), [BOARD], start=False)
    assert (world.active, world.machine.paths.link(BOARD).readlink().name) == ("3", "2")
    assert steps(world) == []


def test_all_stop_before_the_first_is_switched_and_start_after_the_last(world: World) -> None:
    world.apt("2", STREAM, BOARD)
    world.apt("3", STREAM, BOARD)
    world.dpkg.commands.clear()
    switch(world.server, inventory(world, "2"), [BOARD, STREAM], start=True)
    board = f"{BOARD}.service"
    assert steps(world) == [STOP, f"deb-systemd-invoke stop {board}",
                            f"systemctl start --no-block {board}", START]  # fmt: skip


def test_where_a_unit_does_not_stop_no_link_is_moved_under_it(world: World) -> None:
    assert world.apt("2", STREAM, BOARD) == 0
    assert world.apt("3", STREAM, BOARD) == 0
    world.dpkg.stubborn.add(STREAM)
    world.dpkg.commands.clear()
    assert world.tradingctl("rollback", "2") == 1
    links = [Generations(world.machine.paths, name).active for name in (STREAM, BOARD)]
    assert links == ["3", "3"]
    assert f"{UNIT} did not stop, and would have the code of two releases" in world.said()
    assert steps(world)[-2:] == [f"systemctl start --no-block {BOARD}.service", START]


def test_a_program_knows_that_a_rollback_started_it(world: World) -> None:
    assert not is_rollback(world.server)
    world.machine.environ["TRADING_ROLLBACK"] = "1"
    assert is_rollback(world.server)


def test_packages_whose_signature_is_lost_are_not_installed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apt("2")
    asked = []

    def refuse(server: Server, folder: Path, files: Sequence[tuple[str, str]]) -> None:
        asked.append((folder.name, [name for name, _ in files]))
        raise RollbackError("release 1 cannot be installed again: x.deb is not signed", "look")

    monkeypatch.setattr("tradingctl.deploy.settle.require_kept", refuse)
    before = world.installed()
    assert world.tradingctl("rollback", "1") != 0
    assert asked == [("1", [STREAM, STACK])]
    assert "x.deb is not signed" in world.said()
    assert (world.installed(), world.active) == (before, "2")
