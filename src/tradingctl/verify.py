"""Verify that what runs is the installed release and that it is healthy; changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tradingctl import systemd
from tradingctl.adopt import installation
from tradingctl.deploy import beforehand
from tradingctl.description import Component, Unit
from tradingctl.examine import Examination
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, installed_versions
from tradingctl.parallel import for_each
from tradingctl.server import Server
from tradingctl.systemd import Observer
from tradingctl.verdict import Result, UnitVerdict, Verification


def verify(
    server: Server,
    inventory: Inventory,
    names: Sequence[str] = (),
    resting: Collection[str] = (),
    refused: Result = Result.DEGRADED,
    stopped: Collection[str] = (),
) -> Verification:
    """Return the result for the units that ``names`` mean, examined at the same time.

    Units in ``resting`` may be stopped; not so for who has started them to see whether they run.
    ``refused`` is the result of one that is kept from sending orders on this machine: no release is
    taken back for what the administrator wrote, but who asks whether everything runs is told so.
    Units in ``stopped`` are passed over while they do not run: an installation left them so.
    Raises TradingError for an unknown name and when systemd or dpkg do not answer.
    """
    began = server.clock.now()
    chosen = inventory.select(names)
    reason = skip_reason(server, [unit for _, unit in chosen])
    if reason:
        return Verification(inventory.release, reason=reason)
    versions = installed_versions(
        server.runner, sorted({component.package for component, _ in chosen})
    )
    ran = ran_before(server, inventory)
    observer = Observer(server, [unit.name for _, unit in chosen])

    def examine(pair: tuple[Component, Unit]) -> UnitVerdict:
        component, unit = pair
        return Examination(
            server=server,
            observer=observer,
            component=component,
            unit=unit,
            installed=versions.get(component.package, ""),
            active=Generations(server.paths, component.name).active,
            began=began,
            denied=systemd.denied(server, unit.name),
            refused=refused,
            resting=unit.name.removesuffix(".service") in resting,
            by_hand=installation.by_hand(server, component),
            ran=unit.name in ran,
            stopped=unit.name in stopped,
        ).verdict()

    verdicts = tuple(for_each(examine, chosen))
    return Verification(inventory.release, verdicts, seconds=round(server.clock.now() - began, 3))


def ran_before(server: Server, inventory: Inventory) -> set[str]:
    """Return the disabled units that ran before the installation or adoption under way."""
    by_hand = (installation.ran_disabled(server, each) for each in inventory.components)
    return beforehand.noted(server.paths).union(*by_hand)


def skip_reason(server: Server, units: Sequence[Unit]) -> str:
    """Return why nothing can be verified here, empty when it can."""
    reason = systemd.absence(server)
    if not reason and units and all(systemd.denied(server, unit.name) for unit in units):
        reason = "policy-rc.d forbids to start services"
    return reason
