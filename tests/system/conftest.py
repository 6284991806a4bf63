"""Fixtures of the system tests: a base root file system and disposable machines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.system.machine import (
    HarnessUnavailableError,
    Machine,
    base_root,
    cache_directory,
    missing_requirements,
)
from tests.system.project import Project, project_of_repository
from tests.system.slim import slim_project

RELEASE = os.environ.get("DEBSTACK_TEST_RELEASE", "bookworm")


@pytest.fixture(scope="session")
def machines_possible() -> None:
    """Skip, naming what is missing, if this computer cannot run machines."""
    missing = missing_requirements()
    if missing:
        pytest.skip(f"system tests need {', '.join(missing)}")


@pytest.fixture(scope="session")
def base(machines_possible: None) -> Path:
    """Return the root file system the machines of all system tests start from."""
    try:
        return base_root(RELEASE)
    except HarnessUnavailableError as error:
        pytest.skip(f"system tests need {error}")


@pytest.fixture(scope="session")
def projects(machines_possible: None) -> Iterator[Path]:
    """Return a folder for projects, on the file system of the cache; it goes with the session."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="projects-", dir=cache_directory()) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def release(projects: Path) -> Project:
    """Return a project whose default release is built and published; not to be changed."""
    project = project_of_repository(projects / "release")
    project.build()
    project.publish()
    return project


@pytest.fixture(scope="session")
def slim(projects: Path) -> Project:
    """Return the slim project, whose first release is built and published; not to be changed."""
    return slim_project(projects / "slim")


@pytest.fixture
def machine(base: Path) -> Iterator[Machine]:
    """Return a new machine that is off."""
    with Machine(base) as new:
        yield new


@pytest.fixture
def booted(machine: Machine) -> Machine:
    """Return a new machine that has booted."""
    machine.boot()
    return machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the consoles of a failed test's machines to its report."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Machine) and value.console():
                report.sections.append((f"console of {name}", value.console()))
    return report
