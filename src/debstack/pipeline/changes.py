"""The commits between a component's last version and its next, recorded in the lock.

A build has neither the history nor, perhaps, a network: what the changelog says must be in the
lock, like everything else that enters a package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from debstack.accounting.history import cleaned
from debstack.log import Log
from debstack.model.lock import Lock, LockedComponent, LockedPackage
from debstack.pipeline.diff import Subjects
from debstack.pipeline.lock import LockPlan

_MOST = 100


def with_changes(
    planned: LockPlan, previous: Lock | None, subjects: Subjects, log: Log
) -> LockPlan:
    """Return the plan with the commits of every component whose package changes."""
    if not planned.is_new or previous is None:
        return planned
    packages: Mapping[str, LockedPackage] = {
        name: _with_changes(name, package, planned.lock, previous, subjects, log)
        for name, package in planned.lock.packages.items()
    }
    return replace(planned, lock=replace(planned.lock, packages=packages))


def _with_changes(
    name: str, package: LockedPackage, lock: Lock, previous: Lock, subjects: Subjects, log: Log
) -> LockedPackage:
    old, new = previous.components.get(name), lock.components.get(name)
    if package.changed_in != lock.release or old is None or new is None:
        return package
    changes: tuple[str, ...] = ()
    if old.commit != new.commit:
        with log.step(name, f"history from {old.commit[:7]} to {new.commit[:7]}"):
            changes = _changes(old, new, subjects)
    return replace(package, before=old.commit, changes=changes)


def _changes(old: LockedComponent, new: LockedComponent, subjects: Subjects) -> tuple[str, ...]:
    found = subjects(new.url, old.commit, new.commit)
    without = ""
    if found is None:
        found = subjects(new.url, new.commit, old.commit)
        without = "without "
    if found is None:
        return (f"{new.commit[:7]} does not follow {old.commit[:7]}; what differs is not known",)
    lines = [f"{without}{cleaned(each)}" for each in found[:_MOST]]
    left_out = len(found) - _MOST
    return (*lines, f"{without}{left_out} more commits") if left_out > 0 else tuple(lines)
