"""What the name of a wheel says about where it runs.

uv and pip each take a platform in their own spelling, and neither reports which tag it chose; so
the tags are read here and compared with the target once more.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from debstack.model.definition import Target

# Debian's name of an architecture, and what wheels call it.
MANYLINUX_OF = {"amd64": "x86_64", "arm64": "aarch64"}
_OLD_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_PLATFORM = re.compile(r"(x86_64|aarch64)-manylinux_2_([0-9]{1,2})")
_FILENAME = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9.!+_]+)(-[0-9][A-Za-z0-9._]*)?"
    r"-(?P<python>[a-z0-9._]+)-(?P<abi>[A-Za-z0-9._]+)-(?P<platform>[A-Za-z0-9._]+)\.whl"
)


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
    return re.sub(r"[-_.]+", "-", name).lower()


def is_of(filename: str, name: str, version: str) -> bool:
    """Whether ``filename`` is a wheel of the distribution ``name`` at ``version``."""
    match = _FILENAME.fullmatch(filename)
    return (
        match is not None
        and normalised(match["name"]) == normalised(name)
        and _numbers(match["version"]) == _numbers(version)
    )


def _numbers(version: str) -> list[int | str]:
    """Return a version's parts; file names write 2026.01 where the index says 2026.1."""
    parts = re.findall(r"[0-9]+|[a-z]+", version.lower())
    return [int(part) if part.isdigit() else part for part in parts]


def runs_on(filename: str, target: Target) -> bool:
    """Whether the tags of a wheel say that it runs on ``target``."""
    match = _FILENAME.fullmatch(filename)
    platform = parse_platform(target.platform)
    if match is None or platform is None:
        return False
    minor = int(target.python.partition(".")[2])
    return any(
        _python_fits(python, abi, minor)
        for python in match["python"].split(".")
        for abi in match["abi"].split(".")
    ) and any(_platform_fits(tag, platform) for tag in match["platform"].split("."))


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


def preference(filename: str, target: Target) -> int:
    """Return how far a wheel is from the best one for ``target``: 0 is what pip would install."""
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return sys.maxsize
    version = tuple(map(int, target.python.split(".")))
    platforms = pip_platforms(target)
    supported = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{''.join(map(str, version))}", platforms),
    ]
    return min((n for n, tag in enumerate(supported) if tag in tags), default=sys.maxsize)


def _python_fits(python: str, abi: str, minor: int) -> bool:
    if python == f"cp3{minor}":
        return abi in (f"cp3{minor}", "abi3", "none")
    match = re.fullmatch(r"(py|cp)3([0-9]*)", python)
    if match is None or int(match.group(2) or 0) > minor:
        return False
    return abi == "none" if match.group(1) == "py" else abi == "abi3"


def _platform_fits(tag: str, platform: Platform) -> bool:
    if tag == "any" or tag == f"linux_{platform.machine}":
        return True
    name, _, rest = tag.partition("_")
    if name in _OLD_GLIBC:
        return rest == platform.machine and _OLD_GLIBC[name] <= platform.glibc
    match = re.fullmatch(r"manylinux_2_([0-9]+)_(.+)", tag)
    return (
        match is not None
        and match.group(2) == platform.machine
        and int(match.group(1)) <= platform.glibc
    )
