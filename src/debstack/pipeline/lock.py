"""``debstack lock``: what the next release is made of, planned first and then written.

A plan asks the repositories and the index, and changes nothing. What did not change keeps its
commit, its dependencies, its version and its bits; a plan without changes is the previous lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from debstack.errors import LockError
from debstack.model import names
from debstack.model.definition import Definition
from debstack.model.lock import FORMAT, Lock, LockedPackage, next_release, write_atomically
from debstack.model.places import lock_file, locks_folder
from debstack.model.rules_stack import own_packages
from debstack.pipeline.pin import EVERYTHING, Change, Pinned, Request, Tools, pin

Digests = Mapping[str, Mapping[str, str]]
"""By package and target, the sha256 of everything that enters the package."""


@dataclass(frozen=True)
class LockPlan:
    """What ``apply`` will do: ``files`` and ``removed`` are paths below packaging/locks.

    ``is_new`` tells whether ``lock`` is a new release and not the previous lock.
    """

    changes: tuple[Change, ...]
    lock: Lock
    files: Mapping[str, str]
    removed: tuple[str, ...]
    is_new: bool


def plan(
    definition: Definition,
    project: Path,
    previous: Lock | None,
    tools: Tools,
    *,
    now: datetime,
    components: Collection[str] | None = None,
    upgrade: Collection[str] = (),
    exclude_newer: str = "",
    rebuild: Collection[str] = (),
    packages: Sequence[str] = (),
    accept_moved_tags: bool = False,
) -> LockPlan:
    """Return the lock that follows ``previous``, with every change and its reason.

    Only ``components`` move to what their ref means now, by default all; a new one always does.
    ``upgrade`` names the distributions that may move too, or is pin.EVERYTHING; what was uploaded
    after ``exclude_newer`` does not count for what is resolved. ``rebuild`` names packages that get
    a new version though nothing in them changed, as after an upgrade of the tools that build them.
    ``packages`` are further ones without a repository. ``accept_moved_tags`` believes the server
    when a tag is not the object any more that the previous lock says. Raises LockError,
    SourceError or DependencyError.
    """
    everything = [component.name for component in definition.components]
    for name in components or ():
        if name not in everything:
            raise LockError(
                f"no component is called {name}", hint=names.did_you_mean(name, everything)
            )
    for name in rebuild:
        if name not in all_packages(definition, packages):
            near = names.did_you_mean(name, all_packages(definition, packages))
            raise LockError(f"no package is called {name}", hint=near)
    asked = everything if components is None else components
    request = Request(
        definition, project, previous, tools, asked,
        frozenset(upgrade), accept_moved_tags, exclude_newer,
    )  # fmt: skip
    _demand_known(request)
    pinned = {each.name: pin(each, request) for each in definition.components}
    changes = [change for each in pinned.values() for change in each.changes]
    changes += _removed_components(request, pinned)
    digests = _digests(request, pinned, packages)
    lock, package_changes = _release(request, pinned, digests, now, rebuild)
    files = {path: text for each in pinned.values() for path, text in each.files.items()}
    return LockPlan(
        (*changes, *package_changes),
        lock,
        {path: text for path, text in files.items() if not _is_written(project, path, text)},
        stray_files(project, files),
        is_new=lock is not previous,
    )


def _demand_known(request: Request) -> None:
    """Raise LockError for a distribution that is to move and that no dependency lock has."""
    known = {
        line.partition("==")[0]
        for path in locks_folder(request.project).glob("*/*.txt")
        for line in path.read_text("utf-8", "replace").splitlines()
        if "==" in line and not line.startswith("#")
    }
    for name in sorted(request.upgrade - EVERYTHING - known):
        raise LockError(
            f"no component depends on {name}",
            hint=names.did_you_mean(name, sorted(known)) or "see packaging/locks",
        )


def apply(plan: LockPlan, project: Path) -> None:
    """Write what ``plan`` says: the dependency locks, then repos.lock, which makes it count."""
    folder = locks_folder(project)
    for path, text in plan.files.items():
        write_atomically(folder / path, text)
    if plan.is_new:
        plan.lock.write(lock_file(project))
    for path in plan.removed:
        (folder / path).unlink(missing_ok=True)


def all_packages(definition: Definition, packages: Sequence[str] = ()) -> tuple[str, ...]:
    """Return every package of a release: the components', the stack's own, and ``packages``."""
    components = tuple(component.name for component in definition.components)
    return (*components, *own_packages(definition.stack), *packages)


def stray_files(project: Path, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the dependency locks, as paths below their folder, that are not ``wanted``."""
    folder = locks_folder(project)
    present = (path.relative_to(folder).as_posix() for path in folder.glob("*/*.txt"))
    return tuple(sorted(path for path in present if path not in wanted))


def _removed_components(request: Request, pinned: Mapping[str, Pinned]) -> list[Change]:
    return [
        Change(name, "removed", "the stack does not name it any more")
        for name in (request.previous.components if request.previous else ())
        if name not in pinned
    ]


def _digests(request: Request, pinned: Mapping[str, Pinned], packages: Sequence[str]) -> Digests:
    digest = request.tools.input_digest
    return {
        package: {
            target.name: digest(
                package,
                request.definition,
                pinned[package].component if package in pinned else None,
                target,
            )
            for target in request.definition.stack.targets
        }
        for package in all_packages(request.definition, packages)
    }


def _release(
    request: Request,
    pinned: Mapping[str, Pinned],
    digests: Digests,
    now: datetime,
    rebuild: Collection[str],
) -> tuple[Lock, list[Change]]:
    """Return the previous lock if nothing differs from it, else the next release and its why."""
    previous = request.previous
    components = {name: each.component for name, each in pinned.items()}
    before = previous.packages if previous else {}
    same_inputs = {name: dict(package.inputs) for name, package in before.items()} == digests
    if previous and same_inputs and dict(previous.components) == components and not rebuild:
        return previous, []
    release = next_release(previous.release if previous else None, now)
    timestamp = max(int(now.timestamp()), previous.timestamp if previous else 0)
    stack = own_packages(request.definition.stack)[-1]
    changes, packages = [], {}
    for name, inputs in digests.items():
        reason = _why_package_changes(name, inputs, request, pinned)
        if name in rebuild:
            reason = reason or "it was asked for"
        if reason or name == stack:
            packages[name] = LockedPackage(release, timestamp, inputs)
            why = reason or "it names the release"
            changes.append(Change(name, f"package changes in {release}", why))
        else:
            packages[name] = replace(before[name], inputs=inputs)
    changes += [
        Change(name, "package removed", "nothing builds it any more")
        for name in before
        if name not in digests
    ]
    return Lock(FORMAT, release, timestamp, components, packages), changes


def _why_package_changes(
    name: str, inputs: Mapping[str, str], request: Request, pinned: Mapping[str, Pinned]
) -> str:
    """Return why a package needs a new version, or nothing.

    A target that is new builds the same version as the others have: their bits are not touched.
    """
    if request.previous is None or name not in request.previous.packages:
        return "it is new"
    before = request.previous.packages[name].inputs
    differing = sorted(t for t in inputs if t in before and before[t] != inputs[t])
    if differing:
        return f"its inputs differ for {', '.join(differing)}"
    old = request.previous.components.get(name)
    new = pinned[name].component if name in pinned else None
    # The version names the commit, so it cannot change under the same release id.
    moved = (old.commit if old else "") != (new.commit if new else "")
    return "its commit differs" if moved else ""


def _is_written(project: Path, path: str, text: str) -> bool:
    try:
        return (locks_folder(project) / path).read_bytes() == text.encode()
    except FileNotFoundError:
        return False
