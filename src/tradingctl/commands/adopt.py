"""``adopt``: take over what was installed by hand, or give it back."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from tradingctl import systemd
from tradingctl.activate import activate
from tradingctl.adopt import comeback, installation, undo
from tradingctl.adopt.plan import plan
from tradingctl.adopt.record import IN_FORCE, Adoption, State, current
from tradingctl.adopt.report import plan_text, undo_text
from tradingctl.adopt.survey import inventory_of, survey, unpacked_packages
from tradingctl.backup.unfinished import refuse_unfinished
from tradingctl.commands.adding import Commands
from tradingctl.deploy import history, transaction
from tradingctl.deploy.accept import accept
from tradingctl.deploy.lock import frontend_lock
from tradingctl.deploy.transaction import UNFINISHED
from tradingctl.errors import AdoptionError
from tradingctl.inventory import Inventory, read_inventory
from tradingctl.market.session import resume_closed
from tradingctl.report import verification_text
from tradingctl.server import Server
from tradingctl.verdict import Result
from tradingctl.verify import verify

INSTALL = "apt-get install traderunner-stack"
NOTHING = "nothing was installed by hand where the packages belong"


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    adopted = commands.add("adopt", "take over what was installed by hand, or give it back", _run)
    what = adopted.add_mutually_exclusive_group()
    what.add_argument("--undo", action="store_true", help="give it back, with the data since")
    what.add_argument("--resume", action="store_true", help="at boot: end what was cut short")
    adopted.add_argument("--dry-run", action="store_true", help="show what would be done, and why")
    adopted.add_argument("--yes", action="store_true", help="undo without asking")
    adopted.add_argument(
        "--accept-orders",
        action="store_true",
        help="with --yes: although the worker then sends orders, and does not now",
    )


def _run(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("adopt")
    if arguments.resume:
        pending = transaction.current(server.paths)
        unverified = pending is not None and pending.state in UNFINISHED
        installation.at_boot(server, unverified)
        return 0
    if arguments.undo:
        return _undo(server, arguments)
    return _dry_run(server) if arguments.dry_run else _adopt(server)


def _dry_run(server: Server) -> int:
    packages = unpacked_packages()
    retry = INSTALL if packages else installation.ADOPT
    wanted = plan(server, survey(server, inventory_of(server, packages), packages), retry)
    if not wanted.adoption.components and not wanted.survey.odd:
        server.report(NOTHING)
        return 0
    server.report(plan_text(server.paths, wanted))
    server.report("\nnothing was changed")
    return AdoptionError.exit_code if wanted.refusals else 0


def _adopt(server: Server) -> int:
    if unpacked_packages():
        raise AdoptionError(
            "these packages are only unpacked; they take over when they are installed",
            INSTALL,
        )
    with frontend_lock(server):
        refuse_unfinished(server.paths)
        inventory = read_inventory(server.paths)
        installation.resume(server, forward=True)
        adoption = current(server.paths)
        if adoption is None or adoption.state is not State.ADOPTED:
            wanted = installation.planned(server, inventory, again=True)
            if not wanted.adoption.components:
                server.say(NOTHING)
                return 0
            adoption = installation.adopt(server, wanted)
        with installation.given_back_on_failure(server, inventory):
            for name in adoption.components:
                activate(server, inventory.component(name))
            return _verified(server, inventory)


def _verified(server: Server, inventory: Inventory) -> int:
    units = [
        unit for component, unit in inventory.units() if not installation.by_hand(server, component)
    ]
    try:
        # As the gate does it: also what rests until the market opens, and is stopped again then.
        systemd.start(server, units)
        found = verify(server, inventory)
    finally:
        resume_closed(server, inventory)
    server.say(verification_text(found))
    if found.result is Result.FAILED:
        bad = next(unit for unit in found.units if unit.result is Result.FAILED)
        check = f"{bad.unit}: {bad.findings[0].check}: got {bad.findings[0].got}"
        installation.failed(server, inventory, "the packaged services are not healthy", check)
        return 1
    if found.result is not Result.SKIPPED:
        accept(server, inventory, found)
    installation.accepted(server)
    return 0


@dataclass(frozen=True)
class _Undo:
    """What an undo is going to do: give these back, in this order, which the text says.

    ``orders`` are the units that will send orders and do not now.
    """

    adoptions: tuple[Adoption, ...]
    text: str
    orders: tuple[str, ...]


def _undo(server: Server, arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        found = _to_be_undone(server)
        server.report(f"{found.text}\nnothing was changed" if found.adoptions else found.text)
        return 0
    # Before anything is said: what apt is taking over at this moment is not what was cut short.
    with frontend_lock(server):
        found = _to_be_undone(server)
    # To what cannot be read nobody agrees.
    tell = server.say if arguments.yes else server.report
    tell(found.text)
    if not found.adoptions:
        return 0
    # An answer may take its time, and the market's close waits for the lock.
    _require_agreement(server, found, arguments)
    with frontend_lock(server):
        if _to_be_undone(server) != found:
            raise AdoptionError(
                "not undone, nothing was changed: it would not do any more what was agreed to",
                "tradingctl adopt --undo",
            )
        # Also what was cut short: as a failure the next package to be configured would try it anew.
        failed = [name for each in found.adoptions for name in _give_back(server, each)]
    for name in failed:
        server.warn(f"WARNING: {name} does not run; next: journalctl -u {name} -n 50")
    server.say(
        "the packages stay installed and leave this alone; to take it over again: tradingctl adopt"
    )
    if bare := installation.not_backed_up(server):
        server.warn(f"WARNING: {bare}")
    return 1 if failed else 0


def _to_be_undone(server: Server) -> _Undo:
    """Return what an undo is going to do. Raises AdoptionError or RestoreError where it cannot."""
    known = installation.undoable(server)
    if not known:
        return _Undo((), "nothing that was installed by hand is taken over", ())
    refuse_unfinished(server.paths)  # what it has replaced so far goes with the rest only
    inventory = read_inventory(server.paths)
    texts, orders = [], []
    for adoption in known:
        if adoption.state in IN_FORCE:
            undo.require_possible(adoption)
        resting = undo.resting(server, adoption)
        texts.append(undo_text(adoption, resting, comeback.notes(server, inventory, adoption)))
        senders = comeback.senders(server, inventory, adoption)
        orders += [str(each) for each in senders if not each.as_now]
    return _Undo(tuple(known), "\n".join(texts), tuple(orders))


def _require_agreement(server: Server, found: _Undo, arguments: argparse.Namespace) -> None:
    """Raise AdoptionError unless it is agreed to, and so are orders that nobody sends now."""
    agreed = arguments.accept_orders or not found.orders
    if not arguments.yes:
        agreed = _agreed(server, bool(found.orders))
    if not agreed:
        word = " --accept-orders" if found.orders else ""
        raise AdoptionError(
            "not undone, nothing was changed: it has to be agreed to"
            + "".join(f"\n  {each}" for each in found.orders),
            f"tradingctl adopt --undo --yes{word}",
        )


def _give_back(server: Server, adoption: Adoption) -> tuple[str, ...]:
    given = undo.give_back(server, read_inventory(server.paths), adoption, State.UNDOING)
    for line in given.lines:
        server.say(line)
    detail = "; ".join(f"{name} does not run" for name in given.failed)
    history.record(server, "adoption-undone", adoption.release, detail)
    return given.failed


def _agreed(server: Server, orders: bool) -> bool:
    """Ask; where ``orders`` will be sent that are not sent now, a yes is not enough."""
    server.report("The services are down for a moment.")
    server.report("Undo it, and have orders sent? [orders/N]" if orders else "Undo it? [y/N]")
    # Closed, it is None.
    answer = sys.stdin.readline().strip().lower() if sys.stdin is not None else ""
    return answer == "orders" if orders else answer in ("y", "yes")
