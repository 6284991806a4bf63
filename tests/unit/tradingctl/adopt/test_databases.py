"""Which file is the database in use; where that is not certain, nothing is taken over."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.adopt.world import API, SECRET, WORKER, World

NAME = "data/automatictrader.db"


def refused(world: World) -> str:
    """Assert that nothing is taken over, and return what is said."""
    world.unpack()
    assert world.run("activate", API) == 5, world.said
    assert "nothing was changed" in world.said
    assert not world.machine.paths.adoption_record.exists()
    return world.said


def units(world: World, more: str = "", folder: str = API) -> None:
    """Write both units of the component again."""
    for unit in (API, WORKER):
        world.unit(f"{unit}.service", folder, f"{unit}.py", more=more, enabled=False)


@pytest.mark.parametrize("value", ["orders.db", "/srv/orders.db", f"'x\nAT_BEARER_TOKEN={SECRET}"])
def test_a_setting_that_names_no_file(world: World, value: str) -> None:
    world.dot_env(API, f"AT_DB_PATH={value}\n")
    said = refused(world)
    assert f"which file {NAME} of {API} is cannot be decided: by AT_DB_PATH" in said
    assert f"next: grep -n AT_DB_PATH {world.machine.paths.base / API}/.env" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "more", ["Environment=AT_DB_PATH=%h/orders.db\n", "EnvironmentFile=-%E/api/settings\n"]
)
def test_a_specifier_of_systemd(world: World, more: str) -> None:
    units(world, more)
    said = refused(world)
    assert f"the units of {API} have a specifier in" in said
    assert "next: grep -n %" in said


def test_a_percent_sign_that_stands_for_itself(world: World) -> None:
    units(world, "Environment=FORMAT=100%%\n")
    assert world.install() == 0, world.said
    assert "FORMAT=100%\n" in world.machine.paths.secret_file(API).read_text()


@pytest.mark.parametrize("setting", ["", f"AT_DB_PATH={NAME}\n"])
def test_a_relative_path_begins_where_the_unit_runs(world: World, setting: str) -> None:
    world.dot_env(API, f"AT_WORKER_MODE=plan-only\n{setting}")
    world.insert(4, world.machine.paths.base / API / "src" / NAME)
    world.old_database.unlink()
    units(world, folder=f"{API}/src")
    assert world.install() == 0, world.said
    assert world.count(world.machine.paths.state / API / NAME) == 4


def test_one_in_each_of_two_directories(world: World) -> None:
    world.insert(4, world.machine.paths.base / API / "src" / NAME)
    units(world, folder=f"{API}/src")
    assert "there is one in more than one of the directories" in refused(world)


def test_units_that_disagree_about_the_database(world: World) -> None:
    for unit in (API, WORKER):
        file = world.machine.root / f"srv/{unit}.db"
        world.insert(1, file)
        more = f"Environment=AT_DB_PATH={file}\n"
        world.unit(f"{unit}.service", API, f"{unit}.py", more=more, enabled=False)
    assert "by AT_DB_PATH, on which the units disagree" in refused(world)


def test_a_database_that_was_never_made_is_no_obstacle(world: World) -> None:
    world.old_database.unlink()
    world.dot_env(API, f"AT_DB_PATH={NAME}\nAT_WORKER_MODE=plan-only\n")
    assert world.install() == 0, world.said


def test_a_pattern_of_files_of_variables(world: World) -> None:
    world.machine.write("srv/api/1.conf", "LEVEL=1\nCOLOUR=red\n")
    world.machine.write("srv/api/2.conf", "LEVEL=2\n")
    units(world, f"EnvironmentFile={world.machine.root}/srv/api/*.conf\n")
    assert world.install() == 0, world.said
    text = world.machine.paths.secret_file(API).read_text()
    assert "LEVEL=2\n" in text
    assert "COLOUR=red\n" in text
