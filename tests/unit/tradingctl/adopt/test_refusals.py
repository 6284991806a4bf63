"""What forbids to take something over is said before anything is touched, with what to type."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.unit.tradingctl.adopt.world import API, BOARD, DASHBOARD, SECRET, WORKER, World

from tradingctl.adopt import refusals


def refused(world: World) -> str:
    """Assert that the installation changes nothing, and return what is said."""
    world.unpack()
    world.machine.paths.logs.mkdir(parents=True, exist_ok=True)
    before = sorted(world.machine.root.rglob("*")), world.look()
    running = set(world.systemd.alive)
    assert world.run("activate", API) == 5
    assert world.systemd.alive == running
    # The event is written down, and nothing else.
    after = set(world.machine.root.rglob("*")) - {world.machine.paths.deploy_log}
    assert after == set(before[0])
    assert world.look() == before[1]
    assert "nothing was changed" in world.said
    assert "\n  next: " in world.said
    return world.said


def test_a_damaged_database(world: World) -> None:
    content = bytearray(world.old_database.read_bytes())
    content[4096:4200] = b"\xff" * 104
    world.old_database.write_bytes(content)
    said = refused(world)
    assert f"{world.old_database} of {API} is damaged" in said
    assert f"next: sqlite3 {world.old_database} 'PRAGMA integrity_check'" in said


def test_too_little_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "free_bytes", lambda _: 1_000_000)
    said = refused(world)
    assert "has 1 MB free and needs 67 MB" in said
    assert "next: df -h" in said


@pytest.mark.parametrize(
    ("cgroup", "next_command"),
    [
        ("/system.slice/reports.service", "systemctl disable --now reports.service"),
        ("/a.slice/system.slice/reports.service", "systemctl disable --now reports.service"),
        ("/user.slice/user-1000.slice/session-1.scope", "ps -fp 5000; kill 5000"),
        ("/user.slice/user@1000.service/app.slice/x.service", "ps -fp 5000; kill 5000"),
    ],
)
def test_a_port_held_by_something_else(world: World, cgroup: str, next_command: str) -> None:
    world.machine.process(5000, "/srv", cgroup, ["77"])
    world.machine.listen(("0100007F", 9001, "77"))
    said = refused(world)
    assert "port 9001 is held by process 5000 (python5000)" in said
    assert f"next: {next_command}" in said


def test_a_port_held_by_the_unit_that_gives_way_is_no_obstacle(world: World) -> None:
    world.machine.process(5000, "/srv", f"/system.slice/{DASHBOARD}.service", ["77"])
    world.machine.listen(("0100007F", 9001, "77"))
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0
    assert f"port 9001: process 5000 (python5000) of {DASHBOARD}.service" in world.said


def test_a_process_started_by_hand_without_its_arguments(world: World) -> None:
    tree = world.machine.paths.base / API
    world.machine.process(5000, tree, "/user.slice/user-1000.slice/session-1.scope")
    folder = world.machine.root / "proc/5000"
    (folder / "exe").symlink_to("/usr/bin/python3.11")
    (folder / "cmdline").write_bytes(b".venv/bin/python\0worker.py\0--token=secret\0")
    said = refused(world)
    assert "process 5000 (.venv/bin/python worker.py) runs from the tree" in said
    assert "secret" not in said


def reader(world: World, cgroup: str) -> Path:
    """Make a process that has the database open, and return its folder of open files."""
    world.machine.process(5000, "/srv", cgroup)
    opened = world.machine.root / "proc/5000/fd"
    (opened / "7").symlink_to(world.old_database)
    return opened


@pytest.mark.parametrize(
    ("cgroup", "next_command"),
    [
        ("/system.slice/charts.service", "systemctl stop charts.service && "),
        ("/user.slice/user-1000.slice/session-1.scope", "ps -fp 5000; kill 5000 && "),
    ],
)
def test_a_process_with_a_database_open(world: World, cgroup: str, next_command: str) -> None:
    reader(world, cgroup)
    said = refused(world)
    assert "process 5000 (python5000)" in said
    assert "has a database open, and would go on with the old one" in said
    assert f"next: {next_command}" in said


def test_a_script_that_opens_a_database_for_a_moment_is_no_obstacle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = reader(world, "/user.slice/user-1000.slice/session-1.scope")
    sleep = world.machine.clock.sleep

    def close_and_sleep(seconds: float) -> None:
        (opened / "7").unlink(missing_ok=True)
        sleep(seconds)

    monkeypatch.setattr(world.machine.clock, "sleep", close_and_sleep)
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said


def test_a_unit_that_runs_once_and_runs_now(world: World) -> None:
    world.unit("daily.service", BOARD, "update.py", more="Type=oneshot\n")
    tree = world.machine.paths.base / BOARD
    world.machine.process(5000, tree, "/system.slice/daily.service")
    (world.machine.root / "proc/5000/exe").symlink_to("/usr/bin/python3.11")
    said = refused(world)
    assert f"of daily.service runs from the tree of {BOARD}" in said
    assert "next: systemctl stop daily.service && " in said


def test_an_editor_in_the_tree_is_no_obstacle(world: World) -> None:
    tree = world.machine.paths.base / API
    world.machine.process(5000, tree, "/user.slice/user-1000.slice/session-1.scope")
    (world.machine.root / "proc/5000/exe").symlink_to("/usr/bin/vim")
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0


def test_a_unit_of_another_name_that_may_be_a_second_worker(world: World) -> None:
    world.unit("at-worker.service", API, "worker.py")
    said = refused(world)
    assert "at-worker.service runs from the tree" in said
    assert "next: systemctl disable --now at-worker.service" in said


def test_a_unit_of_another_name_that_holds_the_port_gives_way(world: World) -> None:
    world.unit("api.service", API, "app.py")
    world.machine.process(5000, "/srv", "/system.slice/api.service", ["77"])
    world.machine.listen(("0100007F", 8080, "77"))
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    assert "systemctl stop api.service" not in world.said
    assert "api.service: active, enabled" in world.said


def test_what_a_timer_starts_is_left(world: World) -> None:
    world.unit("daily.service", BOARD, "update.py", more="Type=oneshot\n")
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0
    assert "daily.service names the tree of traderunner" in world.said


def by_timer(world: World, program: str, more: str = "") -> None:
    """Lay out what a timer starts at a time to come."""
    world.unit("evening.service", API, program, more=more, enabled=False)
    world.systemd.alive.discard("evening.service")
    world.machine.write("etc/systemd/system/evening.timer", "[Timer]\nOnCalendar=15:30\n")


@pytest.mark.parametrize(
    ("program", "more"), [("other.py", ""), (f"{WORKER}.py", "Type=oneshot\n")]
)
def test_a_second_worker_that_a_timer_starts(world: World, program: str, more: str) -> None:
    by_timer(world, program, more)
    said = refused(world)
    assert "evening.service, started by evening.timer, runs from the tree" in said
    assert "next: systemctl disable --now evening.timer evening.service" in said


def test_something_else_that_a_timer_starts_and_that_ends_is_left(world: World) -> None:
    by_timer(world, "other.py", "Type=oneshot\n")
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said


def test_two_units_that_disagree(world: World) -> None:
    world.unit(f"{API}.service", API, "app.py", more="Environment=LEVEL=1\n", enabled=False)
    world.unit(f"{WORKER}.service", API, "w.py", more="Environment=LEVEL=2\n", enabled=False)
    said = refused(world)
    assert f"the units of {API} disagree about LEVEL" in said


def test_a_worker_that_sends_orders_on_a_staging_machine(world: World) -> None:
    world.say("staging")
    said = refused(world)
    file = world.machine.paths.base / API / ".env"
    assert f"AT_WORKER_MODE is paper-send in {file}, and this machine is staging" in said
    assert "next: tradingctl environment production" in said
    assert "; then: dpkg --configure -a" in said


def test_a_worker_that_sends_orders_where_none_is_by_hand(world: World) -> None:
    world.forget(WORKER)
    said = refused(world)
    assert f"{WORKER}.service would start in the mode paper-send by" in said
    (mask,) = re.findall(r"next: systemctl mask (\S+) && dpkg --configure -a  # and when", said)
    (world.machine.paths.local_units / mask).symlink_to("/dev/null")
    assert world.run("activate", API) == 0, world.said
    assert f"{WORKER}.service" not in world.systemd.alive


def test_a_worker_that_only_plans_may_be_new(world: World) -> None:
    world.forget(WORKER)
    world.dot_env(API, "AT_WORKER_MODE=plan-only\n")
    assert world.install() == 0, world.said
    assert f"{WORKER}.service" in world.systemd.alive


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_quote_that_is_not_closed_shows_nobody_the_next_line(
    world: World, environment: str
) -> None:
    world.say(environment)
    world.dot_env(API, f"AT_WORKER_MODE='paper-send\nAT_BEARER_TOKEN={SECRET}\n")
    for unit in (API, WORKER):
        more = f"EnvironmentFile={world.machine.paths.base / API}/.env\n"
        world.unit(f"{unit}.service", API, f"{unit}.py", more=more, enabled=False)
    world.unpack()
    world.run("adopt", "--dry-run")
    assert SECRET not in world.said
    assert "no word (is a quote not closed?)" in world.said
    world.run("activate", API)
    assert SECRET not in world.said
    assert SECRET not in world.machine.paths.deploy_log.read_text()


def test_before_an_installation_it_is_said_how_to_name_production(world: World) -> None:
    world.machine.paths.environment.unlink()
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0
    assert (
        "traderunner-common/environment select production' | debconf-set-selections" in world.said
    )


def test_a_unit_that_runs_somewhere_else(world: World) -> None:
    file = world.machine.paths.local_units / f"{API}.service"
    file.write_text("[Service]\nWorkingDirectory=/home/admin/api\nExecStart=/bin/x\n")
    said = refused(world)
    assert "runs in /home/admin/api, not in /opt/trading/automatictrader-api" in said
    assert "ln -s /home/admin/api /opt/trading/automatictrader-api" in said


def test_a_tree_that_cannot_be_moved_because_something_is_there(world: World) -> None:
    world.machine.write(f"opt/trading/adopted/{API}/app.py", "of another time")
    assert f"adopted/{API} is in the way" in refused(world)


def test_where_services_may_not_start_nothing_is_stopped(world: World) -> None:
    world.machine.write("usr/sbin/policy-rc.d", "")
    world.systemd.codes[str(world.machine.paths.policy)] = 101
    assert "policy-rc.d forbids to start" in refused(world)


@pytest.mark.parametrize(
    ("words", "retry"),
    [
        (("activate", API), "dpkg --configure -a"),
        (("adopt",), "tradingctl adopt"),
        (("adopt", "--dry-run"), "tradingctl adopt"),
    ],
)
def test_the_next_command_ends_with_what_tries_it_again(
    world: World, words: tuple[str, ...], retry: str
) -> None:
    world.machine.write(f"opt/trading/adopted/{API}/app.py", "of another time")
    world.unpack()
    assert world.run(*words) == 5
    aside = world.machine.paths.base / "adopted" / API
    assert f"next: mv {aside} {aside}.old && {retry}\n" in world.said


def test_without_systemd_nothing_is_taken_over(world: World) -> None:
    units = world.machine.paths.systemd_running
    units.rename(units.with_name("elsewhere"))
    assert "systemd is not running" in refused(world)


def test_a_link_to_a_tree_elsewhere_is_followed(world: World, tmp_path: Path) -> None:
    place = world.machine.paths.base / API
    real = world.machine.root / "srv/api"
    real.parent.mkdir()
    place.rename(real)
    place.symlink_to(real)
    assert world.install() == 0, world.said
    assert (real / "app.py").read_text() == "by hand"
    assert (world.machine.paths.base / "adopted" / API).readlink() == real
    assert world.count(world.machine.paths.state / API / "data/automatictrader.db") == 1
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert place.readlink() == real


@pytest.mark.parametrize("linked", ["", "data", "data/automatictrader.db"])
def test_data_that_lies_where_the_packages_own_will(world: World, linked: str) -> None:
    link = world.machine.paths.base / API / linked
    real = world.machine.paths.state / API / linked
    real.parent.mkdir(parents=True)
    link.rename(real)
    link.symlink_to(real)
    rows = world.count()
    said = refused(world)
    live = world.machine.paths.state / API / "data/automatictrader.db"
    assert f"{link}, which leads to {real}, is where the packaged services of {API} get" in said
    assert said.count(" is where the packaged ") == 1
    stop, start = (f"systemctl {word} {API}.service {WORKER}.service" for word in ("stop", "start"))
    (command,) = re.findall(f"next: {stop} && (.*) && {start} && dpkg --configure -a\n", said)
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert not link.is_symlink()
    assert world.run("activate", API) == 0, world.said
    assert world.count(live) == rows
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert world.count() == rows


def test_a_link_from_the_packages_place_into_the_tree(world: World) -> None:
    data = world.machine.paths.base / BOARD / "data"
    link = world.machine.paths.state / BOARD / "data"
    link.parent.mkdir(parents=True)
    link.symlink_to(data)
    assert f"next: rm {link} && dpkg --configure -a\n" in refused(world)


def test_a_database_that_a_setting_finds_in_the_packages_place(world: World) -> None:
    live = world.machine.paths.state / API / "data/automatictrader.db"
    world.insert(1, live)
    world.old_database.unlink()
    more = f"Environment=AT_DB_PATH={live}\n"
    for unit in (API, WORKER):
        world.unit(f"{unit}.service", API, f"{unit}.py", more=more, enabled=False)
    assert f"next: findmnt -T {live}; ls -ld {live}  # move it elsewhere" in refused(world)
