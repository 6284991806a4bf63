"""What the gate, the end of an installation and the boot do about what was taken over."""

from __future__ import annotations

import errno
import json

import pytest
from tests.unit.tradingctl.adopt.world import API, BOARD, DASHBOARD, WORKER, World, api, board

from tradingctl.adopt.record import State
from tradingctl.deploy import transaction
from tradingctl.deploy.history import read_events
from tradingctl.deploy.transaction import DPKG, new_transaction
from tradingctl.description import Stack
from tradingctl.inventory import Inventory
from tradingctl.server import Server
from tradingctl.verdict import Finding, Result, UnitVerdict, Verification

STACK = "traderunner-stack"
UNITS = {f"{each}.service" for each in (API, WORKER, DASHBOARD)}


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> dict[str, Result]:
    """Give the result that every unit has by its component, OK for those not named."""
    results: dict[str, Result] = {}

    def verify(server: Server, inventory: Inventory, **_: object) -> Verification:
        return Verification(
            inventory.release,
            tuple(
                UnitVerdict(
                    unit=unit.name,
                    component=component.name,
                    port=unit.port,
                    commit=component.commit,
                    required=True,
                    result=results.get(component.name, Result.OK),
                    findings=(Finding("health", "200", "500", "curl"),),
                    reason="what was installed by hand is in service",
                )
                for component, unit in inventory.units()
            ),
        )

    monkeypatch.setattr("tradingctl.deploy.gate.verify", verify)
    monkeypatch.setattr("tradingctl.deploy.accept.store.seal", lambda *_: None)
    monkeypatch.setattr("tradingctl.commands.adopt.verify", verify)
    return results


def begin(world: World, release: str = "1") -> None:
    """Open the transaction of a first installation, as the preinst does, and unpack."""
    version = f"{release}~deb12"
    world.unpack(api(version), board(version))
    packages = {API: version, BOARD: version}
    world.machine.describe(stack=Stack(STACK, release, release, packages))
    before = dict.fromkeys([*packages, STACK], "")
    pending = new_transaction(world.machine.server, DPKG, release, before, packages)
    transaction.begin(world.machine.server, pending)
    world.systemd.packages[STACK] = ("iU ", release)


def configure(world: World) -> int:
    """Run the postinsts, that of the stack last; return its exit code."""
    for name in (API, BOARD):
        assert world.run("activate", name) == 0, world.said
    code = world.run("gate")
    world.systemd.packages[STACK] = ("ii " if code == 0 else "iF ", "1")
    return code


def words(world: World) -> list[str]:
    return [event.event for event in read_events(world.machine.server)]


def test_a_release_that_verifies_keeps_what_it_took_over(
    world: World, verdict: dict[str, Result]
) -> None:
    begin(world)
    assert configure(world) == 0, world.said
    assert "tradingctl adopt --undo" in world.said
    assert world.state == State.KEPT
    assert world.run("recover") == 0
    assert world.state == State.KEPT


def test_a_release_that_fails_gives_it_back_and_the_transaction_ends(
    world: World, verdict: dict[str, Result]
) -> None:
    before = world.look()
    begin(world)
    verdict[API] = Result.FAILED
    assert configure(world) == 1
    assert "what was installed by hand is in service again" in world.said
    assert f"next: journalctl -u {API}.service -n 100" in world.said
    assert world.look() == before
    assert world.systemd.alive >= UNITS
    world.run("recover")
    assert transaction.current(world.machine.paths) is None
    assert "NO ROLLBACK" not in world.said
    assert words(world)[-3:] == ["adopted", "failed", "adoption-reversed"]
    # The command that dpkg asks for mends its state, and does not try the same release again.
    verdict[API] = verdict[BOARD] = Result.SKIPPED
    assert configure(world) == 0
    assert world.look() == before


def test_an_installation_that_is_cut_short_before_the_gate_gives_it_back(
    world: World, verdict: dict[str, Result]
) -> None:
    before = world.look()
    begin(world)
    assert world.run("activate", API) == 0
    world.run("recover")
    assert world.look() == before
    assert world.systemd.alive >= UNITS
    assert transaction.current(world.machine.paths) is None
    assert configure(world) == 0, "and dpkg --configure -a takes over"
    assert world.state == State.KEPT


