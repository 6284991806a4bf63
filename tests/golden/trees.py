"""What the templates render to for every package of the default project, with fixed inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from debstack.accounting.bundled import LicenceFile
from debstack.describe import describe
from debstack.model.definition import Component, Definition
from debstack.model.lock import Lock, LockedComponent, LockedPackage
from debstack.model.places import packaging_folder
from debstack.model.reading import load
from debstack.pipeline import accounting, contents
from debstack.pipeline.contents import Release
from debstack.pipeline.packages import IBGATEWAY, Names, kind_of, release_packages
from debstack.steps import stage
from debstack.steps.venv import Environment

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent

_RELEASE, _TIMESTAMP = "2026.11.23.1", 1_795_000_000
_METADATA = """\
Metadata-Version: 2.1
Name: Demo-Library
Version: 1.2.3
License: MIT
Author: Demo Author
"""

Tree = dict[str, tuple[str, bool]]
"""By path: the text of each file, or "-> target" of a link, and whether it is a program."""


def rendered() -> dict[str, Tree]:
    """Return the tree of each package by <kind>/<package>."""
    release = _release()
    trees = {}
    for package in release_packages(release.definition):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "source"
            folder.mkdir()
            _render(release, package, folder)
            kind = kind_of(package, release.definition)
            trees[f"{kind}/{package}"] = dict(_read(folder))
    return trees


def golden() -> dict[str, Tree]:
    """Return the trees as they are kept in the repository."""
    found = sorted(GOLDEN.glob("*/*/debian"))
    return {each.parent.relative_to(GOLDEN).as_posix(): dict(_read(each.parent)) for each in found}


def write(trees: dict[str, Tree]) -> None:
    """Keep ``trees`` in place of those in the repository."""
    for name in golden():
        _remove(GOLDEN / name)
    for name, tree in trees.items():
        for path, (text, is_program) in tree.items():
            file = GOLDEN / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            file.chmod(0o755 if is_program else 0o644)


def _release() -> Release:
    definition = _fixed(load(ROOT))
    target = definition.stack.targets[0]
    components = {
        each.name: LockedComponent(each.source.url, each.source.ref, f"{n}" * 40, f"{n}" * 64)
        for n, each in enumerate(definition.components, 1)
    }
    packages = {
        name: LockedPackage(_RELEASE, _TIMESTAMP, {target.name: "0" * 64})
        for name in release_packages(definition)
    }
    return Release(ROOT, definition, Lock(1, _RELEASE, _TIMESTAMP, components, packages), target)


def _fixed(definition: Definition) -> Definition:
    """Return the definition without what a deployment changes first."""
    archive = replace(definition.stack.archive, uri="https://apt.example.org/")
    stack = replace(
        definition.stack, archive=archive, maintainer="Operations <ops@example.org>",
        homepage="https://example.org/",
    )  # fmt: skip
    return replace(definition, stack=stack)


def _render(release: Release, package: str, folder: Path) -> None:
    names = Names.of(release.definition)
    if package == names.common:
        contents.common_contents(release, folder)
    elif package == names.stack:
        contents.stack_contents(release, folder)
    elif package == IBGATEWAY:
        contents.ibgateway_contents(release, package, folder)
    elif package == names.keyring:
        keys = {
            "repository": {"B" * 40: b"repository key\n"},
            "package": {"A" * 40: b"package key\n"},
        }
        contents.keyring_contents(release, release.version(package), keys, True, folder)
    else:
        _render_component(release, release.definition.component(package), folder)


def _render_component(release: Release, component: Component, folder: Path) -> None:
    """Do what ``component_contents`` does, without a repository and without wheels."""
    payload = folder / "payload"
    tree = stage.tree_of(component.name, payload)
    for state in component.state:
        if state.tracked:
            (tree / state.path).mkdir(parents=True)
            (tree / state.path / "tracked.csv").write_text("tracked by the repository\n")
    described = describe(
        component, release.version(component.name), _RELEASE,
        release.lock.components[component.name].commit,
    )  # fmt: skip
    homepage = release.definition.stack.homepage
    stage.stage(component, described, homepage, packaging_folder(release.project), payload)
    # Outside the payload: what is in an environment is not for a golden file.
    environment = Environment(folder.parent / "venv", release.target.python)
    metadata = environment.site_packages / "demo_library-1.2.3.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(_METADATA)
    (metadata.parent / "LICENSE").write_text("Do what you want.\n\nAt your own risk.\n")
    own = [LicenceFile("LICENSE", b"All rights reserved.\n")] if component.units[1:] else []
    requirements = release.requirements(component.name)
    credits = accounting.credits(component, environment, requirements, own)
    contents.write_component_debian(release, component, credits, folder)


def _read(folder: Path) -> Iterator[tuple[str, tuple[str, bool]]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # tradingctl is shipped as it is: a copy of it would be of no use here.
        if "/tradingctl/" in name:
            continue
        if path.is_symlink():
            yield name, (f"-> {path.readlink()}\n", False)
        elif path.is_file():
            yield name, (path.read_text("utf-8"), bool(path.stat().st_mode & 0o100))


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
