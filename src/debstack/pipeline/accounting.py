"""What a package says of itself in /usr/share/doc: its part of the lock, its SBOM, its licences."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from debstack.accounting import copyright as licences
from debstack.accounting import lock_part, sbom
from debstack.accounting.bundled import LicenceFile, is_licence_file, read_bundled
from debstack.model.definition import Component, Definition, Target
from debstack.model.lock import Lock
from debstack.model.requirements import LockedWheel, RequirementsLock
from debstack.pipeline.packages import Names
from debstack.steps import stage
from debstack.steps.venv import Environment

_OWN_LICENCE_SIZE = 1 << 20


@dataclass(frozen=True)
class Origin:
    """What the account of a package is made from. ``version`` is the package's own."""

    definition: Definition
    lock: Lock
    target: Target
    package: str
    version: str

    def subject(self, summary: str, architecture: str = "all") -> sbom.Subject:
        """Return the package as its SBOM describes it."""
        locked = self.lock.packages[self.package]
        component = self.lock.components.get(self.package)
        return sbom.Subject(
            package=self.package,
            version=self.version,
            architecture=architecture,
            distribution=self.target.name,
            vendor=self.definition.stack.name,
            release=locked.changed_in,
            timestamp=locked.timestamp,
            summary=summary,
            url=component.url if component else "",
            commit=component.commit if component else "",
            tree=component.tree if component else "",
        )


def own_licences(tar: Path) -> tuple[LicenceFile, ...]:
    """Return the licence files at the top of the exported commit in ``tar``."""
    found = []
    with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            at_the_top = "/" not in member.name and is_licence_file(member.name)
            if at_the_top and member.isreg() and member.size <= _OWN_LICENCE_SIZE:
                source = archive.extractfile(member)
                found.append(LicenceFile(member.name, source.read() if source else b""))
    return tuple(sorted(found, key=lambda each: each.path))


def credits(
    component: Component,
    environment: Environment,
    requirements: RequirementsLock,
    own: Sequence[LicenceFile],
) -> Mapping[str, object]:
    """Return what the template of the copyright file needs: paragraphs and texts."""
    bundled = read_bundled(environment.site_packages)
    wheels = {
        one.dist_info: f"from {wheel.filename}, sha256 {wheel.sha256}"
        if (wheel := _wheels(requirements).get(canonicalize_name(one.name)))
        else "built from the commit"
        for one in bundled
    }
    place = _site_packages(component, environment)
    every = [*own, *(licence for one in bundled for licence in one.licences)]
    return {
        "own_licences": licences.references(own),
        "distributions": licences.paragraphs(bundled, place, wheels),
        "licence_texts": licences.texts(every),
    }


def own_credits(own: Sequence[LicenceFile]) -> Mapping[str, object]:
    """Return the same for a component without its distributions."""
    return {
        "own_licences": licences.references(own),
        "distributions": (),
        "licence_texts": licences.texts(own),
    }


def write_component(
    origin: Origin,
    component: Component,
    environment: Environment,
    requirements: RequirementsLock,
    build_requirements: RequirementsLock | None,
    payload: Path,
) -> None:
    """Write SBOM and lock of a component into ``payload``."""
    document = sbom.sbom(
        origin.subject(component.summary, origin.target.architecture),
        read_bundled(environment.site_packages),
        _wheels(requirements),
        _site_packages(component, environment),
    )
    folder = _write(origin, document, payload)
    (folder / lock_part.REQUIREMENTS).write_text(requirements.text(), encoding="utf-8")
    if build_requirements:
        text = build_requirements.text()
        (folder / lock_part.BUILD_REQUIREMENTS).write_text(text, encoding="utf-8")


def write_other(origin: Origin, summary: str, payload: Path) -> None:
    """Write SBOM and lock of a package that bundles nothing into ``payload``."""
    _write(origin, sbom.sbom_of_packages(origin.subject(summary), {}), payload)


def write_stack(origin: Origin, summary: str, packages: Mapping[str, str], payload: Path) -> None:
    """Write SBOM and lock of the package that is the release.

    It depends on exactly these versions of ``packages``, and its lock is the release's.
    """
    subjects = {}
    for name, version in packages.items():
        other = Origin(origin.definition, origin.lock, origin.target, name, version)
        architecture = origin.target.architecture if name in origin.lock.components else "all"
        subjects[name] = other.subject("", architecture)
    _write(origin, sbom.sbom_of_packages(origin.subject(summary), subjects), payload)


def _write(origin: Origin, document: str, payload: Path) -> Path:
    folder = payload / "usr/share/doc" / origin.package
    folder.mkdir(parents=True, exist_ok=True)
    (folder / sbom.FILE).write_text(document, encoding="utf-8")
    stack = Names.of(origin.definition).stack
    carried = lock_part.carried(origin.lock, origin.package, origin.target.name, stack)
    (folder / lock_part.FILE).write_text(carried, encoding="utf-8")
    return folder


def _wheels(requirements: RequirementsLock) -> dict[str, LockedWheel]:
    return {each.name: each for each in requirements.wheels}


def _site_packages(component: Component, environment: Environment) -> str:
    """Return where the distributions lie in the package, without a leading slash."""
    inside = environment.site_packages.relative_to(environment.root)
    return (stage.tree_of(component.name, Path()) / ".venv" / inside).as_posix()
