"""What is done with an installation that has ended, however it ended: closed, or taken back.

Asked inside the apt command that installs (``DPkg::Post-Invoke``), by a unit of systemd for what
apt does not run, and at boot for what a power cut left. Whoever comes first does it; the others
find nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

from tradingctl import systemd
from tradingctl.adopt import installation
from tradingctl.deploy import beforehand, store, transaction
from tradingctl.deploy.admission import OPTIONAL
from tradingctl.deploy.blocks import Block
from tradingctl.deploy.history import record
from tradingctl.deploy.keptkeys import require_kept
from tradingctl.deploy.lastgood import read_last_good
from tradingctl.deploy.lock import HELD
from tradingctl.deploy.plan import Plan, Step, plan_rollback, plan_text
from tradingctl.deploy.rollback import DPKG_SECONDS, roll_back, switch
from tradingctl.deploy.transaction import BY_HAND, UNFINISHED, State, Transaction, untouched
from tradingctl.deploy.versions import above, in_order
from tradingctl.deploy.wayout import done_text, named, stuck_text
from tradingctl.errors import (
    AdoptionError,
    NothingInstalledError,
    RollbackError,
    TradingError,
)
from tradingctl.generations import Generations
from tradingctl.inventory import STACK, PackageState, package_states, read_inventory
from tradingctl.server import Server

MAX_ATTEMPTS = 3
INTERRUPTED = "the installation did not come to its end"


class Ending(StrEnum):
    """What became of an installation."""

    NOTHING = "nothing was under way"
    STUCK = "it was given up earlier"
    CLOSED = "it came to its end"
    TAKEN_BACK = "an earlier release is in service again"
    GIVEN_UP = "only the administrator can help"
    POSTPONED = "the machine is going down"


def settle(server: Server) -> Ending:
    """Bring the installation that has ended to a good end; the caller holds dpkg's lock.

    One that was given up is only reported again. Raises TradingError, OSError.
    """
    pending = transaction.current(server.paths)
    if pending is None:
        return Ending.NOTHING
    if pending.state is State.STUCK:
        server.warn(stuck_text(server, pending))
        return Ending.STUCK
    names = {*pending.before, *pending.incoming, STACK}
    states = package_states(server.runner, sorted(names))
    if pending.state is State.OPEN and not untouched(pending, states) and _no_gate(pending, states):
        pending = _ask_gate(server, pending)
    if pending.state in (State.VERIFIED, State.SKIPPED):
        return _close(server, pending, states)
    if pending.state is State.OPEN and untouched(pending, states):
        store.discard_incoming(server.paths)
        transaction.end(server.paths)
        record(server, "abandoned", pending.release, "nothing had been changed")
        return Ending.CLOSED
    if _gave_back(server, pending):
        return Ending.TAKEN_BACK
    return take_back(server, pending)


def _no_gate(pending: Transaction, states: Mapping[str, PackageState]) -> bool:
    """Return whether all is installed and nobody asked the gate: its package was removed before."""
    stack = states.get(STACK)
    incoming = [states.get(name) for name in pending.incoming]
    return not (stack and stack.unpacked) and all(each and each.complete for each in incoming)


def _ask_gate(server: Server, pending: Transaction) -> Transaction:
    """Ask the gate of the release that is installed now, and return what it made of the record."""
    command = ["tradingctl", "gate"]
    if pending.incoming and pending.incoming.keys() <= set(OPTIONAL):
        command += ["--triggered"]  # nothing of the stack was exchanged, nothing is started
    outcome = server.runner.run(command, timeout=DPKG_SECONDS, extra={HELD: "true"})
    server.warn(outcome.errors.rstrip() or outcome.said)
    now = transaction.current(server.paths) or pending
    return now if outcome.code == 0 else replace(now, detail=f"{outcome}: {outcome.said}")


def _gave_back(server: Server, pending: Transaction) -> bool:
    """Put back what was installed by hand if a first installation took it over and failed.

    An upgrade that took something over is taken back as any other, after that, also when it could
    not be put back. Raises AdoptionError when that fails and there is no release to go back to.
    """
    if pending.state is State.ROLLING_BACK or systemd.going_down(server):
        return False
    upgrade = _before(server, pending)
    try:
        inventory = read_inventory(server.paths)
        installation.failed(server, inventory, pending.check or INTERRUPTED, pending.check)
        began = installation.given_back_by(server, pending)
    except NothingInstalledError:
        return False
    except AdoptionError as error:
        if not upgrade:
            raise
        server.warn(f"warning: {error.message}\n  next: {error.next_command}")
        return False
    except TradingError as error:
        # A later release may describe itself in words that this one, which goes back, has not.
        server.warn(f"warning: {error.message}")
        return False
    if not began or upgrade:
        return False
    store.discard_incoming(server.paths)
    transaction.end(server.paths)
    server.warn("next: tradingctl history; to go on with the installation: dpkg --configure -a")
    return True


def _before(server: Server, pending: Transaction) -> bool:
    """Return whether there is a release to go back to."""
    return any(pending.before.values()) and read_last_good(server.paths) is not None


def switch_early(server: Server) -> None:
    """Point the links back before any service starts, if an installation was cut short.

    What was not verified does not run then, not even until ``settle`` has its turn. Raises
    TradingError, OSError.
    """
    pending = transaction.current(server.paths)
    if pending is None or pending.state not in UNFINISHED:
        return
    if installation.given_back_by(server, pending) and not _before(server, pending):
        return
    target = _target(server, pending)
    inventory = store.inventory_of(server.paths, target)
    names = [
        component.name
        for component in inventory.components
        if not Generations(server.paths, component.name).hand_made
        and Generations(server.paths, component.name).active != component.version
        and Generations(server.paths, component.name).complete(component.version)
    ]
    switch(server, inventory, names, start=False)
    if names:
        server.warn(f"release {target.release} is to run again: {', '.join(names)}")


def _close(server: Server, pending: Transaction, states: Mapping[str, PackageState]) -> Ending:
    broken = [name for name in pending.incoming if name in states and not states[name].complete]
    if broken:
        # The power went between the gate's verdict and dpkg's own record of it.
        command = ["dpkg", "--configure", "--pending"]
        outcome = server.runner.run(command, timeout=DPKG_SECONDS, extra={HELD: "true"})
        if outcome.code != 0:
            # The gate, asked once more, may have found a check that fails.
            now = transaction.current(server.paths) or pending
            return take_back(server, replace(now, detail=f"{outcome}: {outcome.said}"))
    store.discard_incoming(server.paths)
    transaction.end(server.paths)
    return Ending.CLOSED


def take_back(server: Server, pending: Transaction) -> Ending:
    """Go back, whatever it takes, or say why not; the caller holds dpkg's lock.

    On a machine that is going down it is left to the next boot. Raises OSError when not even the
    record can be written.
    """
    if systemd.going_down(server):
        return _postpone(server, pending)
    failure = pending.check or pending.detail or INTERRUPTED
    try:
        plan = plan_of(server, pending)
        if pending.origin != BY_HAND:
            server.warn(f"\n{named(pending)} is taken back: {failure}")
        server.warn(plan_text(plan))
        found = roll_back(server, pending, plan)
    except (TradingError, OSError) as error:
        if systemd.going_down(server):
            return _postpone(server, pending)
        return _give_up(server, pending, failure, error)
    why = f"from {named(pending)}"
    if not pending.check and pending.origin != BY_HAND:
        why += f": {failure}"
    versions = plan.target.versions
    # The power may go between the verdict and its mark: then the release itself is gone on with.
    event = "recovered" if plan.target.release == pending.release else "rolled-back"
    record(server, event, plan.target.release, why, pending.check, versions)
    store.discard_incoming(server.paths)
    transaction.end(server.paths)
    server.warn(done_text(pending, plan, found))
    return Ending.TAKEN_BACK


def plan_of(server: Server, pending: Transaction) -> Plan:
    """Return the way back from a transaction; raises RollbackError when there is none."""
    if pending.attempts >= MAX_ATTEMPTS:
        raise RollbackError(f"{pending.attempts} rollbacks were begun and none came to its end")
    target = _target(server, pending)
    if damaged := store.damage(server.paths, target):
        raise RollbackError(
            f"release {target.release} cannot be installed again: {damaged}",
            "tradingctl rollback RELEASE, of those in: ls /var/lib/trading/releases",
        )
    blocked = _blocks(server, pending, target)
    removed = set[str]()
    if pending.origin != BY_HAND:
        known = {name for name, version in pending.before.items() if version}
        removed = target.packages.keys() - known - pending.incoming.keys()
    plan = plan_rollback(server, target, pending.before, blocked, removed)
    again = [(name, target.packages[name].file) for name in plan.of(Step.INSTALL)]
    require_kept(server, store.folder_of(server.paths, target.release), again)
    return plan


def _blocks(server: Server, pending: Transaction, target: store.Kept) -> list[Block]:
    """Return what apt shall not install by itself after the rollback.

    After a failed check, the version that failed; a release that could not even be unpacked may
    be tried again. After a rollback by hand, every version between the two.
    """
    day = datetime.now(UTC).date().isoformat()
    if pending.origin == BY_HAND:
        left = pending.before.get(target.stack, "")
        reason = f"gone back to release {target.release} on {day} by {pending.by}"
        versions = _between(server, target, left) if left else []
        return [Block(target.stack, version, reason) for version in versions]
    version = pending.incoming.get(target.stack, "")
    if pending.check and version and version != target.version:
        reason = f"release {pending.release} failed on {day}: {pending.check}"
        return [Block(target.stack, version, reason)]
    return []


def _between(server: Server, target: store.Kept, left: str) -> list[str]:
    """Return the known versions of the stack above the target's; the one that is left is last."""
    known = {each.version for each in store.kept_releases(server.paths)} | {left}
    outcome = server.runner.run(["apt-cache", "madison", target.stack])
    known |= {line.split("|")[1].strip() for line in outcome.output.splitlines() if "|" in line}
    runner = server.runner
    return in_order(
        runner,
        (
            each
            for each in known
            if above(runner, each, target.version) and not above(runner, each, left)
        ),
    )


