"""How much room an installation needs, and a veto when there is too little.

dpkg unpacks a package beside the one that it replaces, and the earlier release's files stay in its
generation. A rollback unpacks once more. Asked before anything is unpacked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl.deploy.debs import Deb
from tradingctl.deploy.store import is_linked
from tradingctl.errors import NoSpaceError
from tradingctl.paths import Paths

MARGIN = 64 << 20  # bytes that stay free on each file system
MEGA = 1_000_000


@dataclass(frozen=True)
class Need:
    """So many bytes are needed in a directory, and what for."""

    place: Path
    size: int
    purpose: str


def needs(paths: Paths, debs: Sequence[Deb]) -> list[Need]:
    """Return what an installation of ``debs`` needs. Raises OSError."""
    unpacked = sum(deb.installed_size for deb in debs)
    shipped = paths.shipped("x").parent
    generations = paths.generations("x").parent
    found = [
        Need(shipped, unpacked, "to unpack the packages beside the present ones"),
        Need(shipped, unpacked, "to unpack the present ones again in a rollback"),
    ]
    if _device(shipped) != _device(generations):
        found.append(Need(generations, unpacked, "for the generations that run"))
    copied = [deb for deb in debs if not is_linked(paths, deb.path)]
    if copied:
        size = sum(deb.path.stat().st_size for deb in copied)
        found.append(Need(paths.releases, size, "to keep the packages for a rollback"))
    return found


def require_space(paths: Paths, debs: Sequence[Deb]) -> None:
    """Raise NoSpaceError with the numbers when a file system is too full."""
    by_device: dict[int, list[Need]] = {}
    for need in needs(paths, debs):
        by_device.setdefault(_device(need.place), []).append(need)
    for together in by_device.values():
        wanted = sum(need.size for need in together) + MARGIN
        place = _existing(together[0].place)
        status = os.statvfs(place)
        free = status.f_bavail * status.f_frsize
        if free < wanted:
            parts = "; ".join(f"{need.size / MEGA:.0f} MB {need.purpose}" for need in together)
            raise NoSpaceError(
                f"the file system of {place} has {free / MEGA:.0f} MB free and needs"
                f" {wanted / MEGA:.0f} MB: {parts}; {MARGIN / MEGA:.0f} MB stay free."
                " Nothing was changed",
                f"df -h {place}; apt-get clean",
            )


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _device(path: Path) -> int:
    return _existing(path).stat().st_dev
