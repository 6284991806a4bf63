"""Pinning one component: its commit, and the dependency locks of what that commit asks for."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from debstack.errors import DependencyError
from debstack.log import Log
from debstack.model.definition import Component, Definition, Target
from debstack.model.lock import Lock, LockedComponent
from debstack.model.places import (
    build_requirements_lock,
    locks_folder,
    packaging_folder,
    requirements_lock,
)
from debstack.model.requirement_inputs import (
    ReadFile,
    RequirementInputs,
    build_inputs,
    run_inputs,
)
from debstack.model.requirements import (
    LockedWheel,
    Purpose,
    RequirementsLock,
    Sdist,
    parse_requirements,
    version_changes,
)
from debstack.model.trust import policy, shown
from debstack.steps.fetch import Exported, Wanted


class Resolve(Protocol):
    """Resolves requirements for a target; see debstack.steps.resolve."""

    def __call__(
        self,
        subject: str,
        inputs: RequirementInputs,
        target: Target,
        *,
        previous: Sequence[LockedWheel],
        upgrade: bool,
        exclude_newer: str,
    ) -> tuple[LockedWheel | Sdist, ...]:
        """Return the wheels, and the sources of those that have to be built."""


BuildSdist = Callable[[str, Sdist, Target], LockedWheel]
"""Builds the wheel of a source distribution; see debstack.pipeline.built."""


InputDigest = Callable[[str, Definition, LockedComponent | None, Target], str]
"""Returns the sha256 of everything that enters a package on a target."""


@dataclass(frozen=True)
class Tools:
    """What a plan asks: ``resolve_ref`` gives the commit that a ref of a URL means now."""

    resolve_ref: Callable[[str, str], str]
    export: Callable[[Wanted], Exported]
    resolve: Resolve
    input_digest: InputDigest
    build_sdist: BuildSdist
    log: Log = field(default_factory=lambda: Log(quiet=True))


@dataclass(frozen=True)
class Change:
    """One difference between the previous lock and the planned one, and why."""

    subject: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what} ({self.reason})"


_EDITED = "the file was edited"

EVERYTHING = frozenset({"*"})
"""Every distribution may move to a newer version."""


@dataclass(frozen=True)
class Request:
    """What is to be locked: ``components`` may move, with ``upgrade`` their dependencies too.

    ``upgrade`` is ``EVERYTHING``, or the names of the distributions that may move. What was
    uploaded after ``exclude_newer`` (a time, RFC 3339) does not count. With ``accept_moved_tags`` a
    tag may be another object than the previous lock says.
    """

    definition: Definition
    project: Path
    previous: Lock | None
    tools: Tools
    components: Collection[str]
    upgrade: frozenset[str] = frozenset()
    accept_moved_tags: bool = False
    exclude_newer: str = ""


@dataclass(frozen=True)
class Pinned:
    """A pinned component. ``files`` are its dependency locks by path below packaging/locks."""

    component: LockedComponent
    files: Mapping[str, str]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class _Wanted:
    """One dependency lock that a component is to have; ``recorded`` is its digest so far."""

    component: str
    purpose: Purpose
    inputs: RequirementInputs
    target: Target
    recorded: str | None

    @property
    def path(self) -> str:
        naming = build_requirements_lock if self.purpose == "build" else requirements_lock
        return naming(self.target.name, self.component)


def pin(component: Component, request: Request) -> Pinned:
    """Return what ``component`` is from now on, asking its repository and the index.

    Raises SourceError or DependencyError.
    """
    name = component.name
    before = request.previous.components.get(name) if request.previous else None
    trusted = policy(component.source, packaging_folder(request.project))
    url, ref = component.source.url, component.source.ref
    stays = before is not None and name not in request.components
    if before and stays:
        url, ref, commit = before.url, before.ref, before.commit
        trusted = replace(trusted, follows=ref)
    else:
        commit = request.tools.resolve_ref(url, ref)
    asked = Wanted(url, commit, trusted, locking=True, ask=not stays)
    if before and before.url == url:
        # Whoever serves it: the same commit has the same files, and a tag does not move.
        tree = before.tree if before.commit == commit else None
        refs = {} if request.accept_moved_tags else before.refs
        asked = replace(asked, refs=refs, tree=tree)
    with request.tools.log.step(name, f"fetching {commit[:7]}"):
        exported = request.tools.export(asked)
    vouched = exported.vouched
    after = LockedComponent(
        url, ref, commit, exported.tree, refs=vouched.refs, signer=vouched.signer
    )
    changes = _source_changes(name, before, after)
    files: dict[str, str] = {}
    digests: dict[Purpose, dict[str, str]] = {"run": {}, "build": {}}
    read = tar_reader(name, exported.tar)
    for wanted in _wanted(component, before, read, request.definition.stack.targets):
        lock, change = _lock_dependencies(wanted, request)
        files[wanted.path] = lock.text()
        digests[wanted.purpose][wanted.target.name] = lock.digest()
        changes += [change] if change else []
    after = replace(after, requirements=digests["run"], build_requirements=digests["build"])
    return Pinned(after, files, tuple(changes))


def _wanted(
    component: Component,
    before: LockedComponent | None,
    read: ReadFile,
    targets: Sequence[Target],
) -> Iterator[_Wanted]:
    """Yield the dependency locks that ``component`` is to have."""
    name = component.name
    run = run_inputs(name, component.python, read)
    for target in targets:
        recorded = before.requirements.get(target.name) if before else None
        yield _Wanted(name, "run", run, target, recorded)
    if component.python.install == "wheel":
        build = build_inputs(name, read)
        for target in targets:
            recorded = before.build_requirements.get(target.name) if before else None
            yield _Wanted(name, "build", build, target, recorded)


def _lock_dependencies(wanted: _Wanted, request: Request) -> tuple[RequirementsLock, Change | None]:
    """Keep or renew one dependency lock."""
    tools, component, target = request.tools, wanted.component, wanted.target
    existing, reason = _existing(wanted, request.project)
    # Where a file was edited, its versions are kept, but not what it says of wheels built here.
    vouched = existing.wheels if existing and not reason else ()
    moving = request.upgrade if component in request.components else frozenset()
    upgrade = moving == EVERYTHING or bool(existing and moving & existing.versions().keys())
    digest = wanted.inputs.digest(target)
    if existing and existing.inputs != digest:
        reason = reason or "its requirements changed"
    elif existing and upgrade:
        reason = reason or "an upgrade was asked for"
    if existing and not reason:
        return existing, None
    with tools.log.step(component, f"resolving for {target.name}, to {wanted.purpose} it"):
        previous = existing.wheels if existing else ()
        found = tools.resolve(
            component,
            wanted.inputs,
            target,
            previous=[each for each in previous if each.name not in moving],
            upgrade=moving == EVERYTHING,
            exclude_newer=request.exclude_newer,
        )
        wheels = [_built(each, wanted, vouched, upgrade, tools) for each in found]
    lock = RequirementsLock(
        component, target.name, target.python, wanted.purpose, digest, tuple(sorted(wheels))
    )
    return lock, _dependency_change(wanted, existing, lock, reason)


def _built(
    found: LockedWheel | Sdist,
    wanted: _Wanted,
    previous: Sequence[LockedWheel],
    upgrade: bool,
    tools: Tools,
) -> LockedWheel:
    """Return the wheel, the one of the previous lock if that was built from the same source."""
    if isinstance(found, LockedWheel):
        return found
    for wheel in previous:
        if wheel.sdist == found and not upgrade:
            return wheel
    return tools.build_sdist(wanted.component, found, wanted.target)


def _dependency_change(
    wanted: _Wanted, old: RequirementsLock | None, new: RequirementsLock, reason: str
) -> Change | None:
    if new == old and reason != _EDITED:
        return None
    if old is None:
        what = f"{len(new.wheels)} distributions"
    else:
        what = ", ".join(version_changes(old.versions(), new.versions()))
    return Change(wanted.component, f"{wanted.path}: {what or 'the same versions'}", reason)


def _source_changes(
    name: str, before: LockedComponent | None, after: LockedComponent
) -> list[Change]:
    short = after.commit[:7]
    if before is None:
        return [Change(name, f"added at {short}", "it was not locked yet")]
    changes = []
    if before.url != after.url:
        changes.append(Change(name, f"{before.url} -> {after.url}", "its url was changed"))
    if before.ref != after.ref:
        changes.append(Change(name, f"{before.ref} -> {after.ref}", "its ref was changed"))
    if before.commit != after.commit:
        reason = f"that is {after.ref} now"
        changes.append(Change(name, f"commit {before.commit[:7]} -> {short}", reason))
    if (set(before.refs), before.signer) != (set(after.refs), after.signer):
        says = [f"{shown(name)} {object_id[:7]}" for name, object_id in after.refs.items()]
        says += [after.signer] if after.signer else []
        changes.append(Change(name, f"vouched for by {', '.join(says)}", "that is its policy"))
    return changes


def _existing(wanted: _Wanted, project: Path) -> tuple[RequirementsLock | None, str]:
    """Return the existing dependency lock, and why it does not count, or nothing if it does.

    It is None if there is none or it cannot be read. One that was edited, merged, or written by a
    lock that was interrupted before repos.lock does not count, but tells the versions so far.
    """
    try:
        content = (locks_folder(project) / wanted.path).read_bytes()
    except FileNotFoundError:
        return None, "the file is missing" if wanted.recorded else "it was not locked yet"
    edited = wanted.recorded and hashlib.sha256(content).hexdigest() != wanted.recorded
    reason = _EDITED if edited else ""
    try:
        return parse_requirements(content.decode("utf-8", "replace"), wanted.path), reason
    except DependencyError as error:
        return None, reason or f"the file is damaged: {error.message}"


def tar_reader(component: str, tar: Path) -> ReadFile:
    """Return a function that reads text files of the repository in ``tar``."""

    def read(path: str) -> str | None:
        with tarfile.open(tar) as archive:
            try:
                stream = archive.extractfile(path)
            except KeyError:
                return None
            content = stream.read() if stream else None
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DependencyError(f"{component}: {path} is not UTF-8: {error}") from error

    return read
