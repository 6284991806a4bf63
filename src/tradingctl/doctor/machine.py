"""What this machine is, where it is said wrongly; and secrets in settings that nobody declared."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.doctor.holdings import Holding
from tradingctl.envfile import read_variables
from tradingctl.environment import KNOWN, STAGING, VARIABLE, read_environment, spelled
from tradingctl.inventory import Inventory
from tradingctl.server import Server


def environment_complaints(server: Server, inventory: Inventory) -> Iterator[Complaint]:
    """Give what makes staging and production be mistaken for each other."""
    paths = server.paths
    value = read_environment(paths)
    if value not in KNOWN:
        yield Complaint(
            Severity.MEDIUM, "environment", paths.shown(paths.environment), VARIABLE,
            f"says neither {' nor '.join(KNOWN)}; the machine is treated as {STAGING}",
            f"tradingctl environment {STAGING}",
        )  # fmt: skip
    for component in inventory.components:
        file = paths.secret_file(component.name)
        own = dict(read_variables(file)).get(VARIABLE)
        if own is not None and own != spelled(component, value):
            shown = shlex.quote(paths.shown(file))
            yield Complaint(
                Severity.MEDIUM, "environment", paths.shown(file), VARIABLE,
                f"contradicts {paths.shown(paths.environment)}, and wins for {component.name}",
                f"sed -i '/^ *{VARIABLE}=/d' {shown}",
            )  # fmt: skip


def undeclared_complaints(
    server: Server, inventory: Inventory, held: Sequence[Holding]
) -> Iterator[Complaint]:
    """Give secrets by their names, that no component declares, in files that all can read."""
    declared = {each.variable for component in inventory.components for each in component.secrets}
    for holding in held:
        if holding.open and holding.variable not in declared:
            # What is in a file of all components is moved for all of them.
            shared = holding.file == server.paths.environment
            only = "" if shared else f" --component {holding.component}"
            yield Complaint(
                Severity.HIGH, "open to others", server.paths.shown(holding.file),
                holding.variable, "by its name a secret, and every user can read the file",
                f"tradingctl secret {holding.variable} --move{only}",
            )  # fmt: skip
