"""The settings that are in force stay in force, wherever they come from."""

from __future__ import annotations

import importlib.util
import sys
import unittest.mock
from pathlib import Path

from tests.unit.tradingctl.adopt.world import API, BOARD, DASHBOARD, SECRET, WORKER, World

from tradingctl.adopt import envfile

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


def test_a_predecessor_of_another_name_has_its_variables_read(world: World) -> None:
    (world.machine.paths.base / API / ".env").unlink()
    (world.machine.paths.local_units / f"{API}.service").unlink()
    world.unit("at-api.service", API, "app.py", more=f"Environment=AT_BEARER_TOKEN={SECRET}\n")
    world.machine.process(5000, "/srv", "/system.slice/at-api.service", ["77"])
    world.machine.listen(("0100007F", 8080, "77"))
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    assert "variables: AT_BEARER_TOKEN" in world.said


def test_a_predecessor_may_disagree_with_a_packaged_unit(world: World) -> None:
    (world.machine.paths.local_units / f"{API}.service").unlink()
    world.unit("at-api.service", API, "app.py", more="Environment=LEVEL=1\n")
    world.unit(f"{WORKER}.service", API, "w.py", more="Environment=LEVEL=2\n", enabled=False)
    world.machine.process(5000, "/srv", "/system.slice/at-api.service", ["77"])
    world.machine.listen(("0100007F", 8080, "77"))
    world.unpack()
    assert world.run("activate", API) == 5
    assert f"the units of {API} disagree about LEVEL" in world.said


def prepare(world: World, text: str) -> str:
    """Write the secret file before anything is taken over, and return where."""
    return str(world.machine.write(f"etc/trading/secrets/{API}.env", text))


def test_a_prepared_file_may_stop_the_orders(world: World) -> None:
    file = prepare(world, "AT_WORKER_MODE=plan-only\n")
    world.say("staging")
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    assert f"the worker's mode becomes plan-only, by {file}; by hand it is paper-send" in world.said
    assert f"{file} is there already, and counts more" in world.said
    assert world.run("activate", API) == 0, world.said
    assert secret_lines(world, API)[-1] == "AT_WORKER_MODE=plan-only"


def test_no_prepared_file_begins_to_send_orders(world: World) -> None:
    world.dot_env(API, "AT_WORKER_MODE=plan-only\n")
    file = prepare(world, "AT_WORKER_MODE=paper-send\n")
    world.unpack()
    assert world.run("activate", API) == 5
    assert (
        f"the worker of {API} has the mode plan-only by hand, and would have paper-send by {file}"
        in world.said
    )
    assert (
        f"next: grep -n AT_WORKER_MODE {file} {world.machine.paths.base / API}/.env" in world.said
    )
    assert "the worker's mode stays" not in world.said


def test_nor_do_the_settings_of_the_package_or_of_the_machine(world: World) -> None:
    world.dot_env(API, "LEVEL=1\n")
    world.machine.write(f"etc/trading/{API}.env", "AT_WORKER_MODE=paper-send\n")
    world.unpack()
    assert world.run("activate", API) == 5
    assert "taking over must not begin to send orders" in world.said


def test_a_prepared_file_keeps_its_owner_and_mode(world: World) -> None:
    file = world.machine.root / f"etc/trading/secrets/{API}.env"
    prepare(world, "AT_BEARER_TOKEN=prepared\n")
    file.chmod(0o640)
    world.install()
    world.run("adopt", "--undo", "--yes")
    assert file.read_text() == "AT_BEARER_TOKEN=prepared\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_what_the_packaged_settings_add_and_what_of_them_is_overridden_is_said(
    world: World,
) -> None:
    world.dot_env(API, "AT_WORKER_MODE=plan-only\nAT_IB_PORT=4001\nAT_DB_PATH=\n")
    default = "# AT_NOT=1\nAT_WORKER_MODE=plan-only\nAT_IB_HOST=192.0.2.1\nAT_IB_PORT=4002\n"
    world.machine.write(f"usr/share/trading/settings/{API}.env", default)
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    file = f"/etc/trading/{API}.env"
    overridden = "these are overridden by what is taken over: AT_IB_PORT, AT_WORKER_MODE\n"
    assert f"of {file} {overridden}" in world.said
    assert f"of {file} these are new, for by hand nothing sets them: AT_IB_HOST; " in world.said


def test_the_packaged_settings_leave_an_older_name_in_force() -> None:
    project = Path(__file__).parents[4]
    file = project / "packaging/samples/marketdata-stream/src/marketdata_stream/settings.py"
    spec = importlib.util.spec_from_file_location("stream_settings", file)
    assert spec and spec.loader
    sample = importlib.util.module_from_spec(spec)
    with unittest.mock.patch.dict(sys.modules, stream_settings=sample):
        spec.loader.exec_module(sample)
    default = (project / "packaging/conf/marketdata-stream.env").read_text()
    environ = {**envfile.systemd(default), "EODHD_SYMBOLS": "NVDA,TSLA"}
    assert sample.load_settings(environ).symbols == ("NVDA", "TSLA")


def test_a_prepared_file_that_is_not_utf_8_is_given_back_to_the_letter(world: World) -> None:
    file = world.machine.root / f"etc/trading/secrets/{API}.env"
    prepare(world, "")
    file.write_bytes(b"NAME=Z\xfcrich\n")
    assert world.install() == 0, world.said
    assert f"AT_BEARER_TOKEN={SECRET}" in secret_lines(world, API)
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert file.read_bytes() == b"NAME=Z\xfcrich\n"