def _target(server: Server, pending: Transaction) -> store.Kept:
    """Return the release to go back to; raises RollbackError when there is none."""
    if pending.without_stack and store.kept_releases(server.paths):
        return _part(server, pending)
    if pending.target:
        return store.kept_release(server.paths, pending.target)
    good = read_last_good(server.paths)
    if good is None:
        raise RollbackError("no release was verified on this server before")
    target = store.kept_release(server.paths, good.release)
    components = store.inventory_of(server.paths, target).components
    if not any(pending.before.get(each.package) for each in components):
        raise RollbackError(f"nothing of release {target.release} was installed before")
    return target


def _part(server: Server, pending: Transaction) -> store.Kept:
    """Return what of a kept release the components ran in that are replaced without the stack.

    No other one moves, and none to before what ran: that may have changed its database. Raises
    RollbackError when one of them is not kept as it was.
    """
    replaced = pending.replaced
    for kept in store.kept_releases(server.paths):
        if replaced.items() <= kept.versions.items():
            others = {name: each for name, each in kept.versions.items() if name != kept.stack}
            # Beside other versions than it names, the stack cannot be installed.
            whole = others.items() <= pending.before.items()
            names = {*replaced, *({kept.stack} & pending.incoming.keys() if whole else ())}
            packages = {name: each for name, each in kept.packages.items() if name in names}
            return replace(kept, packages=packages)
    ran = " ".join(f"{name}={version}" for name, version in replaced.items())
    raise RollbackError(f"what ran before is not kept here: {ran or 'nothing'}")


def _postpone(server: Server, pending: Transaction) -> Ending:
    server.warn(
        f"\n{named(pending)} is not taken back yet: the machine is going down"
        "\nnext: nothing, the next boot goes on by itself; afterwards: tradingctl history"
    )
    return Ending.POSTPONED


def _give_up(
    server: Server, pending: Transaction, failure: str, error: TradingError | OSError
) -> Ending:
    now = transaction.current(server.paths) or pending
    why = error.message if isinstance(error, TradingError) else str(error)
    if pending.origin == BY_HAND:
        failure = ""  # nothing was said against the release that is left
    stuck = replace(now, state=State.STUCK, check=now.check or failure, detail=why)
    transaction.save(server.paths, stuck)
    beforehand.give_up(server)
    record(server, "rollback-failed", pending.release, why, pending.check)
    server.warn(stuck_text(server, stuck))
    return Ending.GIVEN_UP
