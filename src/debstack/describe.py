"""Turn a component's definition into the description that its package carries to the server."""

from __future__ import annotations

from debstack.model import placeholders
from debstack.model.definition import Component, HealthCheck, UnitDefinition
from tradingctl import description

SETTINGS = "usr/share/trading/settings"
"""Where a payload holds the defaults of the files in /etc/trading."""

TRACKED = ".tracked"
"""Where the tree keeps tracked files of a state directory; see tradingctl.description.State."""


def places(component: str, unit: UnitDefinition) -> dict[str, str]:
    """Return what the placeholders of a unit stand for on the server."""
    return {
        "root": f"/opt/trading/{component}",
        "etc": "/etc/trading",
        "state": f"/var/lib/trading/{component}",
        "log": f"/var/log/trading/{component}",
        "port": str(unit.port),
    }


def describe(
    component: Component, version: str, release: str, commit: str
) -> description.Component:
    """Return the description of ``component`` at ``version``, as tradingctl reads it."""
    return description.Component(
        name=component.name,
        package=component.name,
        version=version,
        release=release,
        repository=component.source.url,
        commit=commit,
        units=tuple(_unit(component.name, unit) for unit in component.units),
        state=tuple(
            description.State(state.path, state.databases, state.tracked, state.artifacts)
            for state in component.state
        ),
        logs=component.logs,
        secrets=tuple(
            description.Secret(
                secret.variable,
                secret.length,
                secret.generate,
                secret.credential,
                secret.weak,
                secret.staging_only,
                secret.needed_if,
            )
            for secret in component.secrets
        ),
        environments=component.environments,
    )


def _unit(component: str, unit: UnitDefinition) -> description.Unit:
    where = places(component, unit)
    return description.Unit(
        name=f"{unit.name}.service",
        order=unit.order,
        port=unit.port,
        deadline=unit.deadline,
        stability=unit.stability,
        required=unit.required,
        checks=tuple(_check(check, where) for check in unit.checks),
        sends_orders=unit.sends_orders,
    )


def _check(check: HealthCheck, where: dict[str, str]) -> description.Check:
    return description.Check(
        name=check.name,
        url=placeholders.substitute(check.url, where),
        status=check.status,
        json=check.json,
        commit_json=check.commit_json,
        commit_header=check.commit_header,
        required=check.required,
    )
