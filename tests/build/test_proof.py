"""No package leaves the build unless what it ships starts and is healthy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.build.conftest import BuiltProject
from tests.build.index import need_index
from tests.build.project import Project

from debstack.errors import StartError
from debstack.isolation import can_isolate
from debstack.model.definition import Component
from debstack.model.reading import load
from debstack.process import Runner
from debstack.steps.prove import prove
from tradingctl.description import Component as Description
from tradingctl.description import parse_component

pytestmark = pytest.mark.build
NAME = "automatictrader-api"
FORGOTTEN = """\
extra_requirements = [
    "dash>=2.16",
    "dash-bootstrap-components>=1.6",
    "plotly>=5.20",
    "gunicorn>=22",
]
"""


@pytest.mark.parametrize("left", ["", 'extra_requirements = ["gunicorn>=22"]\n'])
def test_a_forgotten_requirement_is_found_before_the_package_leaves(
    template: Project, tmp_path: Path, left: str
) -> None:
    need_index()
    project = template.fork(tmp_path / "project")
    project.edit("components/traderunner.toml", FORGOTTEN, left)
    project.need("lock", "--component", "traderunner")
    build = project.debstack("build", "traderunner")
    assert build.returncode == 9
    assert "error: traderunner does not start" in build.stderr
    assert "ModuleNotFoundError: No module named 'dash'" in build.stderr
    (advice,) = (line for line in build.stderr.splitlines() if line.startswith("next: "))
    assert "packaging/components/traderunner.toml" in advice
    assert "extra_requirements" in advice
    assert ("no distribution brings" in build.stderr) == (not left)
    assert "debstack lock --component traderunner" in advice
    assert build.stdout == ""
    assert not project.dist.exists()
    # The log stays, and nothing that a later build could take for finished.
    assert not list(project.root.glob("build/packages/*/*/*.deb"))
    assert not list(project.root.glob("build/packages/*/*/build.json"))
    assert list(project.root.glob("build/packages/*/traderunner_*/build.log"))


@pytest.fixture(scope="module")
def payload(built: BuiltProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the package of the order intent API installs."""
    folder = tmp_path_factory.mktemp("payload")
    Runner().run(["dpkg-deb", "--extract", built.deb(NAME), folder])
    return folder


@pytest.fixture(scope="module")
def component(built: BuiltProject) -> Component:
    return load(built.project.root).component(NAME)


@pytest.fixture(scope="module")
def described(payload: Path) -> Description:
    file = payload / "usr/share/trading/components" / f"{NAME}.json"
    return parse_component(file.read_text(), file.name)


@pytest.mark.parametrize("isolate", [True, False])
def test_a_component_proves_with_and_without_namespaces(
    payload: Path, component: Component, described: Description, tmp_path: Path, isolate: bool
) -> None:
    runner = Runner(tmp_path / "log")
    _skip_unless(isolate, runner)
    prove(component, described, payload, "3.11", isolate=isolate, runner=runner)
    assert "Uvicorn running on" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("isolate", [True, False])
def test_a_wrong_answer_of_a_health_check_fails(
    payload: Path, component: Component, described: Description, isolate: bool
) -> None:
    _skip_unless(isolate, Runner())
    check = replace(described.units[0].checks[0], json={"status": "splendid"})
    unit = replace(described.units[0], checks=(check,))
    spoilt = replace(described, units=(unit, *described.units[1:]))
    impatient = replace(
        component, units=(replace(component.units[0], deadline=15.0), *component.units[1:])
    )
    with pytest.raises(StartError, match=f"{NAME} does not start") as caught:
        prove(impatient, spoilt, payload, "3.11", isolate=isolate, runner=Runner())
    said = "\n".join(caught.value.details)
    assert "check 'health': expected value splendid at status, got healthy" in said
    assert f"packaging/components/{NAME}.toml" in caught.value.hint


def test_a_service_that_runs_another_commit_fails(
    payload: Path, component: Component, described: Description
) -> None:
    impatient = replace(component, units=(replace(component.units[0], deadline=15.0),))
    with pytest.raises(StartError) as caught:
        prove(
            impatient, replace(described, commit="0" * 40), payload, "3.11",
            isolate=False, runner=Runner(),
        )  # fmt: skip
    assert f"expected commit {'0' * 40} at commit, got {described.commit}" in "\n".join(
        caught.value.details
    )


def test_a_service_that_ends_fails_with_what_it_printed(
    payload: Path, component: Component, described: Description
) -> None:
    wrong = replace(component.units[0], exec=".venv/bin/uvicorn app:missing --port {port}")
    with pytest.raises(StartError) as caught:
        prove(
            replace(component, units=(wrong,)), described, payload, "3.11",
            isolate=False, runner=Runner(),
        )  # fmt: skip
    said = "\n".join(caught.value.details)
    assert 'Attribute "missing" not found in module "app"' in said
    assert f"{NAME}: ended with exit code 3: " in said


def _skip_unless(isolate: bool, runner: Runner) -> None:
    if isolate and not can_isolate(runner):
        pytest.skip("bubblewrap may not make namespaces here")
