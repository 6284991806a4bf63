"""Secrets that are weak, missing, or not the same where they have to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tradingctl.description import Component, Secret
from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.doctor.holdings import Holding
from tradingctl.envfile import read_variables
from tradingctl.environment import is_production
from tradingctl.inventory import Inventory
from tradingctl.server import Server

SHORTEST = 12
KNOWN_TO_ALL = (
    *("admin", "changeme", "default", "demo", "letmein", "pass", "passwd", "password", "secret"),
    *("test", "token", "trading", "123456", "12345678"),
)


def value_complaints(
    server: Server, inventory: Inventory, held: Sequence[Holding]
) -> Iterator[Complaint]:
    """Give what is wrong with the values of the declared secrets."""
    for component in inventory.components:
        for secret in component.secrets:
            if _is_needed(server, component, secret):
                values = [each for each in held if _is_of(each, component, secret)]
                if values:
                    yield from _weak(server, secret, values[-1])
                    yield from _misplaced(server, component, secret, values)
                else:
                    yield _missing(server, component, secret)
    yield from _different(server, inventory, held)


def _is_of(holding: Holding, component: Component, secret: Secret) -> bool:
    return (holding.component, holding.variable) == (component.name, secret.variable)


def _is_needed(server: Server, component: Component, secret: Secret) -> bool:
    """Return whether the services need the secret, by their settings."""
    paths = server.paths
    settings: dict[str, str] = {}
    for file in (
        paths.setting(f"{component.name}.env"), paths.environment, paths.secret_file(component.name)
    ):  # fmt: skip
        settings |= dict(read_variables(file))
    return all(settings.get(name) == value for name, value in secret.needed_if.items())


def _remedy(secret: Secret) -> str:
    """Return the command that gives it a good value: one that others issue has to be typed."""
    issued = secret.needed_if or secret.staging_only
    return f"tradingctl secret {secret.variable}{'' if issued else ' --generate'}"


def _weak(server: Server, secret: Secret, holding: Holding) -> Iterator[Complaint]:
    where = server.paths.shown(holding.file)
    lowered = holding.value.lower()
    if holding.value in secret.staging_only:
        if is_production(server.paths):
            yield Complaint(
                Severity.HIGH, "staging value", where, secret.variable,
                "is what will do on a staging machine, and this is production", _remedy(secret),
            )  # fmt: skip
    elif holding.value in secret.weak or lowered in {*KNOWN_TO_ALL, secret.variable.lower()}:
        yield Complaint(
            Severity.HIGH, "known value", where, secret.variable,
            "is a value that everybody knows", _remedy(secret),
        )  # fmt: skip
    elif len(holding.value) < SHORTEST or len(set(holding.value)) < SHORTEST // 3:
        yield Complaint(
            Severity.MEDIUM, "weak value", where, secret.variable,
            f"can be guessed: fewer than {SHORTEST} characters, or nearly all the same",
            _remedy(secret),
        )  # fmt: skip


def _missing(server: Server, component: Component, secret: Secret) -> Complaint:
    file = server.paths.secret_file(component.name)
    if secret.credential:
        file = server.paths.credential_file(component.name, secret.variable)
    return Complaint(
        Severity.HIGH if is_production(server.paths) else Severity.MEDIUM,
        "no value",
        server.paths.shown(file),
        secret.variable,
        f"is not set: {component.name} asks for none, or takes one that everybody knows",
        _remedy(secret),
    )


def _misplaced(
    server: Server, component: Component, secret: Secret, values: Sequence[Holding]
) -> Iterator[Complaint]:
    own = server.paths.credential_file(component.name, secret.variable)
    for holding in values:
        where = server.paths.shown(holding.file)
        move = f"tradingctl secret {secret.variable} --move"
        if holding.file != server.paths.environment:  # which all components read
            move += f" --component {component.name}"
        if holding.open:
            yield Complaint(
                Severity.HIGH, "open to others", where, secret.variable,
                "every user of this server can read the file", move,
            )  # fmt: skip
        elif secret.credential and holding.file != own:
            yield Complaint(
                Severity.LOW, "not a credential", where, secret.variable,
                "is in the environment of every process of the service, which can read a file",
                move,
            )  # fmt: skip


def _different(
    server: Server, inventory: Inventory, held: Sequence[Holding]
) -> Iterator[Complaint]:
    """Give the secrets that several components share and have with different values."""
    effective: dict[str, dict[str, Holding]] = {}
    for holding in held:
        if holding.declared:
            effective.setdefault(holding.variable, {})[holding.component] = holding
    for variable, by_component in sorted(effective.items()):
        first, *others = by_component.values()
        secret = next(s for c in inventory.components for s in c.secrets if s.variable == variable)
        for other in others:
            if other.value != first.value:
                yield Complaint(
                    Severity.MEDIUM, "not the same", server.paths.shown(other.file), variable,
                    f"is another one in {server.paths.shown(first.file)}; {other.component} and"
                    f" {first.component} have to know the same", _remedy(secret),
                )  # fmt: skip
