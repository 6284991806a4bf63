"""The default project, built once for all tests that look at the result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.build.index import need_index
from tests.build.project import Project, Run, copy_of_this_project, missing_tools
from tests.shared import link_deb_or_copy, shared

from debstack.process import Result, Runner

TOOLS = ("git", "dpkg-buildpackage", "dh", "dh_python3", "lintian", "bwrap", "gpg", "gpgv")


@dataclass(frozen=True)
class BuiltProject:
    """The project after `build` and `publish`, what these printed, and what there is now."""

    project: Project
    build: Run
    publish: Run
    packages: tuple[dict[str, Any], ...]

    def deb(self, package: str) -> Path:
        """Return the signed package in dist/<release>."""
        (entry,) = (each for each in self.packages if each["package"] == package)
        (found,) = self.project.dist.glob(f"*/{entry['file']}")
        return found

    @property
    def names(self) -> list[str]:
        """The packages of the release."""
        return [each["package"] for each in self.packages]


@pytest.fixture(scope="session")
def template() -> Project:
    """Return a copy of this project whose lock is up to date and whose sources are fetched.

    It is for copying: nothing is built in it.
    """
    if reason := missing_tools(*TOOLS):
        pytest.skip(reason)

    def fetched(folder: Path) -> Project:
        project = copy_of_this_project(folder)
        if project.debstack("lock", "--check").returncode:
            need_index()
            project.need("lock")
        if project.debstack("fetch").returncode:
            need_index()
            project.need("fetch")
        # Makes the development keys, which all copies share.
        project.need("build", "--dry-run")
        return project

    return shared("template", fetched)


@pytest.fixture(scope="session")
def built(template: Project, tmp_path_factory: pytest.TempPathFactory) -> BuiltProject:
    """Return the default project after `debstack build` and `debstack publish`."""

    def make(folder: Path) -> BuiltProject:
        project = template.fork(folder)
        build, publish = project.need("build"), project.need("publish")
        packages = project.need("build", "--json").document()
        return BuiltProject(project, build, publish, tuple(packages))

    made = shared("built", make)
    # Tests build and publish in it.
    root = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(made.project.root, root, symlinks=True, copy_function=link_deb_or_copy)
    return replace(made, project=replace(made.project, root=root))


@pytest.fixture(scope="session")
def lintian(
    built: BuiltProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Result]]]:
    """Return what lintian says of each complete package; it works while other tests run."""
    command = ["lintian", "--pedantic", "--fail-on", "error,warning,pedantic", "--allow-root"]
    # The overrides name tags of more than one Debian release.
    command += ["--suppress-tags", "alien-tag"]
    # Tests may put dist/ anew meanwhile.
    folder = tmp_path_factory.mktemp("lintian")
    debs = {name: folder / built.deb(name).name for name in built.names}
    for name, deb in debs.items():
        deb.hardlink_to(built.deb(name))
    with ThreadPoolExecutor(1) as pool:
        yield {
            name: pool.submit(Runner().capture, [*command, deb], check=False)
            for name, deb in debs.items()
        }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Wait for lintian last."""
    items.sort(key=lambda item: item.path.name == "test_packages.py")
