"""The dependency locks of a component, all of them recorded in repos.lock."""

from __future__ import annotations

from debstack.errors import LockError
from debstack.model.requirements import RequirementsLock
from debstack.pipeline.contents import Release


def dependencies(release: Release, component: str) -> tuple[RequirementsLock, ...]:
    """Return the lock of what runs the component, and of what builds its wheel if it has one.

    Raises LockError if repos.lock records none, and as ``Release.requirements``.
    """
    locked, target = release.lock.components[component], release.target.name
    found = [(release.requirements(component), locked.requirements)]
    if release.definition.component(component).python.install == "wheel":
        found.append((release.build_requirements(component), locked.build_requirements))
    for lock, digests in found:
        if target not in digests:
            raise LockError(
                f"repos.lock does not record packaging/locks/{target}: the dependencies of"
                f" {component} ({lock.purpose})",
                hint="restore packaging/repos.lock with git, or run: debstack lock",
            )
    return tuple(lock for lock, _ in found)
