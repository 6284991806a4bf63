"""The settings that are in force stay in force, wherever they come from."""

from __future__ import annotations

from tests.unit.tradingctl.adopt.world import API, BOARD, DASHBOARD, SECRET, WORKER, World

TOKEN = f"Environment=AT_BEARER_TOKEN={SECRET} AT_WORKER_MODE=paper-send\n"


def secret_lines(world: World, component: str) -> list[str]:
    """Return the lines of a component's secret file."""
    return world.machine.paths.secret_file(component).read_text().splitlines()


def without_dot_env(world: World) -> None:
    """Say everything in the unit files."""
    (world.machine.paths.base / API / ".env").unlink()
    for unit in (API, WORKER):
        world.unit(f"{unit}.service", API, f"{unit}.py", more=TOKEN, enabled=False)


def test_variables_of_the_unit_alone_are_carried_over(world: World) -> None:
    without_dot_env(world)
    password = "Environment='DASHBOARD_PASS=by hand'\n"
    world.unit(f"{DASHBOARD}.service", BOARD, "app.py", more=password, enabled=False)
    assert world.install() == 0, world.said
    lines = secret_lines(world, API)
    assert f"AT_BEARER_TOKEN={SECRET}" in lines
    assert "AT_WORKER_MODE=paper-send" in lines
    assert "DASHBOARD_PASS='by hand'" in secret_lines(world, BOARD)


def test_that_they_come_from_the_unit_is_said_without_a_value(world: World) -> None:
    without_dot_env(world)
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    file = world.machine.paths.local_units / f"{API}.service"
    assert f"settings {file}, 0644" in world.said
    assert f"copy  {file}\n" in world.said
    assert SECRET not in world.said
