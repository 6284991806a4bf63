"""``debstack lock --check``: whether repos.lock still is the lock of these definitions.

No repository and no index is asked: what can be told from the files alone is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import DependencyError
from debstack.model.definition import Component, Definition, Target
from debstack.model.lock import Lock, LockedComponent
from debstack.model.places import build_requirements_lock, locks_folder, requirements_lock
from debstack.model.requirements import Purpose, parse_requirements
from debstack.pipeline.lock import all_packages, stray_files
from debstack.pipeline.pin import InputDigest

_RELOCK = "run `debstack lock`"


@dataclass(frozen=True)
class Disagreement:
    """One thing that the lock says and the definitions or files do not, and what to do."""

    subject: str
    message: str
    hint: str = _RELOCK

    def __str__(self) -> str:
        return f"{self.subject}: {self.message} ({self.hint})"


def check(
    definition: Definition,
    project: Path,
    lock: Lock,
    input_digest: InputDigest,
    packages: Sequence[str] = (),
) -> list[Disagreement]:
    """Return everything in which ``lock`` disagrees with the definitions and files of ``project``.

    ``packages`` are those without a repository besides the stack's own, as for ``plan``.
    """
    found = list(_membership("component", lock.components, [c.name for c in definition.components]))
    wanted_files: set[str] = set()
    for component in definition.components:
        locked = lock.components.get(component.name)
        if locked is None:
            continue
        found += _source(component, locked)
        for file in _dependency_files(component, locked, definition.stack.targets):
            wanted_files.add(file.path)
            found += file.disagreements(project)
    found += [
        Disagreement(path, "belongs to no component and target", _RELOCK)
        for path in stray_files(project, wanted_files)
    ]
    expected = all_packages(definition, packages)
    found += _membership("package", lock.packages, expected)
    for package in expected:
        if package in lock.packages:
            found += _inputs(package, definition, lock, input_digest)
    return found


def _membership(
    what: str, locked: Collection[str], defined: Sequence[str]
) -> Iterator[Disagreement]:
    for name in defined:
        if name not in locked:
            yield Disagreement(name, f"this {what} is not in repos.lock")
    for name in locked:
        if name not in defined:
            yield Disagreement(name, f"repos.lock has this {what}, the definitions do not")


def _source(component: Component, locked: LockedComponent) -> Iterator[Disagreement]:
    source = component.source
    if source.url != locked.url:
        yield Disagreement(component.name, f"url is {source.url}, locked was {locked.url}")
    if source.ref != locked.ref:
        yield Disagreement(component.name, f"ref is {source.ref}, locked was {locked.ref}")


@dataclass(frozen=True)
class _DependencyFile:
    """A dependency lock that is recorded, or should be, in repos.lock."""

    component: str
    purpose: Purpose
    target: Target
    recorded: str | None

    @property
    def path(self) -> str:
        naming = build_requirements_lock if self.purpose == "build" else requirements_lock
        return naming(self.target.name, self.component)

    def disagreements(self, project: Path) -> Iterator[Disagreement]:
        """Yield how the file differs from what is recorded of it."""
        if self.recorded is None:
            yield Disagreement(self.path, "is not recorded in repos.lock")
            return
        try:
            content = (locks_folder(project) / self.path).read_bytes()
        except FileNotFoundError:
            yield Disagreement(self.path, "is missing", f"restore it with git, or {_RELOCK}")
            return
        got = hashlib.sha256(content).hexdigest()
        if got != self.recorded:
            yield Disagreement(
                self.path,
                f"was edited: expected sha256 {self.recorded}, got {got}",
                f"restore it with git, or {_RELOCK}",
            )
            return
        try:
            lock = parse_requirements(content.decode("utf-8", "replace"), self.path)
        except DependencyError as error:
            yield Disagreement(self.path, error.message)
            return
        expected = (self.component, self.target.name, self.target.python, self.purpose)
        said = (lock.component, lock.target, lock.python, lock.purpose)
        if said != expected:
            yield Disagreement(
                self.path, f"is the lock of {' '.join(said)}, expected {' '.join(expected)}"
            )


def _dependency_files(
    component: Component, locked: LockedComponent, targets: Sequence[Target]
) -> Iterator[_DependencyFile]:
    for target in targets:
        recorded = locked.requirements.get(target.name)
        yield _DependencyFile(component.name, "run", target, recorded)
        if component.python.install == "wheel":
            recorded = locked.build_requirements.get(target.name)
            yield _DependencyFile(component.name, "build", target, recorded)


def _inputs(
    package: str, definition: Definition, lock: Lock, input_digest: InputDigest
) -> Iterator[Disagreement]:
    recorded: Mapping[str, str] = lock.packages[package].inputs
    targets = {target.name: target for target in definition.stack.targets}
    for name, target in targets.items():
        got = input_digest(package, definition, lock.components.get(package), target)
        if name not in recorded:
            yield Disagreement(package, f"repos.lock does not know the target {name}")
        elif recorded[name] != got:
            yield Disagreement(
                package,
                f"what enters it for {name} has changed since it was locked: "
                f"expected {recorded[name]}, got {got}",
            )
    for name in recorded:
        if name not in targets:
            yield Disagreement(package, f"repos.lock has a target {name}, the stack has not")
