"""The uv that debstack uses, by name and hash: no Debian has it, so its wheels take it along."""

from __future__ import annotations

import hashlib

from debstack.model.definition import Target
from debstack.model.requirements import LockedWheel, RequirementsLock

VERSION = "0.13.9"

_FILES = {
    "amd64": (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
        17606939,
    ),
    "arm64": (
        "manylinux_2_28_aarch64",
        "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
        16864124,
    ),
}

PROGRAM = f"uv-{VERSION}.data/scripts/uv"
"""Where the program lies in the wheel."""


def uv_wheel(architecture: str) -> LockedWheel:
    """Return the wheel with uv for a Debian architecture. Raises KeyError."""
    tags, sha256, size = _FILES[architecture]
    return LockedWheel("uv", VERSION, f"uv-{VERSION}-py3-none-{tags}.whl", sha256, size)


def uv_lock(target: Target) -> RequirementsLock:
    """Return a lock of nothing but uv, to be fetched and verified as any other."""
    inputs = hashlib.sha256(f"uv=={VERSION}".encode()).hexdigest()
    wheel = uv_wheel(target.architecture)
    return RequirementsLock("uv", target.name, target.python, "build", inputs, (wheel,))
