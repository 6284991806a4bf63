"""Fixtures of the system tests: a base root file system and disposable machines."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.system.machine import (
    HarnessUnavailableError,
    Machine,
    base_root,
    missing_requirements,
)

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
