"""What was stopped before an installation stays so."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.deploy.release_world import STACK, STREAM, World
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit, unit_state

from tradingctl.deploy.beforehand import give_up, look_for_stopped, note_stopped, stopped
from tradingctl.deploy.settle import Ending, settle
from tradingctl.deploy.transaction import State, begin, new_transaction

START = f"systemctl start --no-block {STREAM}.service"


@pytest.fixture
def worker(world: World) -> World:
    """Give a server with a release whose service sends orders, and somebody has stopped it."""
    world.senders = True
    assert world.apt("2") == 0
    world.dpkg.units[STREAM] = [unit_state(STREAM, ActiveState="inactive")]
    world.dpkg.commands.clear()
    return world


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({"ActiveState": "inactive"}, True),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, False),
        ({"ActiveState": "inactive", "ActiveEnterTimestampMonotonic": "0"}, False),
        # It waits for the API.
        ({"ActiveState": "inactive", "Job": "17"}, False),
        # It was stopped while it waited.
        (
            {
                "ActiveState": "inactive",
                "ActiveEnterTimestampMonotonic": "0",
                "InactiveEnterTimestampMonotonic": "5000000",
            },
            True,
        ),
        (
            {
                "ActiveState": "inactive",
                "ActiveEnterTimestampMonotonic": "0",
                "Result": "exec-condition",
            },
            True,
        ),
        ({"ActiveState": "failed", "Result": "exit-code"}, False),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, False),
        ({}, False),
    ],
)
def test_what_counts_as_stopped(machine: Machine, changed: dict[str, str], known: bool) -> None:
    machine.healthy(stream(units=(stream_unit(sends_orders=True),)))
    machine.system.units[STREAM] = [unit_state(STREAM, **changed)]
    assert look_for_stopped(machine.server) == ({STREAM} if known else set())
    machine.write("run/trading/market-closed", f'["{STREAM}"]')
    assert look_for_stopped(machine.server) == set(), "whoever verifies starts and stops it"


def test_a_service_that_sends_no_orders_is_started_as_ever(machine: Machine) -> None:
    machine.healthy(stream())
    machine.system.units[STREAM] = [unit_state(STREAM, ActiveState="inactive")]
    assert look_for_stopped(machine.server) == set()
    machine.paths.systemd_running.rmdir()
    assert look_for_stopped(machine.server) == set()


def test_an_upgrade_leaves_stopped_what_sends_orders(worker: World) -> None:
    assert worker.apt("3") == 0
    assert worker.active == "3"
    assert not worker.dpkg.ran("systemctl start")
    assert stopped(worker.machine.paths) == set(), "the installation has ended"


def test_one_that_runs_is_started_anew(worker: World) -> None:
    worker.dpkg.units[STREAM] = [unit_state(STREAM)]
    assert worker.apt("3") == 0
    assert worker.dpkg.ran("systemctl start") == [START]


def test_going_back_leaves_it_stopped_too(worker: World) -> None:
    worker.bad.add("3")
    assert worker.apt("3") == 100
    assert worker.active == "2"
    assert not worker.dpkg.ran("systemctl start")


def test_going_back_starts_what_ran(worker: World) -> None:
    worker.dpkg.units[STREAM] = [unit_state(STREAM)]
    worker.bad.add("3")
    ended = unit_state(STREAM, ActiveState="inactive")
    worker.monkeypatch.setattr(
        "tradingctl.deploy.rollback._stop_what_goes",
        lambda *_: worker.dpkg.units.update({STREAM: [ended]}),
    )
    assert worker.apt("3") == 100
    assert worker.dpkg.ran("systemctl start")[-1] == START


def test_what_an_installation_left_down_that_was_given_up_is_started(worker: World) -> None:
    worker.dpkg.units[STREAM] = [unit_state(STREAM)]
    ended = unit_state(STREAM, ActiveState="inactive")
    worker.monkeypatch.setattr(
        "tradingctl.deploy.rollback._stop_what_goes",
        lambda *_: worker.dpkg.units.update({STREAM: [ended]}),
    )
    worker.bad |= {"2", "3"}
    assert worker.apt("3") == 100
    assert worker.pending
    assert worker.pending.state is State.STUCK
    worker.bad.clear()
    worker.dpkg.commands.clear()
    assert worker.tradingctl("rollback", "2") == 0
    assert worker.dpkg.ran("systemctl start")[-1] == START


def test_what_ran_since_an_installation_was_given_up_and_was_stopped_stays_so(
    machine: Machine,
) -> None:
    machine.healthy(stream(units=(stream_unit(sends_orders=True),)))
    times = {"ActiveState": "inactive", "InactiveEnterTimestampMonotonic": "5000000"}
    machine.system.units[STREAM] = [unit_state(STREAM, **times)]
    give_up(machine.server)
    assert look_for_stopped(machine.server) == set()
    times["InactiveEnterTimestampMonotonic"] = "900000000"
    machine.system.units[STREAM] = [unit_state(STREAM, **times)]
    assert look_for_stopped(machine.server) == {STREAM}


def test_what_was_stopped_before_stays_so_after_one_that_was_given_up(worker: World) -> None:
    worker.bad |= {"2", "3"}
    assert worker.apt("3") == 100
    assert worker.pending
    assert worker.pending.state is State.STUCK
    worker.bad.clear()
    assert worker.tradingctl("rollback", "2") == 0
    assert not worker.dpkg.ran("systemctl start")


def test_the_first_installation_starts_everything(bare: World) -> None:
    bare.senders = True
    never = unit_state(STREAM, ActiveState="inactive", ActiveEnterTimestampMonotonic="0")
    bare.dpkg.units[STREAM] = [never]
    bare.dpkg.fails.add(f"configure {STACK}=1")
    assert bare.apt("1") == 100
    bare.dpkg.fails.clear()
    bare.dpkg.commands.clear()
    assert bare.apt("1") == 0
    assert bare.dpkg.ran("systemctl start")[-1] == START


def test_what_is_written_down_badly_is_as_nothing(machine: Machine) -> None:
    note_stopped(machine.paths, {STREAM})
    assert stopped(machine.paths) == {STREAM}
    machine.write("run/trading/left-stopped", "{")
    assert stopped(machine.paths) == set()


@pytest.mark.parametrize(("package", "word"), [("trading-ibgateway", " --triggered"), (STREAM, "")])
def test_where_the_stack_was_removed_the_gate_is_asked_as_the_stack_would(
    world: World, package: str, word: str
) -> None:
    del world.dpkg.packages[STACK]
    world.machine.paths.stack.unlink()
    world.dpkg.packages[package] = ("ii ", "1")
    before, incoming = {package: "0"}, {package: "1"}
    begin(world.server, new_transaction(world.server, "apt", "", before, incoming))
    assert settle(world.server) is Ending.CLOSED
    assert world.dpkg.ran("tradingctl gate") == [f"tradingctl gate{word}"]
