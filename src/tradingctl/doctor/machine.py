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


def undeclared_complaints(server: Server, held: Sequence[Holding]) -> Iterator[Complaint]:
    """Give secrets by their names, that no component declares, in files that all can read."""
    for holding in held:
        if holding.open and not holding.declared:
            file = shlex.quote(server.paths.shown(holding.file))
            target = server.paths.shown(server.paths.secret_file(holding.component))
            line = f"'/^ *{holding.variable} *=/"
            yield Complaint(
                Severity.HIGH, "open to others", server.paths.shown(holding.file),
                holding.variable, "by its name a secret, and every user can read the file",
                f"sed -n {line}p' {file} >> {shlex.quote(target)} && sed -i {line}d' {file}",
            )  # fmt: skip
