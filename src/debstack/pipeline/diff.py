"""``debstack diff``: what changes between two locks, in the words of the people who deploy it.

Nothing is claimed that the files do not show: where a lock's dependency files are not at hand, its
distributions are unknown, and only the digests say whether they differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import DependencyError
from debstack.model.lock import Lock, LockedComponent
from debstack.model.places import build_requirements_lock, requirements_lock
from debstack.model.requirements import RequirementsLock, parse_requirements, version_changes

Subjects = Callable[[str, str, str], Sequence[str] | None]
"""Returns, given a URL and two commits, the subjects of those after the first up to the second,
newest first; None where the history is not at hand or the first is not an ancestor."""

RequirementLocks = Mapping[str, RequirementsLock]
"""Dependency locks by their path below packaging/locks."""

_SHORT = 7
_MOST_SUBJECTS = 20


@dataclass(frozen=True)
class DependencyDifference:
    """A dependency lock that differs. ``changes`` is None where the distributions are unknown."""

    path: str
    changes: tuple[str, ...] | None


@dataclass(frozen=True)
class ComponentDifference:
    """A component that differs; ``old`` or ``new`` is None if it was added or removed.

    ``subjects`` are the commits between the two, None where they are not at hand; with
    ``backwards`` they are those that the new commit, being older, leaves out.
    """

    name: str
    old: LockedComponent | None
    new: LockedComponent | None
    subjects: tuple[str, ...] | None
    backwards: bool
    dependencies: tuple[DependencyDifference, ...]


@dataclass(frozen=True)
class PackageMove:
    """A package whose version differs: the releases in which it last changed, None if in none."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Difference:
    """All that differs between two locks."""

    old_release: str
    new_release: str
    components: tuple[ComponentDifference, ...]
    packages: tuple[PackageMove, ...]

    def text(self) -> str:
        """Return the difference as lines for a person."""
        if self.old_release == self.new_release and not (self.components or self.packages):
            return f"release {self.new_release}: no difference\n"
        lines = [f"release {self.old_release} -> {self.new_release}"]
        for component in self.components:
            lines += ["", *_component_lines(component)]
        if self.packages:
            lines += ["", "packages:"]
            lines += [f"  {each.name} {_move(each.old, each.new)}" for each in self.packages]
        return "\n".join(lines) + "\n"


def diff(
    old: Lock,
    old_requirements: RequirementLocks,
    new: Lock,
    new_requirements: RequirementLocks,
    subjects: Subjects | None = None,
) -> Difference:
    """Return what differs between ``old`` and ``new``.

    The requirements are those found by ``read_requirements``; ``subjects`` tells the history.
    """
    components = []
    for name in sorted(old.components.keys() | new.components.keys()):
        before, after = old.components.get(name), new.components.get(name)
        if before != after:
            commits, backwards = _history(before, after, subjects)
            dependencies = _dependencies(name, before, after, (old_requirements, new_requirements))
            components.append(
                ComponentDifference(name, before, after, commits, backwards, dependencies)
            )
    packages = []
    for name in sorted(old.packages.keys() | new.packages.keys()):
        was, now = old.packages.get(name), new.packages.get(name)
        move = PackageMove(name, was.changed_in if was else None, now.changed_in if now else None)
        packages += [move] if move.old != move.new else []
    return Difference(old.release, new.release, tuple(components), tuple(packages))


def read_requirements(lock: Lock, folder: Path) -> dict[str, RequirementsLock]:
    """Return those dependency locks in ``folder`` that are the very ones ``lock`` records.

    A file with another digest is another release's, and is left out like a missing one.
    """
    found = {}
    for name, component in lock.components.items():
        for path, digest in _recorded(name, component).items():
            try:
                content = (folder / path).read_bytes()
                if hashlib.sha256(content).hexdigest() == digest:
                    found[path] = parse_requirements(content.decode(), path)
            except (OSError, UnicodeDecodeError, DependencyError):
                continue
    return found


def _recorded(name: str, component: LockedComponent | None) -> dict[str, str]:
    """Return the digests of a component's dependency locks by path."""
    if component is None:
        return {}
    run = {requirements_lock(t, name): d for t, d in component.requirements.items()}
    build = {build_requirements_lock(t, name): d for t, d in component.build_requirements.items()}
    return run | build


def _history(
    old: LockedComponent | None, new: LockedComponent | None, subjects: Subjects | None
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the subjects between the two commits, and whether the new one is the older."""
    if subjects is None or old is None or new is None or old.commit == new.commit:
        return None, False
    forwards = subjects(new.url, old.commit, new.commit)
    if forwards is not None:
        return tuple(forwards), False
    backwards = subjects(new.url, new.commit, old.commit)
    return (None, False) if backwards is None else (tuple(backwards), True)


def _dependencies(
    name: str,
    old: LockedComponent | None,
    new: LockedComponent | None,
    requirements: tuple[RequirementLocks, RequirementLocks],
) -> tuple[DependencyDifference, ...]:
    before, after = _recorded(name, old), _recorded(name, new)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        known = [
            locks[path].versions() if path in locks else (None if path in recorded else {})
            for locks, recorded in zip(requirements, (before, after), strict=True)
        ]
        was, now = known
        changes = None if was is None or now is None else version_changes(was, now)
        found.append(DependencyDifference(path, changes))
    return tuple(found)


def _component_lines(component: ComponentDifference) -> list[str]:
    old, new = component.old, component.new
    old_commit = old.commit[:_SHORT] if old else None
    new_commit = new.commit[:_SHORT] if new else None
    same = " (same commit)" if old_commit == new_commit else ""
    older = " (an older commit)" if component.backwards else ""
    lines = [f"{component.name} {_move(old_commit, new_commit)}{same}{older}"]
    if old and new and old.url != new.url:
        lines.append(f"  url: {old.url} -> {new.url}")
    if old and new and old.ref != new.ref:
        lines.append(f"  ref: {old.ref} -> {new.ref}")
    lines += _subject_lines(component)
    for dependency in component.dependencies:
        lines.append(f"  {dependency.path}:")
        changes = dependency.changes
        if changes is None:
            lines.append("    differs; the distributions of one side are unknown")
        else:
            lines += [f"    {change}" for change in changes or ("the same versions",)]
    return lines


def _subject_lines(component: ComponentDifference) -> list[str]:
    if component.old is None or component.new is None:
        return []
    if component.subjects is None:
        same = component.old.commit == component.new.commit
        return [] if same else ["  commits between the two are not known"]
    mark = "without" if component.backwards else "with"
    shown = [f"  {mark} {subject}" for subject in component.subjects[:_MOST_SUBJECTS]]
    left_out = len(component.subjects) - _MOST_SUBJECTS
    return [*shown, f"  {mark} {left_out} more commits"] if left_out > 0 else shown


def _move(old: str | None, new: str | None) -> str:
    if old is None:
        return f"added at {new}"
    return f"removed, was {old}" if new is None else f"{old} -> {new}" if old != new else old
