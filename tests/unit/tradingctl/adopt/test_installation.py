"""An installation by hand is taken over by the first package that is configured, and given back."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.tradingctl.adopt.world import (
    API,
    BOARD,
    DASHBOARD,
    SECRET,
    VERSION,
    WORKER,
    KilledError,
    World,
    api,
    board,
)
from tests.unit.tradingctl.fakes import Unheard

from tradingctl.adopt import installation, record, undo
from tradingctl.adopt.record import Kind, State
from tradingctl.inventory import Inventory, read_inventory
from tradingctl.verify import ran_before


def test_it_ends_with_the_packages_serving_the_same_data(world: World) -> None:
    paths = world.machine.paths
    assert world.install() == 0, world.said
    assert world.state == State.ADOPTED
    assert (paths.link(API) / "app.py").read_text() == "packaged"
    live = paths.state / API / "data/automatictrader.db"
    assert world.count(live) == 1
    assert live.stat().st_mode & 0o7777 == 0o660
    assert (paths.state / BOARD / "artifacts/report.html").read_text() == "no trades\n"
    assert (paths.logs / BOARD / "dashboard.log").read_text() == "started\n"
    assert (paths.state / BOARD / "data/watchlist.csv").read_text() == "HOOD\n"
    assert (paths.state / BOARD / "data/samples/shipped.csv").is_symlink(), "the release's own"
    assert not (paths.local_units / f"{API}.service").exists()


def test_the_tree_is_aside_and_nothing_in_it_is_changed(world: World) -> None:
    before = world.look("artifacts", "logs")
    world.install()
    aside = world.machine.paths.base / "adopted"
    for path, what in before.items():
        if path.startswith(str(world.machine.paths.base)):
            moved = str(aside / Path(path).relative_to(world.machine.paths.base))
            assert world.look("artifacts", "logs")[moved] == what


def test_settings_in_force_stay_so(world: World) -> None:
    world.install()
    file = world.machine.paths.secret_file(API)
    assert file.stat().st_mode & 0o777 == 0o640
    lines = file.read_text().splitlines()
    assert f"AT_BEARER_TOKEN={SECRET}" in lines
    assert "AT_WORKER_MODE=paper-send" in lines


def test_no_secret_is_said(world: World) -> None:
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0
    assert "AT_BEARER_TOKEN" in world.said
    assert SECRET not in world.said
    world.install()
    assert SECRET not in world.said
    assert SECRET not in world.machine.paths.adoption_record.read_text()


def test_a_dry_run_changes_nothing(world: World) -> None:
    world.unpack()
    before = sorted(world.machine.root.rglob("*")), world.look()
    assert world.run("adopt", "--dry-run") == 0
    assert "paper-send" in world.said
    assert (sorted(world.machine.root.rglob("*")), world.look()) == before


def test_units_are_stopped_before_anything_else_the_worker_first(world: World) -> None:
    world.unpack()
    world.run("activate", API)
    stops = world.systemd.ran("systemctl stop")
    wanted = [f"systemctl stop {name}.service" for name in (DASHBOARD, WORKER, API)]
    assert stops[: len(wanted)] == wanted


def test_what_did_not_run_is_not_started_and_what_was_not_enabled_is_not(world: World) -> None:
    world.systemd.alive.discard(f"{WORKER}.service")
    (world.machine.paths.local_units / f"multi-user.target.wants/{DASHBOARD}.service").unlink()
    world.install()
    started = " ".join(world.systemd.ran("systemctl start"))
    assert f"{WORKER}.service" not in started
    assert world.systemd.ran(f"systemctl disable {DASHBOARD}.service")
    assert f"{DASHBOARD}.service" in started, "it ran, though it was not enabled"
    assert ran_before(world.machine.server, world_inventory(world)) == {DASHBOARD}
    installation.accepted(world.machine.server)
    assert ran_before(world.machine.server, world_inventory(world)) == set()
    assert not (world.machine.paths.runtime_units / f"{WORKER}.service").is_symlink()


def test_adopting_twice_changes_nothing(world: World) -> None:
    world.install()
    installation.accepted(world.machine.server)
    before = world.look(), world.machine.paths.adoption_record.read_text()
    assert world.install() == 0
    assert world.run("adopt") == 0
    assert (world.look(), world.machine.paths.adoption_record.read_text()) == before


def test_a_failed_release_gives_everything_back(world: World) -> None:
    before = world.look()
    world.install()
    assert installation.failed(world.machine.server, world_inventory(world), "bad", "api: health")
    assert world.look() == before
    assert world.state == State.REVERSED
    assert {f"{each}.service" for each in (API, WORKER, DASHBOARD)} <= world.systemd.alive


def test_rows_written_since_are_given_back_too_and_the_old_database_is_kept(world: World) -> None:
    world.install()
    world.insert(2, world.machine.paths.state / API / "data/automatictrader.db")
    installation.failed(world.machine.server, world_inventory(world), "bad", "api: health")
    assert world.count() == 3
    (kept,) = world.old_database.parent.glob("automatictrader.db.before-undo-*Z")
    assert world.count(kept) == 1


def test_the_release_that_failed_does_not_take_over_again_and_the_next_does(world: World) -> None:
    world.install()
    installation.failed(world.machine.server, world_inventory(world), "bad", "api: health")
    before = world.look()
    assert world.install() == 0
    assert "what was installed by hand is in service" in world.said
    assert world.look() == before
    later = "2~deb12"
    assert world.install(api(later), board(later)) == 0
    assert world.machine.paths.link(API).is_symlink()


def test_undo_gives_back_what_was_written_since_and_is_respected(world: World) -> None:
    before = world.look("data")
    world.install()
    installation.accepted(world.machine.server)
    world.insert(5, world.machine.paths.state / API / "data/automatictrader.db")
    (world.machine.paths.state / BOARD / "data/watchlist.csv").write_text("HOOD\nAMD\n")
    (world.machine.paths.state / BOARD / "artifacts/new.html").write_text("a trade\n")
    assert world.run("adopt", "--undo", "--dry-run") == 0
    assert world.state == State.KEPT
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert world.count() == 6
    assert (world.machine.paths.base / BOARD / "data/watchlist.csv").read_text() == "HOOD\nAMD\n"
    new = str(world.machine.paths.base / BOARD / "artifacts/new.html")
    after = world.look("data")
    assert after.pop(new)
    assert after == before
    assert world.install(api("2~deb12"), board("2~deb12")) == 0
    assert world.look("data").keys() == {*before, new}
    assert world.state == State.UNDONE


def test_only_what_bears_our_own_stamp_is_no_data(world: World) -> None:
    world.install()
    data = world.machine.paths.state / BOARD / "data"
    (data / "AAPL.before-split.csv").write_text("1,2\n")
    (data / "x.undone-by-me").write_text("1\n")
    (data / "watchlist.csv.before-restore-20261124T030000Z-2").write_text("HOOD\n")
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    names = {each.name for each in (world.machine.paths.base / BOARD / "data").iterdir()}
    assert names == {"AAPL.before-split.csv", "x.undone-by-me", "samples", "watchlist.csv"}


def test_a_socket_and_a_fifo_among_the_data_hold_nothing_up(world: World) -> None:
    world.install()
    data = world.machine.paths.state / BOARD / "data"
    os.mkfifo(data / "orders.fifo")
    # Whoever reads it nevertheless does not wait for ever.
    fifo = os.open(data / "orders.fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(fifo, bytes(1 << 15))
    with socket.socket(socket.AF_UNIX) as listening:
        # A path below a temporary directory is too long for an address.
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        listening.bind(f"/proc/self/fd/{descriptor}/service.sock")
        os.close(descriptor)
        assert world.run("adopt", "--undo", "--yes") == 0, world.said
    os.close(fifo)
    assert {f"{each}.service" for each in (API, WORKER, DASHBOARD)} <= world.systemd.alive
    assert (world.machine.paths.base / BOARD / "data/watchlist.csv").is_file()


def test_a_unit_made_since_is_kept_also_where_var_is_another_file_system(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.look()
    etc, rename = world.machine.root / "etc", Path.rename

    def across(source: Path, target: Path) -> Path:
        if source.is_relative_to(etc) != Path(target).is_relative_to(etc):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", across)
    assert world.install() == 0, world.said
    since = world.machine.write(f"etc/systemd/system/{API}.service", "[Service]\nNice=5\n")
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    (kept,) = world.machine.paths.adoption.glob(f"units/*/{API}.service.*Z")
    assert kept.read_text() == "[Service]\nNice=5\n"
    assert f"the one made since is kept as {kept}" in world.said
    assert since.read_text() != kept.read_text()
    assert world.look() == before


def test_what_is_not_there_any_more_cannot_be_undone(world: World) -> None:
    world.install()
    aside = world.machine.paths.base / "adopted" / BOARD
    aside.rename(world.machine.root / "archive")
    before = world.look()
    assert world.run("adopt", "--undo", "--yes") == 5
    assert f"{aside} is not there any more" in world.said
    assert "nothing was changed" in world.said
    assert world.look() == before


def test_an_undo_that_has_no_room_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install()
    monkeypatch.setattr(undo, "free_bytes", lambda _: 1_000_000)
    before = world.look()
    assert world.run("adopt", "--undo", "--yes") == 5
    assert "has 1 MB free and needs 67 MB" in world.said
    assert world.look() == before


def test_undo_is_agreed_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install()
    monkeypatch.setattr("sys.stdin", None)
    assert world.run("adopt", "--undo") == 5
    assert "next: tradingctl adopt --undo --yes" in world.said
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert world.run("adopt", "--undo") == 0
    assert world.run("adopt", "--undo") == 0, "once more is nothing"


def test_to_what_nobody_could_read_nobody_agrees(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.install()
    before = world.look()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    world.machine.out = Unheard(errno.ENOSPC)
    assert world.run("adopt", "--undo") == 5
    assert world.look() == before
    assert world.run("adopt", "--undo", "--yes") == 0
    assert world.look() != before


def test_killed_after_each_step_it_is_gone_on_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.unpack()
    finished = record.finished
    count = 0

    def die(*given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count > 1:
            raise KilledError
        return finished(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "finished", die)
    # Nothing of what follows a kill happens.
    monkeypatch.setattr(installation, "_give_back", lambda *_: None)
    kills = 0
    while True:
        count = 0
        try:
            world.run("activate", API)
            break
        except KilledError:
            kills += 1
            assert kills < 100
    assert kills == len(world.adoption.steps) - 1, world.said
    assert world.state == State.ADOPTED
    live = world.machine.paths.state / API / "data/automatictrader.db"
    assert world.count(live) == 1


@pytest.mark.parametrize("step", range(17))
def test_cut_short_anywhere_the_boot_puts_everything_back(
    world: World, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    world.unpack()
    prepared = world.machine.write(f"etc/trading/secrets/{BOARD}.env", "DASHBOARD_PASS=mine\n")
    before = world.look()
    finished = record.finished
    count = 0

    def die(*given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count > step:
            raise KilledError
        return finished(*given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(record, "finished", die)
        patched.setattr(installation, "_give_back", lambda *_: None)
        try:
            world.run("activate", API)
        except KilledError:
            pass
        else:
            assert step >= len(world.adoption.steps)
            return
    assert world.run("adopt", "--resume") == 0
    assert world.look() == before
    assert world.state == State.REVERSED
    secrets = sorted(world.machine.paths.secrets.glob("*.env"))
    assert secrets == [prepared], "what it wrote itself would count more the next time"
    assert prepared.read_text() == "DASHBOARD_PASS=mine\n"
    assert list(world.machine.paths.adoption.glob("settings/*")) == []
    # What was cut short says nothing about the release: it takes over again.
    world.systemd.alive |= {f"{each}.service" for each in (API, WORKER, DASHBOARD)}
    assert world.install() == 0
    assert world.count(world.machine.paths.state / API / "data/automatictrader.db") == 1


def test_a_unit_that_does_not_stop_ends_it_and_everything_is_as_it_was(world: World) -> None:
    world.unpack()
    before = world.look()
    world.systemd.stubborn.add(f"{API}.service")
    assert world.run("activate", API) == 5
    assert "did not stop" in world.said
    assert world.look() == before
    assert f"{WORKER}.service" in world.systemd.alive


def run_by_dpkg(world: World, number: int) -> None:
    """Make this process a child of a dpkg."""
    for folder, name, parent in (("self", "tradingctl", number), (str(number), "dpkg", 0)):
        rest = " ".join(["0"] * 17 + ["4711"])
        world.machine.write(f"proc/{folder}/stat", f"1 ({name}) S {parent} {rest}")
        world.machine.write(f"proc/{folder}/comm", f"{name}\n")


def test_what_failed_is_not_tried_for_the_next_component_in_the_same_run_of_dpkg(
    world: World,
) -> None:
    run_by_dpkg(world, 700)
    world.unpack()
    world.systemd.stubborn.add(f"{API}.service")
    assert world.run("activate", API) == 5
    world.systemd.stubborn.clear()
    world.systemd.commands.clear()
    assert world.run("activate", BOARD) == 5
    assert f"not taken over for {BOARD} either: {API}.service did not stop" in world.said
    assert "next: dpkg --configure -a" in world.said
    assert world.systemd.ran("systemctl stop") == []
    run_by_dpkg(world, 701)
    assert world.run("activate", BOARD) == 0, world.said
    assert world.state == State.ADOPTED


def test_one_of_them_alone(world: World) -> None:
    assert world.install(api()) == 0
    assert world.adoption.components == (API,)
    assert (world.machine.paths.base / BOARD / "data/watchlist.csv").is_file()
    world.install()
    assert world.adoption.components == (BOARD,)
    assert world.run("adopt", "--undo", "--yes") == 0
    assert (world.old_database).is_file()


def test_packages_that_are_removed_leave_what_was_given_back_alone(world: World) -> None:
    world.install()
    world.run("adopt", "--undo", "--yes")
    world.systemd.commands.clear()
    assert world.run("deactivate", API) == 0
    assert world.systemd.ran("deb-systemd-invoke stop") == []
    assert world.old_database.is_file()


def test_the_removal_of_what_was_taken_over_says_how_to_go_back(world: World) -> None:
    world.install()
    assert world.run("deactivate", API) == 0
    assert f"what was installed by hand of {API} stays in /opt/trading/adopted" in world.said
    assert f"apt-get install {API} && tradingctl adopt --undo" in world.said
    assert world.install(api()) == 0
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert world.count() == 1


def test_a_removal_succeeds_whatever_the_record_is(world: World) -> None:
    world.install()
    world.machine.paths.adoption_record.write_text("broken")
    assert world.run("deactivate", API) == 0
    assert not world.machine.paths.link(API).is_symlink()


def test_the_record_says_what_each_step_is_for(world: World) -> None:
    world.install()
    kinds = list(dict.fromkeys(step.kind for step in world.adoption.steps))
    aside = [Kind.STOP, Kind.UNIT, Kind.TREE]
    assert kinds == [*aside, Kind.DATABASE, Kind.FILES, Kind.SETTINGS, Kind.MOVE, Kind.LINK]
    assert all(step.reason and step.done for step in world.adoption.steps)
    (database,) = world.adoption.of(Kind.DATABASE)
    assert database.note == "1 tables, 1 rows"
    assert world.adoption.release == VERSION.partition("~")[0]


def world_inventory(world: World) -> Inventory:
    return read_inventory(world.machine.paths)


@pytest.fixture
def places(world: World) -> list[Path]:
    """Give the directories above all components', which belong to the administrator's account."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    paths = [world.machine.paths.base, world.machine.paths.logs]
    for place in paths:
        place.mkdir(parents=True, exist_ok=True)
        os.chown(place, 1, 1)
        place.chmod(0o2775)
    return paths


