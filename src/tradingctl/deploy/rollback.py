"""Go back to a kept release: switch the code at once, then let dpkg tell the truth, then verify.

Never touches a database, a secret, or a setting that the administrator edited; those that follow
the release go back with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tradingctl import systemd
from tradingctl.activate import runs_on, start_units, stop_active, stop_units, way_to_stop
from tradingctl.adopt import installation
from tradingctl.deploy import beforehand
from tradingctl.deploy.accept import accept
from tradingctl.deploy.blocks import block
from tradingctl.deploy.lock import HELD
from tradingctl.deploy.plan import Plan, Step
from tradingctl.deploy.store import debs_of, inventory_of
from tradingctl.deploy.transaction import State, Transaction, save
from tradingctl.errors import RollbackError, TradingError
from tradingctl.files import sha256
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, read_inventory, service
from tradingctl.market.session import resume_closed
from tradingctl.report import verification_text
from tradingctl.server import Server
from tradingctl.verdict import Result, Verification
from tradingctl.verify import verify

ROLLBACK = "TRADING_ROLLBACK"
DPKG_SECONDS = 3600.0
SHOWN_LINES = 20
FORCES = (
    *("--force-confold", "--force-confdef", "--force-downgrade", "--force-remove-protected"),
    "--force-remove-reinstreq",  # what dpkg was unpacking when it was killed
)


def is_rollback(server: Server) -> bool:
    """Return whether this program was started by a rollback."""
    return server.environ.get(ROLLBACK) == "1"


def roll_back(server: Server, transaction: Transaction, plan: Plan) -> Verification:
    """Do what the plan says and return the result of the verification, which is recorded.

    The caller holds dpkg's frontend lock and decides what becomes of the transaction. Raises
    RollbackError when dpkg fails or the release does not verify, TradingError, OSError.
    """
    begun = replace(
        transaction,
        state=State.ROLLING_BACK,
        target=plan.target.release,
        attempts=transaction.attempts + 1,
    )
    save(server.paths, begun)
    target = inventory_of(server.paths, plan.target)
    _stop_what_goes(server, target, plan)
    switch(server, target, plan.of(Step.SWITCH), start=True)
    before = _fingerprints(server, target)
    again = plan.of(Step.INSTALL)
    goes = plan.of(Step.REMOVE)
    # First, if it goes: it depends on the versions that are about to be replaced.
    _dpkg(server, ["--remove", *(each for each in goes if each == plan.target.stack)])
    _dpkg(server, ["--install", *map(str, debs_of(server.paths, plan.target, again))])
    _dpkg(server, ["--remove", *(each for each in goes if each != plan.target.stack)])
    stale = again if _fingerprints(server, target) != before else []
    found = _verified(server, stale)
    block(server, plan.blocks)
    return found


def _stop_what_goes(server: Server, target: Inventory, plan: Plan) -> None:
    """Stop the units that the packages to be replaced or removed have, and the target has not."""
    stay = {service(unit.name) for _, unit in target.units()}
    goes = {*plan.of(Step.INSTALL), *plan.of(Step.REMOVE)}
    try:
        units = read_inventory(server.paths).units()
        present = [unit for component, unit in units if component.package in goes]
    except TradingError as error:
        server.warn(f"warning: {error.message}")  # that may be why it is left
        return
    if not systemd.absence(server):
        stop_active(server, [unit for unit in present if service(unit.name) not in stay])


def switch(server: Server, target: Inventory, names: list[str], start: bool) -> None:
    """Point the links of the named components to their generations of ``target``.

    With ``start`` their units are stopped meanwhile and started afterwards. Raises RollbackError,
    and points no link, where one does not stop; OSError.
    """
    components = [target.component(name) for name in names]
    running = start and not systemd.absence(server)
    active = beforehand.noted(server.paths)  # also one that the release under test has ended
    if running:
        for component in reversed(components):
            active |= stop_units(server, component)
        if going := runs_on(server, components):
            for component in components:
                start_units(server, component, active)
            raise RollbackError(
                f"{going} did not stop, and would have the code of two releases",
                way_to_stop(server, going),
            )
    for component in components:
        Generations(server.paths, component.name).flip(component.version)
    if running:
        for component in components:
            start_units(server, component, active)


def _dpkg(server: Server, arguments: list[str]) -> None:
    """Run dpkg on what follows the action, if anything; raises RollbackError."""
    if len(arguments) == 1:
        return
    server.warn(f"dpkg {arguments[0]}: {', '.join(Path(each).name for each in arguments[1:])}")
    command = ["dpkg", *FORCES, *arguments]
    # The lock is ours, or of a program above us.
    outcome = server.runner.run(command, timeout=DPKG_SECONDS, extra={HELD: "true", ROLLBACK: "1"})
    if outcome.code != 0:
        said = (outcome.output + outcome.errors).splitlines()[-SHOWN_LINES:]
        server.warn("\n".join(f"  {line}" for line in said))
        raise RollbackError(f"{' '.join(command[:1] + arguments[:1])} failed: {outcome.said}")


def _verified(server: Server, stale: list[str]) -> Verification:
    """Verify and record what is installed now; ``stale`` packages' units are started anew."""
    inventory = read_inventory(server.paths)
    if reason := systemd.absence(server):
        return Verification(inventory.release, reason=reason)
    systemd.reload(server)
    active = beforehand.noted(server.paths)
    ours = [each for each in inventory.components if not installation.by_hand(server, each)]
    for component in reversed(ours):
        if component.package in stale:
            active |= stop_units(server, component)
    stopped = beforehand.stopped(server.paths)
    units = [
        unit
        for component, unit in inventory.units()
        if component in ours and unit.name not in stopped
    ]
    try:
        systemd.start(server, units, forced=active)
        found = verify(server, inventory, stopped=stopped)
        server.warn(verification_text(found))
    finally:
        resume_closed(server, inventory)
    if found.result is Result.FAILED:
        failed = next(unit for unit in found.units if unit.result is Result.FAILED)
        raise RollbackError(
            f"release {inventory.release} is installed and {service(failed.unit)} is not healthy:"
            f" {failed.findings[0].check}: got {failed.findings[0].got}",
            f"journalctl -u {service(failed.unit)} -n 100 --no-pager",
        )
    if found.result is not Result.SKIPPED:
        accept(server, inventory, found)
    return found


def _fingerprints(server: Server, target: Inventory) -> Mapping[str, str]:
    """Return a digest of each file that a unit reads at its start and a package may replace."""
    units = [server.paths.units / service(unit.name) for _, unit in target.units()]
    return {
        str(path): sha256(path)
        for path in (*units, *sorted(server.paths.settings.glob("*")))
        if path.is_file()
    }
