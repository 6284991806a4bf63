"""What the name of a wheel says about where it runs.

uv and pip each take a platform in their own spelling, and neither reports which tag it chose; so
the tags are read here and compared with the target once more.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from debstack.model.definition import Target

# Debian's name of an architecture, and what wheels call it.
MANYLINUX_OF = {"amd64": "x86_64", "arm64": "aarch64"}
_OLD_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_PLATFORM = re.compile(r"(x86_64|aarch64)-manylinux_2_([0-9]{1,2})")


@dataclass(frozen=True)
class Platform:
    """A machine and the newest minor version of glibc 2 that a wheel for it may need."""

    machine: str
    glibc: int


def parse_platform(text: str) -> Platform | None:
    """Return the platform that uv calls ``text``, or None if it is not a Linux one we package."""
    match = _PLATFORM.fullmatch(text)
    return Platform(match.group(1), int(match.group(2))) if match else None


def normalised(name: str) -> str:
    """Return a distribution's name in the one form that names are compared in (PEP 503)."""
    return canonicalize_name(name)


def is_of(filename: str, name: str, version: str) -> bool:
    """Whether ``filename`` is a wheel of the distribution ``name`` at ``version``."""
    try:
        of_name, of_version, _, _ = parse_wheel_filename(filename)
        return of_name == canonicalize_name(name) and of_version == Version(version)
    except (InvalidWheelFilename, InvalidVersion):
        return False


def runs_on(filename: str, target: Target) -> bool:
    """Whether the tags of a wheel say that it runs on ``target``."""
    return preference(filename, target) != sys.maxsize


def preference(filename: str, target: Target) -> int:
    """Return how far a wheel is from the best one for ``target``: 0 is what pip would install.

    sys.maxsize means that it does not run there at all, or is not a wheel.
    """
    try:
        tags = parse_wheel_filename(filename)[3]
    except (InvalidWheelFilename, InvalidVersion):
        return sys.maxsize
    version = tuple(map(int, target.python.split(".")))
    platforms = pip_platforms(target)
    supported = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{''.join(map(str, version))}", platforms),
    ]
    return min((n for n, tag in enumerate(supported) if tag in tags), default=sys.maxsize)


def pip_platforms(target: Target) -> tuple[str, ...]:
    """Return the platform tags of ``target`` for pip, which wants each compatible one spelt out.

    Raises ValueError if the target's platform is not one that ``parse_platform`` knows.
    """
    platform = parse_platform(target.platform)
    if platform is None:
        raise ValueError(f"{target.platform} is not a platform of wheels")
    old = {glibc: name for name, glibc in _OLD_GLIBC.items()}
    tags: list[str] = []
    for glibc in range(platform.glibc, 4, -1):
        tags.append(f"manylinux_2_{glibc}_{platform.machine}")
        if glibc in old:
            tags.append(f"{old[glibc]}_{platform.machine}")
    return (*tags, f"linux_{platform.machine}")
