"""What the administrator is told when an installation was taken back or given up, in plain words.

The last line is always the one command to type next.
"""

from __future__ import annotations

from collections.abc import Mapping

from tradingctl.deploy import store
from tradingctl.deploy.plan import Plan, Step, plan_rollback
from tradingctl.deploy.store import Kept
from tradingctl.deploy.transaction import BY_HAND, Transaction
from tradingctl.errors import TradingError
from tradingctl.inventory import STACK, package_states
from tradingctl.server import Server
from tradingctl.verdict import Result, Verification

LOOKING = ("journalctl", "tradingctl verify")


def named(pending: Transaction) -> str:
    """Return what a transaction was to install."""
    return f"release {pending.release}" if pending.release else "what was being installed"


def stuck_text(server: Server, stuck: Transaction) -> str:
    """Return what is said of a transaction that was given up."""
    left = f"{named(stuck)} failed: {stuck.check}; " if stuck.check else ""
    way = way_out(server, stuck)
    # To look at what is wrong ends nothing yet.
    after = f"\nonce that is mended: {_verify_again(server)}" if way.startswith(LOOKING) else ""
    return (
        f"\nNO ROLLBACK: {stuck.detail}\n{left}nothing more is done without you{after}\nnext: {way}"
    )


def _verify_again(server: Server) -> str:
    """Return what asks the gate once more, and closes the installation when it lets it pass."""
    try:
        state = package_states(server.runner, [STACK]).get(STACK)
    except TradingError:
        state = None
    return f"dpkg-reconfigure {STACK}" if state and state.complete else "dpkg --configure -a"


def way_out(server: Server, stuck: Transaction) -> str:
    """Return the one command to type: to a release that is whole and is not known to fail."""
    kept = store.kept_releases(server.paths)
    if stuck.without_stack and kept:
        return _way_back(server, stuck)
    first = [each for each in kept if each.release == stuck.target]
    others = [each for each in kept if each.release != stuck.target]
    if stuck.origin != BY_HAND:
        others = [each for each in others if each.release != stuck.release]
    ways = [each for each in (*first, *others) if not _in_service(server, each)]
    for each in ways:
        if not store.damage(server.paths, each):
            return f"tradingctl rollback {each.release}"
    for each in ways:
        return _by_apt(each.versions)
    return _look(stuck)


def _way_back(server: Server, stuck: Transaction) -> str:
    """Return the command that brings components back which were replaced without the stack."""
    try:
        states = package_states(server.runner, sorted({*stuck.replaced, STACK}))
    except TradingError:
        states = {}
    back = {
        name: version
        for name, version in stuck.replaced.items()
        if name not in states or states[name].version != version or not states[name].complete
    }
    if not back:
        return _look(stuck)
    # A stack that came with them names other versions, and no hook lets both happen at once.
    came = STACK in states and states[STACK].unpacked
    first = f"apt-get remove --allow-remove-essential {STACK} && " if came else ""
    return first + _by_apt(back)


def _by_apt(versions: Mapping[str, str]) -> str:
    exact = " ".join(f"{name}={version}" for name, version in versions.items())
    return f"apt-get update && apt-get install --allow-downgrades {exact}"


def _look(stuck: Transaction) -> str:
    unit = stuck.check.partition(":")[0]
    return f"journalctl -u {unit} -n 100" if unit.endswith(".service") else "tradingctl verify"


def _in_service(server: Server, kept: Kept) -> bool:
    """Return whether a release is installed already, so that going to it would change nothing."""
    try:
        plan = plan_rollback(server, kept, {})
    except TradingError:
        return False
    return not (plan.of(Step.SWITCH) or plan.of(Step.INSTALL))


def _reached(pending: Transaction, target: Kept) -> str:
    if target.version and not pending.without_stack:
        return f"release {target.release}"
    return ", ".join(f"{name} {version}" for name, version in target.versions.items()) or "the rest"


def done_text(pending: Transaction, plan: Plan, found: Verification) -> str:
    """Return what is said of a transaction that was taken back."""
    state = "is in service and verified"
    if found.result is Result.SKIPPED:
        state = f"is installed and NOT verified: {found.reason or 'every service is put aside'}"
    lines = [f"\n{_reached(pending, plan.target)} {state}"]
    if pending.origin != BY_HAND:
        lines = [f"{lines[0]}; {named(pending)} is not installed"]
    if plan.blocks:
        left = plan.blocks[-1]
        exact = f"{left.package}={left.version}"  # dpkg alone does not say which release it is
        again = (
            f"tradingctl upgrade {pending.release}"
            if pending.release
            else f"apt-get install {exact}"
        )
        lines.append(
            f"apt will not install {pending.release or exact} by itself; a later release passes."
            f" To try it again: {again}"
        )
    elif pending.without_stack and pending.check:
        names = " ".join(pending.replaced)
        lines.append(
            "without the stack nothing keeps apt from installing it again; to keep what is there:"
            f" apt-mark hold {names}; before a later release: apt-mark unhold {names}"
        )
    lines.append("next: tradingctl history")
    return "\n".join(lines)
