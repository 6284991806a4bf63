"""Units that the administrator laid out by hand and does not start at boot."""

from __future__ import annotations

from tradingctl.adopt.unitfiles import enabling, is_mask
from tradingctl.description import Component
from tradingctl.inventory import service
from tradingctl.server import Server


def keep_disabled(server: Server, component: Component) -> None:
    """Keep the packaged namesakes of disabled units from being enabled when they are configured.

    deb-systemd-helper, which comes next, takes a unit that it does not know for new, and enables
    it, whatever file it is of. One that it knows, and whose link is missing, was disabled.
    """
    folder = server.paths.local_units
    for unit in component.units:
        name = service(unit.name)
        file = folder / name
        if not file.is_file() or is_mask(file) or enabling(folder, name):
            continue
        outcome = server.runner.run(
            ["deb-systemd-helper", "update-state", name],
            extra={"DPKG_MAINTSCRIPT_PACKAGE": component.package},
        )
        if outcome.code != 0:
            server.warn(f"warning: {name} may be enabled, and was not before: {outcome.said}")
