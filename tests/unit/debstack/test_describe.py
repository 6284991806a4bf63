"""What a package tells the server about its component."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.debstack.model import project

from debstack.describe import describe, places
from debstack.model.definition import Component, SecretDefinition
from debstack.model.reading import load
from tradingctl.description import parse_component


@pytest.fixture
def web(tmp_path: Path) -> Component:
    return load(project.write(tmp_path)).component("web")


def test_the_description_is_complete_and_the_server_reads_it(web: Component) -> None:
    described = describe(web, "1+g1234567-1~deb12", "2026.11.23.1", "c" * 40)
    assert parse_component(described.to_json(), "web.json") == described
    assert (described.name, described.package) == ("web", "web")
    assert (described.version, described.release) == ("1+g1234567-1~deb12", "2026.11.23.1")
    assert (described.repository, described.commit) == (web.source.url, "c" * 40)
    assert described.logs == ("logs",)
    assert [(state.path, state.databases) for state in described.state] == [("data", ("web.db",))]
    assert [(secret.variable, secret.length) for secret in described.secrets] == [("WEB_PASS", 24)]


def test_units_carry_what_health_is(web: Component) -> None:
    (unit,) = describe(web, "1", "2026.11.23.1", "c" * 40).units
    assert (unit.name, unit.order, unit.port) == ("web-server.service", 20, 9001)
    assert (unit.deadline, unit.stability, unit.required) == (60.0, 3.0, True)
    (check,) = unit.checks
    assert (check.name, check.url, check.status) == ("login", "http://localhost:9001/", (200, 401))


def test_placeholders_stand_for_the_places_on_the_server(web: Component) -> None:
    assert places("web", web.units[0]) == {
        "root": "/opt/trading/web",
        "etc": "/etc/trading",
        "state": "/var/lib/trading/web",
        "log": "/var/log/trading/web",
        "port": "9001",
    }


def test_what_the_server_needs_to_know_of_secrets_and_orders_is_told(web: Component) -> None:
    secret = SecretDefinition(
        "KEY", 30, generate=False, credential=True, weak=("a",), staging_only=("demo",),
        needed_if={"FEED": "real"},
    )  # fmt: skip
    sender = replace(web.units[0], sends_orders=True)
    defined = replace(web, secrets=(secret,), units=(sender,), environments={"staging": "test"})
    described = describe(defined, "1", "2026.11.23.1", "c" * 40)
    assert parse_component(described.to_json(), "web.json") == described
    assert asdict(described.secrets[0]) == asdict(secret)
    assert described.units[0].sends_orders
    assert described.environments == {"staging": "test"}
