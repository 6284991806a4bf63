"""The rules of ``[[secrets]]``, of ``[environments]`` and of which unit may send orders."""

from __future__ import annotations

import re

from debstack.model import names
from debstack.model.definition import Component, SecretDefinition
from debstack.model.findings import Findings
from debstack.model.order_safety import VARIABLE, assigns_mode

SHORTEST_SECRET = 12
ENVIRONMENTS = ("staging", "production")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def secret_problems(component: Component, found: Findings) -> None:
    """Add to ``found`` every rule about secrets and environments that ``component`` breaks."""
    found.unique(
        "variable",
        ((f"secrets[{n}].variable", each.variable) for n, each in enumerate(component.secrets)),
    )
    for n, secret in enumerate(component.secrets):
        _secret(secret, f"secrets[{n}]", component, found)
    for name, word in component.environments.items():
        key = f"environments.{name}"
        found.require(
            name in ENVIRONMENTS,
            key,
            f"{name!r} is not what a machine can be",
            names.did_you_mean(name, ENVIRONMENTS),
        )
        found.require(
            _WORD.fullmatch(word) is not None, key, f"{word!r} is not one word", "such as test"
        )


def _secret(secret: SecretDefinition, key: str, component: Component, found: Findings) -> None:
    found.require(
        names.is_variable(secret.variable),
        f"{key}.variable",
        f"{secret.variable!r} is not an environment variable in capitals",
        names.as_variable(secret.variable),
    )
    found.require(
        secret.length >= SHORTEST_SECRET,
        f"{key}.length",
        f"{secret.length} characters can be guessed",
        f"at least {SHORTEST_SECRET}",
    )
    for name in secret.needed_if:
        found.require(
            names.is_environment(name),
            f"{key}.needed_if.{name}",
            f"{name!r} is not the name of a setting",
            names.as_variable(name),
        )
    taken = f"{secret.variable}_FILE"
    found.require(
        not secret.credential or all(taken not in unit.environment for unit in component.units),
        f"{key}.credential",
        f"a unit sets {taken}, which says where the credential lies",
        f"remove {taken} from its environment",
    )


def demand_sender(component: Component, settings: dict[str, str], found: Findings) -> None:
    """Demand that of a component with a worker's mode a unit is known to send orders.

    ``settings`` are the texts of its files of settings.
    """
    named = any(VARIABLE in unit.environment for unit in component.units)
    named = named or any(assigns_mode(text) for text in settings.values())
    found.require(
        not named or any(unit.sends_orders for unit in component.units),
        "units",
        f"{VARIABLE} is set, and no unit is kept from sending orders where it must not",
        "sends_orders = true in the worker's [[units]]",
    )