def test_an_installation_that_was_cut_short_ends_when_its_adoption_was_undone(
    world: World, verdict: dict[str, Result]
) -> None:
    before = world.look()
    begin(world)
    assert world.run("activate", API) == 0
    assert world.run("adopt", "--undo", "--yes") == 0, world.said
    assert world.run("hook", "boot") == 0, world.said
    world.run("recover")
    assert "NO ROLLBACK" not in world.said
    assert transaction.current(world.machine.paths) is None
    verdict[API] = verdict[BOARD] = Result.SKIPPED
    assert configure(world) == 0, world.said
    assert (world.look(), world.state) == (before, State.UNDONE)


def test_a_boot_before_the_gate_gives_it_back_and_starts_nothing(
    world: World, verdict: dict[str, Result]
) -> None:
    before = world.look()
    begin(world)
    assert world.run("activate", API) == 0
    world.systemd.alive.clear()
    assert world.run("adopt", "--resume") == 0
    assert world.look() == before
    assert world.systemd.alive == set()
    assert world.run("hook", "boot") == 0, world.said
    world.run("recover")
    assert transaction.current(world.machine.paths) is None


def test_a_boot_afterwards_changes_nothing(world: World, verdict: dict[str, Result]) -> None:
    begin(world)
    configure(world)
    world.run("recover")
    before = world.look()
    assert world.run("adopt", "--resume") == 0
    assert world.look() == before
    assert world.state == State.KEPT


def test_what_the_administrator_wanted_back_is_not_started_by_the_gate(
    world: World, verdict: dict[str, Result]
) -> None:
    begin(world)
    configure(world)
    world.run("recover")
    assert world.run("adopt", "--undo", "--yes") == 0
    world.systemd.alive.discard(f"{WORKER}.service")
    verdict[API] = verdict[BOARD] = Result.SKIPPED
    begin(world, "2")
    assert configure(world) == 0
    assert f"{WORKER}.service" not in world.systemd.alive
    assert "to take it over: tradingctl adopt" in world.said
    assert "skipped" in words(world)


def test_adopt_takes_over_again_and_verifies(world: World, verdict: dict[str, Result]) -> None:
    begin(world)
    configure(world)
    world.run("recover")
    world.run("adopt", "--undo", "--yes")
    verdict[API] = Result.FAILED
    before = world.look()
    assert world.run("adopt") == 1
    assert world.look() == before
    verdict.clear()
    assert world.run("adopt") == 0, world.said
    assert world.state == State.KEPT
    assert world.machine.paths.link(API).is_symlink()


def test_adopt_at_night_verifies_what_rests_and_has_it_rest_again(
    world: World, monkeypatch: pytest.MonkeyPatch, verdict: dict[str, Result]
) -> None:
    begin(world)
    configure(world)
    world.run("recover")
    world.machine.write("run/trading/market-closed", json.dumps([WORKER]))
    world.systemd.alive.discard(f"{WORKER}.service")
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 0, world.said
    world.run("adopt", "--dry-run")
    rests = f"{WORKER}.service rests until the market opens"
    assert f"{rests}, and so does the packaged one" in world.said
    assert f"{WORKER}.service does not run" not in world.said
    ran: set[str] = set()

    def verify(server: Server, inventory: Inventory) -> Verification:
        ran.update(world.systemd.alive)
        return Verification(inventory.release)

    monkeypatch.setattr("tradingctl.commands.adopt.verify", verify)
    assert world.run("adopt") == 0, world.said
    assert (world.state, ran) == (State.KEPT, UNITS)
    assert world.systemd.alive == UNITS - {f"{WORKER}.service"}
    # By day it is to run again, by hand as well.
    world.machine.paths.market_closed.unlink()
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 0, world.said
    assert world.systemd.alive == UNITS


@pytest.mark.parametrize("where", ["activate", "verify"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr
)
def test_adopt_leaves_nothing_stopped_whatever_happens(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    begin(world)
    transaction.end(world.machine.paths)
    before = world.look()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"tradingctl.commands.adopt.{where}", fail)
    if isinstance(error, OSError):
        assert world.run("adopt") == 5
        assert "No space left on device" in world.said
        assert "what was installed by hand is in service again" in world.said
    else:
        assert world.run("adopt") == 130
    assert world.look() == before
    assert world.state == State.REVERSED
    assert world.systemd.alive >= UNITS


def test_the_status_says_what_is_by_hand(world: World, verdict: dict[str, Result]) -> None:
    begin(world)
    configure(world)
    world.run("recover")
    world.run("status")
    assert "by hand" not in world.said
    world.run("adopt", "--undo", "--yes")
    world.run("status")
    assert f"of {API}, {BOARD} what was installed by hand is in service" in world.said
