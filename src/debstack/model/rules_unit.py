"""The rules of one ``[[units]]`` table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from debstack.model import names
from debstack.model.definition import HealthCheck, SandboxException, UnitDefinition
from debstack.model.findings import Findings
from debstack.model.order_safety import demand_plan_only
from debstack.model.placeholders import PLACEHOLDERS, substitute
from debstack.model.placeholders import names as placeholder_names
from debstack.model.sandbox import SANDBOX

# Below debian-templates; dpkg would refuse a second package with the same file.
RESERVED_UNITS = (
    "ibgateway",
    "trading-adoption",
    "trading-backup",
    "trading-backup-artifacts",
    "trading-market-boot",
    "trading-market-close",
    "trading-market-open",
    "trading-restore",
    "trading-rollback",
    "trading-rollback-boot",
)
_LOCAL = ("127.0.0.1", "localhost")
_SECRET = re.compile(r"(PASS|PASSWORD|PASSWD|TOKEN|APIKEY|SECRET)$|(^|_)KEY$", re.IGNORECASE)
_HIGHEST_PORT = 65535
_MOST_SECONDS = 86_400


def unit_problems(unit: UnitDefinition, key: str, found: Findings) -> None:
    """Add to ``found`` every rule that ``unit``, found at ``key``, breaks on its own."""
    found.require(
        names.is_unit(unit.name) and not unit.name.endswith(".service"),
        f"{key}.name",
        f"{unit.name!r} is not a unit's name without .service",
        re.sub(r"[^A-Za-z0-9:_.-]+", "-", unit.name.removesuffix(".service")).strip("-"),
    )
    found.require(
        unit.name not in RESERVED_UNITS,
        f"{key}.name",
        f"{unit.name} is a unit of the stack's own",
        "another name",
    )
    found.line(f"{key}.description", unit.description)
    _times(unit, key, found)
    _port(unit, key, found)
    _exec(unit, key, found)
    _environment(unit.environment, f"{key}.environment", found, has_port=unit.port != 0)
    for relation in ("after", "wants", "requires"):
        others: tuple[str, ...] = getattr(unit, relation)
        found.unique("unit", ((f"{key}.{relation}[{n}]", name) for n, name in enumerate(others)))
    found.unique("check", ((f"{key}.checks[{n}].name", c.name) for n, c in enumerate(unit.checks)))
    for n, check in enumerate(unit.checks):
        _check(check, f"{key}.checks[{n}]", found, port=unit.port)
    _exceptions(unit.sandbox_exceptions, f"{key}.sandbox_exceptions", found)


def _times(unit: UnitDefinition, key: str, found: Findings) -> None:
    # TOML has inf and nan, for which systemd has no words; nan is not above anything.
    found.require(unit.deadline > 0, f"{key}.deadline", "is not above 0 seconds", "30")
    found.require(unit.stability >= 0, f"{key}.stability", "is below 0 seconds", "3")
    for name, seconds in (("deadline", unit.deadline), ("stability", unit.stability)):
        found.require(
            not seconds > _MOST_SECONDS,
            f"{key}.{name}",
            f"is above {_MOST_SECONDS} seconds, a day",
            "30",
        )


def _port(unit: UnitDefinition, key: str, found: Findings) -> None:
    found.require(
        0 <= unit.port <= _HIGHEST_PORT,
        f"{key}.port",
        f"{unit.port} is not a port",
        f"1 to {_HIGHEST_PORT}, or no such key",
    )
    checked = any(check.required for check in unit.checks)
    found.require(
        unit.type != "simple" or not unit.port or checked,
        f"{key}.checks",
        "a simple service with a port has no required check, so nothing tells when it is ready",
        "add [[units.checks]] with url = 'http://127.0.0.1:{port}/…', or type = 'notify'",
    )


def _exec(unit: UnitDefinition, key: str, found: Findings) -> None:
    key = f"{key}.exec"
    if not found.line(key, unit.exec):
        return
    found.placeholders(key, unit.exec, has_port=unit.port != 0)
    try:
        program = shlex.split(unit.exec)[0]
    except (ValueError, IndexError) as error:
        found.add(key, f"is not a command line: {error}", "close the quotation")
        return
    if found.require(
        not placeholder_names(program), key, "begins with a placeholder", "relative to the root"
    ):
        found.relative(key, program)


def _environment(
    environment: Mapping[str, str], key: str, found: Findings, *, has_port: bool
) -> None:
    for name, value in environment.items():
        where = f"{key}.{name}"
        found.require(
            names.is_environment(name),
            where,
            f"{name!r} is not the name of a variable",
            names.as_variable(name),
        )
        found.printable(where, value)
        found.placeholders(where, value, has_port=has_port)
        demand_plan_only(f"{name}={value}", where, found)
        found.require(
            not value or _SECRET.search(name) is None,
            where,
            "looks like a secret, and every user of the server can read a unit",
            f"[[secrets]] with variable = {name!r}",
        )


def _check(check: HealthCheck, key: str, found: Findings, *, port: int) -> None:
    found.line(f"{key}.name", check.name)
    if found.printable(f"{key}.url", check.url) and found.placeholders(
        f"{key}.url", check.url, has_port=port != 0
    ):
        _check_url(check.url, f"{key}.url", found, port)
    found.require(bool(check.status), f"{key}.status", "no answer would be good", "[200]")
    for n, status in enumerate(check.status):
        found.require(
            100 <= status <= 599,
            f"{key}.status[{n}]",
            f"{status} is not a status of HTTP",
            "100 to 599",
        )
    for path in check.json:
        found.require(
            all(path.split(".")), f"{key}.json.{path}", "is not a dotted path", "such as status"
        )


def _check_url(url: str, key: str, found: Findings, port: int) -> None:
    plain = substitute(url, {name: str(port) for name in PLACEHOLDERS})
    try:
        address = urlsplit(plain)
        valid = address.scheme == "http" and address.hostname in _LOCAL
        valid = valid and address.username is None and address.port != 0
    except ValueError:
        valid = False
    found.require(
        valid and " " not in url,
        key,
        f"{url!r} is not an address of this server",
        "http://127.0.0.1:{port}/…",
    )


def _exceptions(exceptions: tuple[SandboxException, ...], key: str, found: Findings) -> None:
    found.unique("directive", ((f"{key}[{n}]", e.directive) for n, e in enumerate(exceptions)))
    for n, exception in enumerate(exceptions):
        found.require(
            exception.directive in SANDBOX,
            f"{key}[{n}].directive",
            f"{exception.directive!r} is not part of the sandbox",
            names.did_you_mean(exception.directive, SANDBOX),
        )
        found.line(f"{key}[{n}].reason", exception.reason)
        found.printable(f"{key}[{n}].value", exception.value)
