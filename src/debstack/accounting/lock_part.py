"""The part of a release's lock that one package was built from, as the package carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from debstack.model.lock import Lock, LockedComponent

FILE = "repos.lock"
REQUIREMENTS = "requirements.txt"
BUILD_REQUIREMENTS = "build-requirements.txt"


def part_of_lock(lock: Lock, package: str, target: str) -> Lock:
    """Return what ``lock`` says of ``package`` on ``target``, and nothing else.

    It is a lock of its own, of the release in which the package changed: what it says must not
    change with the rest of a later release, whose package this may be as well.
    """
    locked = lock.packages[package]
    components = {}
    if package in lock.components:
        components[package] = replace(
            lock.components[package], **_of_target(lock.components[package], target)
        )
    inputs = {name: digest for name, digest in locked.inputs.items() if name == target}
    packages = {package: replace(locked, inputs=inputs)}
    return Lock(lock.format, locked.changed_in, locked.timestamp, components, packages)


def carried(lock: Lock, package: str, target: str, stack: str) -> str:
    """Return the lock that ``package`` carries: its part; all if it is ``stack``."""
    return (lock if package == stack else part_of_lock(lock, package, target)).text()


def component_document(component: LockedComponent, target: str) -> dict[str, Any]:
    """Return all that a lock says of a component, of the targets only ``target``."""
    return asdict(component) | _of_target(component, target)


def _of_target(component: LockedComponent, target: str) -> dict[str, Any]:
    """Return those fields that hold a value for each target, reduced to ``target``.

    Of a mapping by anything else nothing is left: where a server's refs stood when a release was
    locked may change while the commit, and so the package, stays.
    """
    return {
        name: {key: each for key, each in value.items() if key == target}
        for name, value in vars(component).items()
        if isinstance(value, Mapping)
    }
