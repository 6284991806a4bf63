"""A rollback that the administrator asks for, to any kept release, without the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tradingctl.backup.unfinished import refuse_unfinished
from tradingctl.deploy import store, transaction
from tradingctl.deploy.lock import frontend_lock
from tradingctl.deploy.plan import Plan, Step, plan_text
from tradingctl.deploy.settle import Ending, plan_of, take_back
from tradingctl.deploy.store import Kept
from tradingctl.deploy.transaction import BY_HAND, State, Transaction, new_transaction
from tradingctl.deploy.versions import above
from tradingctl.deploy.wayout import way_out
from tradingctl.errors import NothingInstalledError, RollbackError, StoreError, TradingError
from tradingctl.inventory import package_states, read_inventory
from tradingctl.report import table
from tradingctl.server import Server


def rollback(server: Server, release: str, dry_run: bool) -> int:
    """Go back to ``release``, or to the one before for an empty name; 0 when it is good.

    Raises BusyError, RestoreError, StoreError, RollbackError; nothing is changed then.
    """
    if dry_run:
        server.report(plan_text(_plan(server, _asked(server, release))))
        server.report("\n" + _kept_text(store.kept_releases(server.paths)))
        return 0
    with frontend_lock(server):
        refuse_unfinished(server.paths)
        asked = _asked(server, release)
        plan = _plan(server, asked)
        if not (plan.of(Step.SWITCH) or plan.of(Step.INSTALL)):
            server.warn(f"release {plan.target.release} is installed already; it is verified again")
        transaction.begin(server, asked)
        return 0 if take_back(server, asked) is Ending.TAKEN_BACK else 1


def _plan(server: Server, asked: Transaction) -> Plan:
    try:
        return plan_of(server, asked)
    except RollbackError as error:
        raise RollbackError(
            f"{error.message}; nothing was changed", way_out(server, asked)
        ) from error


def _asked(server: Server, release: str) -> Transaction:
    """Return the transaction of a rollback to ``release``."""
    current, names, left = "", set[str](), set[str]()
    try:
        inventory = read_inventory(server.paths)
        names = {component.package for component in inventory.components}
        if inventory.stack:
            current = inventory.stack.release
            left = {*inventory.stack.packages, inventory.stack.package}
    except TradingError as error:
        # Whoever goes back may do so because of what cannot be read.
        if not isinstance(error, NothingInstalledError):
            server.warn(f"warning: {error.message}")
    target = _target(server, release)
    pending = transaction.current(server.paths)
    states = package_states(server.runner, sorted({*names, *left, *target.packages}))
    before = {name: state.version for name, state in states.items() if state.unpacked}
    # What only the release that is left has goes with it.
    before |= dict.fromkeys(left - target.packages.keys(), "")
    if pending:
        # What a release that failed brought along goes with it.
        before |= {name: "" for name, version in pending.before.items() if not version}
    asked = new_transaction(server, BY_HAND, current, before, {})
    return replace(asked, state=State.ROLLING_BACK, target=target.release)


def _target(server: Server, release: str) -> Kept:
    """Return a kept release, without a name the last verified of those before the installed one."""
    if release:
        return store.kept_release(server.paths, release)
    known = [each for each in store.kept_releases(server.paths) if each.version]
    states = package_states(server.runner, sorted({each.stack for each in known})) if known else {}
    for kept in known:
        state = states.get(kept.stack)
        # Not the one that was left by an earlier rollback, although it was verified since.
        if not (state and state.unpacked) or above(server.runner, state.version, kept.version):
            return kept
    raise StoreError(
        f"no release before the installed one is kept in {server.paths.releases}; kept:"
        f" {', '.join(each.release for each in known) or 'none'}; nothing was changed",
        "tradingctl history",
    )


def _kept_text(kept: Sequence[Kept]) -> str:
    rows = [("KEPT", "VERIFIED", "PACKAGES")]
    rows += [
        (
            each.release,
            each.verified_at[:19].replace("T", " "),
            f"{len(each.packages)}, {sum(p.size for p in each.packages.values()) / 1e6:.0f} MB",
        )
        for each in kept
    ]
    return table(rows)
