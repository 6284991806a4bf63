"""The gate of a release: start the stack, verify it, record it as good or say what is wrong.

Run by the postinst of traderunner-stack, the one package that may fail for a service. Speaks on
standard error alone, for debconf may own standard output. It takes nothing back itself: dpkg is at
work. What it marks is read when dpkg has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tradingctl import systemd
from tradingctl.activate import activate
from tradingctl.adopt import installation
from tradingctl.deploy import beforehand, store, transaction
from tradingctl.deploy.accept import accept
from tradingctl.deploy.admission import OPTIONAL
from tradingctl.deploy.history import record
from tradingctl.deploy.lastgood import read_last_good
from tradingctl.deploy.rollback import is_rollback
from tradingctl.deploy.transaction import DPKG, State, Transaction
from tradingctl.description import Unit
from tradingctl.errors import TradingError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, service
from tradingctl.market.resting import resting_units
from tradingctl.market.session import resume_closed
from tradingctl.report import finding_lines, verification_text
from tradingctl.server import Server
from tradingctl.verdict import Result, UnitVerdict, Verification
from tradingctl.verify import ran_before, skip_reason, verify

JOURNAL_LINES = 20


def gate(server: Server, inventory: Inventory, triggered: bool = False) -> int:
    """Return 0 when the release is good or cannot be verified here, 1 when it failed.

    Where it is only ``triggered``, and not by a release that is being installed, what does not run
    stays so, as a worker that somebody has stopped: only what runs is verified then. A check that
    fails while the machine goes down is no verdict: nothing is marked.

    Raises TradingError when the descriptions, systemd or dpkg are of no use.
    """
    if is_rollback(server):
        server.warn("the rollback verifies when every package is installed again")
        return 0
    for component in inventory.components:
        # Of an installation that was cut short, or where something was put since.
        if Generations(server.paths, component.name).hand_made:
            activate(server, component)
    if reason := _override(server):
        server.warn(f"WARNING: release {inventory.release} is not verified")
        return _skipped(server, inventory, reason)
    units = [
        unit for component, unit in inventory.units() if not installation.by_hand(server, component)
    ]
    if reason := skip_reason(server, units):
        return _skipped(server, inventory, reason)
    down: set[str] = set()
    try:
        pending = transaction.current(server.paths)
        if triggered and pending is not None and pending.state is State.STUCK:
            # What is wrong is not mended by another package that comes or goes.
            return 0
        if triggered and not _installing(pending):
            resting = resting_units(server)
            down = _down(server, units, resting)
            found = verify(server, inventory, resting=resting, stopped=down)
        else:
            # An attempt of a gate that failed may be lost already to a cause that is gone since.
            afresh = pending is not None and pending.state in (State.FAILED, State.STUCK)
            stopped = beforehand.stopped(server.paths)
            started = [unit for unit in units if unit.name not in stopped]
            systemd.start(server, started, forced=ran_before(server, inventory), afresh=afresh)
            found = verify(server, inventory, stopped=stopped)
    except BaseException:
        resume_closed(server, inventory)
        raise
    if found.reason:
        return _skipped(server, inventory, found.reason)
    # Plain, for apt gives dpkg a terminal of its own and the text ends up in logs.
    server.warn(verification_text(found))
    if found.result is Result.SKIPPED:
        return _skipped(server, inventory, _why_skipped(found))
    resume_closed(server, inventory)
    if found.result is Result.FAILED and systemd.going_down(server):
        server.warn(
            f"\nrelease {inventory.release} is not verified: the machine is going down"
            "\nnext: nothing, the next boot takes it back; to try again: tradingctl upgrade"
        )
        return 1
    if found.result is Result.FAILED:
        # Whoever tries again, be it dpkg --configure -a, starts none of them either.
        by_somebody = down & beforehand.look_for_stopped(server)
        beforehand.note_stopped(server.paths, by_somebody | beforehand.stopped(server.paths))
        _failed(server, inventory, found)
        return 1
    if not down:
        accept(server, inventory, found)
    if pending is None:
        beforehand.forget(server.paths)
    installation.accepted(server)
    transaction.mark(server, State.VERIFIED)
    record(server, "verified", inventory.release, found.result.value, versions=_versions(inventory))
    return 0


def _installing(pending: Transaction | None) -> bool:
    """Return whether a transaction installs what a release depends on."""
    if pending is None:
        return False
    # A rollback by hand has nothing that comes in.
    return not pending.incoming or not pending.incoming.keys() <= set(OPTIONAL)


def _down(server: Server, units: Sequence[Unit], resting: Collection[str]) -> set[str]:
    """Return the units that could run and do not."""
    states = systemd.show(server.runner, [unit.name for unit in units])
    return {
        name
        for name, state in states.items()
        if state.active in ("inactive", "failed")
        and not state.job
        and not state.put_aside
        and name.removesuffix(".service") not in resting
    }


def _why_skipped(found: Verification) -> str:
    told = [unit.reason for unit in found.units if unit.reason.startswith("what was installed")]
    return told[0] if told else "the administrator put every service aside"


def _override(server: Server) -> str:
    if server.environ.get("TRADING_SKIP_VERIFY") == "1":
        return "TRADING_SKIP_VERIFY=1 is set"
    if server.paths.skip_verify.exists():
        return f"{server.paths.skip_verify} exists"
    return ""


def _skipped(server: Server, inventory: Inventory, reason: str) -> int:
    resume_closed(server, inventory)  # before what a full disk may keep from being written
    transaction.mark(server, State.SKIPPED, detail=reason)
    installation.accepted(server)
    record(server, "skipped", inventory.release, reason, versions=_versions(inventory))
    server.warn(
        f"SKIPPED: {reason}; to verify and record it when the services run:"
        " dpkg-reconfigure traderunner-stack"
    )
    return 0


def _versions(inventory: Inventory) -> dict[str, str]:
    versions = {component.package: component.version for component in inventory.components}
    if inventory.stack:
        versions |= {**inventory.stack.packages, inventory.stack.package: inventory.stack.version}
    return versions


def _failed(server: Server, inventory: Inventory, found: Verification) -> None:
    _explain(server, found)
    failed = [unit for unit in found.units if unit.result is Result.FAILED]
    # The others may well be down because of the first.
    first = failed[0].findings[0]
    check = f"{service(failed[0].unit)}: {first.check}: got {first.got}"
    pending = transaction.current(server.paths)
    transaction.mark(server, State.FAILED, check)
    record(server, "failed", inventory.release, check=check, versions=_versions(inventory))
    why = f"release {inventory.release} failed: {check}"
    if installation.failed(server, inventory, why, check):
        server.warn(f"\nnext: {_journal_of(failed[0])}")
        server.warn("to try it again: tradingctl adopt")
    elif pending is None:
        server.warn(f"\nnext: {_next(server, inventory, failed[0])}")
        server.warn("to verify again: dpkg --configure -a")
    elif pending.origin == DPKG:
        # No hook of apt will speak after this.
        back = read_last_good(server.paths) is not None
        step = "journalctl -fu trading-rollback.service" if back else _journal_of(failed[0])
        server.warn("\nit is taken back as soon as dpkg has ended" if back else "")
        server.warn(f"next: {step}")


def _explain(server: Server, found: Verification) -> None:
    for unit in found.units:
        if unit.result is not Result.FAILED:
            continue
        server.warn(f"\n{service(unit.unit)} FAILED")
        for finding in unit.findings:
            server.warn("\n".join(finding_lines(finding)))
        server.warn(f"         the last {JOURNAL_LINES} lines of its journal")
        server.warn("\n".join(f"           {line}" for line in _journal(server, unit)))


def _journal(server: Server, unit: UnitVerdict) -> list[str]:
    """Return the end of the unit's journal, of this start of it when that says anything."""
    form = ["-n", str(JOURNAL_LINES), "--no-pager", "-o", "short-iso", "-q"]
    named = ["-u", service(unit.unit)]
    # What the service says bears the first field, what systemd says of it the second.
    this = [f"_SYSTEMD_INVOCATION_ID={unit.invocation}", "+", f"INVOCATION_ID={unit.invocation}"]
    for match in ([this] if unit.invocation else []) + [named]:
        outcome = server.runner.run(["journalctl", *form, *match], timeout=10.0)
        lines = outcome.output.splitlines()[-JOURNAL_LINES:]
        if outcome.code == 0 and lines:
            return lines
    return [f"none: {outcome.said}"]


def _next(server: Server, inventory: Inventory, unit: UnitVerdict) -> str:
    """Return the one command to type where nothing is taken back by itself."""
    try:
        good = read_last_good(server.paths)
    except TradingError as error:
        server.warn(f"warning: {error.message}")
        good = None
    kept = [each.release for each in store.kept_releases(server.paths)]
    if good and good.release != inventory.release and good.release in kept:
        return f"tradingctl rollback {good.release}"
    return _journal_of(unit)


def _journal_of(unit: UnitVerdict) -> str:
    return f"journalctl -u {service(unit.unit)} -n 100"
