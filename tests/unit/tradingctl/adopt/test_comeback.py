"""What comes into force again with an installation by hand is said before, orders above all."""

from __future__ import annotations

import io

import pytest
from tests.unit.tradingctl.adopt.world import API, DASHBOARD, SECRET, WORKER, World

from tradingctl.adopt import installation
from tradingctl.adopt.record import State

MODE = f"{WORKER}.service SENDS ORDERS: it starts with AT_WORKER_MODE=paper-send"


def taken_over(world: World) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)


def in_secret_file(world: World, old: str, new: str) -> None:
    file = world.machine.paths.secret_file(API)
    file.write_text(file.read_text().replace(old, new))


def restart(world: World) -> None:
    world.systemd.run(["systemctl", "start", f"{WORKER}.service"])


def plan_only(world: World) -> None:
    in_secret_file(world, "AT_WORKER_MODE=paper-send", "AT_WORKER_MODE=plan-only")
    restart(world)


def not_set_any_more(world: World) -> None:
    in_secret_file(world, "AT_WORKER_MODE=paper-send\n", "")
    restart(world)


def written_again_and_not_started_anew(world: World) -> None:
    plan_only(world)
    in_secret_file(world, "AT_WORKER_MODE=plan-only", "AT_WORKER_MODE=paper-send")


def test_a_worker_that_goes_on_to_send_orders_needs_no_more_than_a_yes(world: World) -> None:
    taken_over(world)
    assert world.run("adopt", "--undo", "--dry-run") == 0
    assert f"{MODE}, as now" in world.said
    assert world.run("adopt", "--undo", "--yes") == 0, world.said


def test_what_it_does_now_is_asked_of_the_process_and_not_of_a_file(world: World) -> None:
    taken_over(world)
    in_secret_file(world, "AT_WORKER_MODE=paper-send", "AT_WORKER_MODE=plan-only")
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert f"{MODE}, as now" in world.said


def test_a_process_that_says_nothing_is_not_taken_for_one_that_sends(world: World) -> None:
    taken_over(world)
    (world.machine.paths.proc / "4711/environ").unlink()
    assert world.run("adopt", "--undo", "--yes") == 5
    assert f"{MODE}; in which mode the packaged one runs now cannot be known" in world.said


