"""What follows from a release that verified: it is recorded, kept, and what is older may go."""

from __future__ import annotations

from tradingctl import tree
from tradingctl.deploy import store
from tradingctl.deploy.blocks import unblock
from tradingctl.deploy.history import record
from tradingctl.deploy.lastgood import last_good_of, write_last_good
from tradingctl.deploy.store import KEPT_RELEASES
from tradingctl.errors import TradingError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.server import Server
from tradingctl.verdict import Verification


def accept(server: Server, inventory: Inventory, found: Verification) -> None:
    """Record the installed release as good and keep it for a rollback.

    Components without the stack are no release, but what a bad version of one is taken back to.
    That they cannot be kept is a warning: they run well. Raises OSError if it cannot be recorded.
    """
    good = last_good_of(inventory, found)
    # Kept first: what the record names, a rollback has to find, also after a power cut between.
    kept = _keep(server, inventory, good.verified_at)
    if inventory.stack is None:
        return
    write_last_good(server.paths, good)
    unblock(server, inventory.stack.package, inventory.stack.version)
    if kept:
        _collect(server, inventory)


def _keep(server: Server, inventory: Inventory, verified_at: str) -> bool:
    try:
        if inventory.stack:
            store.seal(server, inventory.stack, verified_at)
        else:
            store.seal_components(server, verified_at)
    except (TradingError, OSError) as error:
        why = error.message if isinstance(error, TradingError) else str(error)
        server.warn(f"WARNING: release {inventory.release} is not kept for a rollback: {why}")
        if isinstance(error, TradingError) and error.next_command:
            server.warn(f"  next: {error.next_command}")
        record(server, "not-kept", inventory.release, why)
        return False
    return True


def _collect(server: Server, inventory: Inventory) -> None:
    try:
        for removal in store.collect(server):
            record(server, "collected", removal.release, removal.reason)
        _collect_generations(server, inventory)
    except OSError as error:
        server.warn(f"warning: what is older could not be removed: {error}")


def _collect_generations(server: Server, inventory: Inventory) -> None:
    kept = store.kept_releases(server.paths)[:KEPT_RELEASES]
    for component in inventory.components:
        if not component.commit:
            continue  # units alone
        generations = Generations(server.paths, component.name)
        versions = {each.versions.get(component.package, "") for each in kept}
        for surplus in generations.surplus(versions):
            tree.remove(surplus)
