"""The slim stack is the real thing in all but its size, and tells what its trees are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.slim import DASHBOARD_DEADLINE, DEADLINE
from tests.system.stack import (
    API,
    DASHBOARD,
    STREAM,
    assert_healthy,
    dashboard_login,
    install_stack,
    server,
)

from debstack.model.lock import release_order

pytestmark = pytest.mark.system


def test_slim_stack_installs_and_names_its_parts(base: Path, slim: Project) -> None:
    with server(base, slim) as machine:
        install_stack(machine)
        assert_healthy(machine)
        for component, parts in parts_of(machine).items():
            assert parts == {"labels": ["1", "1"], "commits": [slim.commits[component]] * 2}
        page = machine.http(f"{DASHBOARD}/", auth=dashboard_login(machine))
        assert page.status == 200
        assert "Trading dashboard" in page.text


def test_slim_services_are_given_up_soon(slim: Project) -> None:
    definitions = (slim.root / "packaging" / "components").glob("*.toml")
    lines = [line for each in definitions for line in each.read_text().splitlines()]
    found = sorted(line for line in lines if line.startswith("deadline"))
    assert found == sorted([f"deadline = {DEADLINE}"] * 3 + [f"deadline = {DASHBOARD_DEADLINE}"])


def test_a_copy_is_built_and_published_on_its_own(slim: Project, projects: Path) -> None:
    copy = slim.copy(projects / "slim-copy")
    copy.commit("automatictrader-api", {"README.md": "changed\n"})
    assert release_order(copy.release) > release_order(slim.release)
    copy.build()
    copy.publish()
    assert copy.deb("traderunner").samefile(slim.deb("traderunner")), "only what changed is built"
    assert copy.deb("automatictrader-api").name not in {deb.name for deb in slim.debs()}


def parts_of(machine: Machine) -> dict[str, object]:
    """Return what the tree of each component says of itself."""
    return {
        "automatictrader-api": machine.http(f"{API}/parts").json(),
        "marketdata-stream": machine.http(f"{STREAM}/parts").json(),
        "traderunner": json.loads(machine.http(f"{DASHBOARD}/").headers["x-parts"]),
    }
