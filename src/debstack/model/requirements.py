"""The dependency lock of one component and target: every wheel, its hash, and nothing of an index.

The lines are hashed requirements that pip and uv both install from; the file name and size behind
each are comments to them and part of the lock to us. PEP 751's pylock.toml is not used because it
carries the addresses of one index, and uv ignores a local folder of wheels for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from debstack.errors import DependencyError
from debstack.model.wheel import is_of, normalised

Purpose = Literal["run", "build"]
"""What the distributions are for: to run the component, or to build its wheel."""

_FIRST_LINE = "# Written by `debstack lock`; do not edit."
_HEADER = ("component", "target", "python", "purpose", "inputs")
_HEADER_LINE = re.compile(r"# ([a-z]+): (\S+)")
_DISTRIBUTION = re.compile(
    r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[A-Za-z0-9.!+_-]+)"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<filename>\S+\.whl) (?P<size>0|[1-9][0-9]*)"
)


@dataclass(frozen=True, order=True)
class LockedWheel:
    """One distribution: the very file that is installed.

    ``name`` is normalised, ``size`` is in bytes and 0 where the index did not tell.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        """The line that makes pip and uv accept this file and no other."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class RequirementsLock:
    """All distributions of a component on a target, sorted by name.

    ``inputs`` is the digest of what they were resolved from (RequirementInputs.digest).
    """

    component: str
    target: str
    python: str
    purpose: Purpose
    inputs: str
    wheels: tuple[LockedWheel, ...]

    def text(self) -> str:
        """Return the lock as the text of its file."""
        header = (self.component, self.target, self.python, self.purpose, f"sha256:{self.inputs}")
        lines = [_FIRST_LINE]
        lines += [f"# {key}: {value}" for key, value in zip(_HEADER, header, strict=True)]
        lines += [f"{each.requirement}  # {each.filename} {each.size}" for each in self.wheels]
        return "\n".join(lines) + "\n"

    def digest(self) -> str:
        """Return the sha256, in hex, of the text: what repos.lock records."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def versions(self) -> dict[str, str]:
        """Return each distribution's version by name."""
        return {each.name: each.version for each in self.wheels}


def version_changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return what became of each distribution, given their versions by name, sorted by name."""
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            changes.append(f"+ {name} {new[name]}")
        elif name not in new:
            changes.append(f"- {name} {old[name]}")
        elif old[name] != new[name]:
            changes.append(f"{name} {old[name]} -> {new[name]}")
    return tuple(changes)


def parse_requirements(text: str, file: str) -> RequirementsLock:
    """Return the lock that ``text`` holds; ``file`` names it in errors.

    Raises DependencyError naming file and line of anything that ``text()`` would not have written.
    """
    lines = text.split("\n")
    header = _parse_header(lines, file)
    wheels: list[LockedWheel] = []
    for number, line in enumerate(lines[len(header) + 1 : -1], len(header) + 2):
        wheel = _parse_wheel(line, file, number)
        if wheels and wheel.name <= wheels[-1].name:
            reason = "named twice" if wheel.name == wheels[-1].name else "not in order"
            raise _malformed(file, number, f"{wheel.name} is {reason}")
        wheels.append(wheel)
    lock = RequirementsLock(
        header["component"],
        header["target"],
        header["python"],
        "build" if header["purpose"] == "build" else "run",
        header["inputs"].removeprefix("sha256:"),
        tuple(wheels),
    )
    if lock.text() != text:
        raise _malformed(file, len(lines), "the file is cut off, or its header was edited")
    return lock


def _parse_header(lines: list[str], file: str) -> dict[str, str]:
    if lines[0] != _FIRST_LINE:
        raise _malformed(file, 1, f"expected {_FIRST_LINE!r}")
    header = {}
    for number, key in enumerate(_HEADER, 2):
        line = lines[number - 1] if number <= len(lines) else ""
        match = _HEADER_LINE.fullmatch(line)
        if match is None or match.group(1) != key:
            raise _malformed(file, number, f"expected '# {key}: …', got {line!r}")
        header[key] = match.group(2)
    if re.fullmatch(r"sha256:[0-9a-f]{64}", header["inputs"]) is None:
        raise _malformed(file, len(_HEADER) + 1, "inputs is not a sha256")
    if header["purpose"] not in ("run", "build"):
        raise _malformed(file, len(_HEADER), "purpose is neither run nor build")
    return header


def _parse_wheel(line: str, file: str, number: int) -> LockedWheel:
    match = _DISTRIBUTION.fullmatch(line)
    if match is None:
        raise _malformed(file, number, _what_is_wrong(line))
    wheel = LockedWheel(
        match["name"], match["version"], match["filename"], match["sha256"], int(match["size"])
    )
    if wheel.name != normalised(wheel.name) or not is_of(wheel.filename, wheel.name, wheel.version):
        raise _malformed(
            file, number, f"{wheel.filename} is not a wheel of {wheel.name} {wheel.version}"
        )
    return wheel


def _what_is_wrong(line: str) -> str:
    hashes = line.count("--hash=")
    if hashes != 1:
        return f"expected one --hash, got {hashes}: {line!r}"
    if ".whl" not in line:
        return f"the name of the wheel is missing: {line!r}"
    return f"expected name==version --hash=sha256:…  # file size, got {line!r}"


def _malformed(file: str, number: int, reason: str) -> DependencyError:
    return DependencyError(
        f"{file}, line {number}: {reason}",
        hint="restore the file with git, or write it anew with `debstack lock`",
    )