def rights(places: list[Path]) -> set[tuple[int, int, int]]:
    return {(each.stat().st_uid, each.stat().st_gid, each.stat().st_mode) for each in places}


def test_directories_above_are_roots_until_it_is_given_back(
    world: World, places: list[Path]
) -> None:
    before = rights(places)
    assert world.install() == 0, world.said
    assert rights(places) == {(0, 0, 0o40755)}
    assert world.run("adopt", "--undo", "--yes") == 0
    assert rights(places) == before
    # Configured once more, they leave it alone.
    assert world.install() == 0, world.said
    assert rights(places) == before


def test_directories_above_stay_as_they_are_where_it_is_refused(
    world: World, places: list[Path]
) -> None:
    before = rights(places)
    other = replace(board(), name="other", package="other", units=(), state=())
    world.old_database.write_bytes(world.old_database.read_bytes()[:4196] + b"\xff" * 5000)
    assert world.install(other, api()) == 5, world.said
    assert world.machine.paths.link("other").is_symlink(), "nothing of it was by hand"
    assert rights(places) == before


def test_directories_above_become_roots_where_nothing_is_by_hand(
    world: World, places: list[Path]
) -> None:
    for name in (API, BOARD):
        shutil.rmtree(world.machine.paths.base / name)
    for name in (API, WORKER, DASHBOARD):
        world.forget(name)
    assert world.install(board()) == 0, world.said
    assert rights(places) == {(0, 0, 0o40755)}
