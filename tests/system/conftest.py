"""Fixtures of the system tests: a base root file system and disposable machines."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from tests.shared import shared
from tests.system.handmade import PACKAGES, HandMade, save_hand_made
from tests.system.machine import (
    DEFAULT_PACKAGES,
    HarnessUnavailableError,
    Machine,
    Snapshot,
    base_root,
    cache_directory,
    missing_requirements,
)
from tests.system.project import Project, project_of_repository
from tests.system.releases import releases_after
from tests.system.slim import first_slim
from tests.system.stack import save_installed

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
def release(machines_possible: None) -> Project:
    """Return a project whose default release is built and published; not to be changed."""

    def built(folder: Path) -> Project:
        project = project_of_repository(folder)
        project.build()
        project.publish()
        return project

    return shared("release", built)


@pytest.fixture(scope="session")
def bases(machines_possible: None) -> Callable[..., Path]:
    """Return a function that gives the root file system of a Debian release.

    What follows the release are further Debian packages: ``bases("bookworm", "aptitude")``.
    """

    @functools.cache
    def base_of(os_release: str, *packages: str) -> Path:
        return base_root(os_release, (*DEFAULT_PACKAGES, *packages))

    return base_of


@pytest.fixture(scope="session")
def slims(projects: Path) -> Callable[[str], Project]:
    """Return a function that gives the slim project, its first release built for a release."""

    @functools.cache
    def slim_on(os_release: str) -> Project:
        return first_slim(projects / f"slim-{os_release}", os_release)

    return slim_on


@pytest.fixture(scope="session")
def snapshots(
    bases: Callable[..., Path], slims: Callable[[str], Project]
) -> Callable[..., Snapshot]:
    """Return a function that gives a server of a Debian release with the slim stack.

    What follows the release are further Debian packages that the server has.
    """

    @functools.cache
    def installed_on(os_release: str, *packages: str) -> Snapshot:
        return shared(
            "-".join(("installed", os_release, *packages)),
            lambda folder: save_installed(bases(os_release, *packages), slims(os_release), folder),
        )

    return installed_on


@pytest.fixture(scope="session")
def hand_mades(
    bases: Callable[..., Path], slims: Callable[[str], Project]
) -> Callable[[str], HandMade]:
    """Return a function that gives a server of a Debian release that was laid out by hand."""

    @functools.cache
    def laid_out_on(os_release: str) -> HandMade:
        return shared(
            f"hand-made-{os_release}",
            lambda folder: save_hand_made(bases(os_release, *PACKAGES), slims(os_release), folder),
        )

    return laid_out_on


@pytest.fixture(scope="module")
def os_release(request: pytest.FixtureRequest) -> str:
    """Return the Debian release of the next three fixtures: the default one.

    ``@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)`` runs a test
    on each of them.
    """
    return str(getattr(request, "param", RELEASE))


@pytest.fixture(scope="module")
def os_base(os_release: str, bases: Callable[..., Path]) -> Path:
    """Return the root file system of the Debian release."""
    return bases(os_release)


@pytest.fixture(scope="module")
def slim(os_release: str, slims: Callable[[str], Project]) -> Project:
    """Return the slim project, its first release built and published; not to be changed."""
    return slims(os_release)


@pytest.fixture(scope="module")
def installed_slim(os_release: str, snapshots: Callable[..., Snapshot]) -> Snapshot:
    """Return a snapshot of a server on which the first release of ``slim`` was verified."""
    return snapshots(os_release)


@pytest.fixture(scope="module")
def hand_made(os_release: str, hand_mades: Callable[[str], HandMade]) -> HandMade:
    """Return a server with the first release of ``slim``, laid out by hand and in use."""
    return hand_mades(os_release)


@pytest.fixture(scope="module")
def releases(os_release: str, slim: Project, projects: Path) -> Callable[..., Project]:
    """Return a function that gives ``slim`` with further releases: ``releases("good2")``.

    They are those of :mod:`tests.system.releases`, each built on the one named before it, none
    published: `project.publish(project.releases[1])` publishes the second. Every call gives a new
    copy, which a test may change and publish in.
    """
    return functools.partial(releases_after, slim, projects)


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
