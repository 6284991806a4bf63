"""The dependency locks of a component, compared with what repos.lock says of them."""

from __future__ import annotations

from debstack.errors import LockError
from debstack.model.requirements import RequirementsLock
from debstack.pipeline.contents import Release


def dependencies(release: Release, component: str) -> tuple[RequirementsLock, ...]:
    """Return the lock of what runs the component, and of what builds its wheel if it has one.

    Raises LockError if repos.lock was made with another, and as ``Release.requirements``.
    """
    locked, target = release.lock.components[component], release.target.name
    found = [(release.requirements(component), locked.requirements.get(target))]
    if release.definition.component(component).python.install == "wheel":
        found.append((release.build_requirements(component), locked.build_requirements.get(target)))
    for lock, digest in found:
        if lock.digest() != digest:
            raise LockError(
                f"packaging/locks/{target}: the dependencies of {component} ({lock.purpose}) are"
                " not those in repos.lock",
                hint="restore the file with git, or run: debstack lock",
                details=[
                    f"in repos.lock: sha256 {digest}",
                    f"in the file:   sha256 {lock.digest()}",
                ],
            )
    return tuple(lock for lock, _ in found)
