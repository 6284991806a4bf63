"""Where the secrets of this server are written, and with which values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl.description import Component
from tradingctl.envfile import read_variables
from tradingctl.inventory import Inventory
from tradingctl.server import Server

SECRET_NAME = re.compile(
    r"(PASS|PASSWORD|PASSWD|TOKEN|APIKEY|SECRET)$|(^|_)(SECRET_ACCESS_|ACCOUNT_)?KEY$",
    re.IGNORECASE,
)
"""What the name of a secret that nobody has declared looks like."""

LEAST_LOOKED_FOR = 8
"""Shorter values stand in other words by chance, and are weak anyway."""


@dataclass(frozen=True)
class Holding:
    """A secret with its value, in a file; not to be printed.

    ``component`` is empty for what belongs to the stack as a whole. ``open`` says that it is in a
    file that is not made for secrets.
    """

    component: str
    variable: str
    value: str
    file: Path
    declared: bool
    open: bool = False


def holdings(server: Server, inventory: Inventory) -> list[Holding]:
    """Return every secret that has a value in one of the files, those that win last."""
    found: list[Holding] = []
    for component in inventory.components:
        found += _of_component(server, component)
    for variable, value in read_variables(server.paths.backup_settings):
        if value and SECRET_NAME.search(variable):
            found.append(Holding("", variable, value, server.paths.backup_settings, False))
    return found


def _of_component(server: Server, component: Component) -> Iterator[Holding]:
    paths, name = server.paths, component.name
    declared = {secret.variable: secret for secret in component.secrets}
    for secret in component.secrets:
        file = paths.credential_file(name, secret.variable)
        if secret.credential:
            with contextlib.suppress(FileNotFoundError):
                if value := file.read_text(encoding="utf-8", errors="replace").strip():
                    yield Holding(name, secret.variable, value, file, True)
    files = ((paths.setting(f"{name}.env"), True), (paths.environment, True))
    for file, is_open in (*files, (paths.secret_file(name), False)):
        for variable, value in read_variables(file):
            if value and (variable in declared or SECRET_NAME.search(variable)):
                yield Holding(name, variable, value, file, variable in declared, is_open)


def values_looked_for(held: list[Holding]) -> dict[str, Holding]:
    """Return the secrets by value that can be told from other words."""
    return {each.value: each for each in held if len(each.value) >= LEAST_LOOKED_FOR}