@pytest.mark.parametrize(
    "since",
    [
        plan_only,
        not_set_any_more,
        written_again_and_not_started_anew,
        lambda world: world.systemd.alive.discard(f"{WORKER}.service"),
    ],
    ids=["set to plan-only", "not set any more", "written again and not started anew", "stopped"],
)
def test_orders_that_are_not_sent_now_have_to_be_agreed_to(
    world: World, monkeypatch: pytest.MonkeyPatch, since: object
) -> None:
    taken_over(world)
    assert callable(since)
    since(world)
    before, running = world.look(), set(world.systemd.alive)
    assert world.run("adopt", "--undo", "--dry-run") == 0
    assert f"{MODE}; " in world.said
    for answer in ("y\n", "yes\n", "\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert world.run("adopt", "--undo") == 5
    assert world.run("adopt", "--undo", "--yes") == 5
    assert MODE in world.said
    assert "next: tradingctl adopt --undo --yes --accept-orders" in world.said
    assert (world.look(), world.systemd.alive, world.state) == (before, running, State.KEPT)
    monkeypatch.setattr("sys.stdin", io.StringIO("orders\n"))
    assert world.run("adopt", "--undo") == 0, world.said
    assert f"{WORKER}.service" in world.systemd.alive


def test_beside_the_worker_a_unit_of_another_name_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rename_api(monkeypatch)
    taken_over(world)
    assert world.run("adopt", "--undo", "--dry-run") == 0
    assert f"{MODE}, as now" in world.said
    assert "api.service SENDS" not in world.said
    assert world.run("adopt", "--undo", "--yes") == 0, world.said


def test_alone_a_unit_of_another_name_may_be_the_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.forget(WORKER)
    world.rename_api(monkeypatch)
    mask = world.machine.paths.local_units / f"{WORKER}.service"
    mask.symlink_to("/dev/null")
    taken_over(world)
    mask.unlink()
    restart(world)
    assert world.run("adopt", "--undo", "--dry-run") == 0
    said = "api.service SENDS ORDERS: it starts with AT_WORKER_MODE=paper-send"
    assert f"{said}, as now" in world.said
    plan_only(world)
    assert world.run("adopt", "--undo", "--yes") == 5
    assert f"{said}; the packaged one runs with plan-only now" in world.said


def test_the_word_does_for_who_is_not_asked(world: World) -> None:
    taken_over(world)
    plan_only(world)
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 0, world.said


def test_the_mode_may_be_in_the_unit_or_in_a_file_of_the_tree(world: World) -> None:
    world.dot_env(API, f"AT_BEARER_TOKEN={SECRET}\n")
    folder = world.machine.paths.base / API
    world.machine.write(f"opt/trading/{API}/worker.env", "AT_WORKER_MODE=paper-send\n")
    more = f"EnvironmentFile={folder}/worker.env\n"
    world.unit(f"{WORKER}.service", API, "worker.py", more=more, enabled=False)
    taken_over(world)
    plan_only(world)
    assert world.run("adopt", "--undo", "--yes") == 5
    assert MODE in world.said


def test_a_file_that_a_drop_in_takes_out_of_the_list_is_not_read(world: World) -> None:
    world.dot_env(API, "")
    plan = world.machine.write("etc/trading-plan.env", "AT_WORKER_MODE=plan-only\n")
    more = f"Environment=AT_WORKER_MODE=paper-send\nEnvironmentFile={plan}\n"
    world.unit(f"{WORKER}.service", API, "worker.py", more=more, enabled=False)
    drop_in = f"etc/systemd/system/{WORKER}.service.d/live.conf"
    world.machine.write(drop_in, "[Service]\nEnvironmentFile=\n")
    taken_over(world)
    plan_only(world)
    assert world.run("adopt", "--undo", "--yes") == 5
    assert MODE in world.said


def test_a_worker_that_only_plans_is_not_spoken_of(world: World) -> None:
    world.dot_env(API, f"AT_BEARER_TOKEN={SECRET}\nAT_WORKER_MODE=plan-only\n")
    taken_over(world)
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert "ORDERS" not in world.said


def test_what_is_no_mode_is_not_printed(world: World) -> None:
    taken_over(world)
    aside = world.machine.paths.base / "adopted" / API / ".env"
    aside.write_text(f"AT_WORKER_MODE='paper-send\nAT_BEARER_TOKEN={SECRET}\n'\n")
    assert world.run("adopt", "--undo", "--yes") == 5
    assert "AT_WORKER_MODE=no word" in world.said
    assert SECRET not in world.said


def test_settings_that_change_back_are_named_before_it_begins(world: World) -> None:
    world.unit(f"{API}.service", API, "app.py", more="Environment=LEVEL=1\n", enabled=False)
    world.unit(f"{WORKER}.service", API, "w.py", more="Environment=LEVEL=1\n", enabled=False)
    taken_over(world)
    world.run("adopt", "--undo", "--dry-run")
    assert f"of {API} these" not in world.said
    in_secret_file(world, SECRET, "another-token")
    in_secret_file(world, "LEVEL=1", "LEVEL=2\nNEW=3")
    world.run("adopt", "--undo", "--dry-run")
    said = f"of {API} these are again as they were by hand, and differ now:"
    assert f"{said} AT_BEARER_TOKEN, LEVEL, NEW\n" in world.said
    assert SECRET not in world.said
    assert "another-token" not in world.said


def test_of_a_package_that_was_removed_it_is_still_known(world: World) -> None:
    taken_over(world)
    assert world.run("deactivate", API) == 0
    for unit in (API, WORKER):
        (world.machine.paths.units / f"{unit}.service").unlink()
    (world.machine.root / f"usr/share/trading/components/{API}.json").unlink()
    assert world.run("adopt", "--undo", "--yes") == 5
    assert MODE in world.said
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 0, world.said
    assert world.count() == 1
    assert {f"{each}.service" for each in (WORKER, DASHBOARD)} <= world.systemd.alive
