"""The dependency lock of one component and target: every wheel, its hash, and nothing of an index.

The lines are hashed requirements that pip and uv both install from; the file name and size behind
each are comments to them and part of the lock to us. PEP 751's pylock.toml is not used because it
carries the addresses of one index, and uv ignores a local folder of wheels for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from debstack.errors import DependencyError
from debstack.model.wheel import is_of, normalised

Purpose = Literal["run", "build"]
"""What the distributions are for: to run the component, or to build its wheel."""

_FIRST_LINE = "# Written by `debstack lock`; do not edit."
_HEADER = ("component", "target", "python", "purpose", "inputs")
_HEADER_LINE = re.compile(r"# ([a-z]+): (\S+)")
_BUILT_FROM = re.compile(
    r"#   built from (?P<filename>\S+\.tar\.gz) (?P<size>0|[1-9][0-9]*)"
    r" sha256:(?P<sha256>[0-9a-f]{64})"
)
_BUILT_WITH = "#   with "
_DISTRIBUTION = re.compile(
    r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[A-Za-z0-9.!+_-]+)"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<filename>\S+\.whl) (?P<size>0|[1-9][0-9]*)"
)


@dataclass(frozen=True, order=True)
class Sdist:
    """A source distribution of which a wheel has to be built; ``size`` is in bytes, or 0."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, order=True)
class BuiltFrom:
    """What a wheel was built from: a source distribution, and with which distributions."""

    filename: str
    sha256: str
    size: int
    requires: tuple[LockedWheel, ...]

    def lines(self) -> list[str]:
        """Return the lines of the lock's file: comments to pip and uv."""
        return [
            f"#   built from {self.filename} {self.size} sha256:{self.sha256}",
            *(f"{_BUILT_WITH}{each.line}" for each in self.requires),
        ]


@dataclass(frozen=True, order=True)
class LockedWheel:
    """One distribution: the very file that is installed.

    ``name`` is normalised, ``size`` is in bytes and 0 where the index did not tell. ``built`` is
    set where no index has the wheel.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    built: BuiltFrom | None = None

    @property
    def requirement(self) -> str:
        """The line that makes pip and uv accept this file and no other."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def line(self) -> str:
        """The line of the lock's file."""
        return f"{self.requirement}  # {self.filename} {self.size}"

    @property
    def sdist(self) -> Sdist | None:
        """The source distribution that it is built from."""
        if self.built is None:
            return None
        built = self.built
        return Sdist(self.name, self.version, built.filename, built.sha256, built.size)


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
        for each in self.wheels:
            lines += [each.line, *(each.built.lines() if each.built else ())]
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
        if line.startswith("#   ") and wheels:
            wheels[-1] = _with_source(wheels[-1], line, file, number)
            continue
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


def _with_source(wheel: LockedWheel, line: str, file: str, number: int) -> LockedWheel:
    """Return ``wheel`` with what a line below it says of its source."""
    match = _BUILT_FROM.fullmatch(line)
    if match and wheel.built is None:
        built = BuiltFrom(match["filename"], match["sha256"], int(match["size"]), ())
        return replace(wheel, built=built)
    if wheel.built and line.startswith(_BUILT_WITH):
        tool = _parse_wheel(line.removeprefix(_BUILT_WITH), file, number)
        return replace(wheel, built=replace(wheel.built, requires=(*wheel.built.requires, tool)))
    raise _malformed(file, number, f"expected what {wheel.name} is built from, got {line!r}")


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
