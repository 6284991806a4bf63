"""What a component asks for: its requirement files, pyproject.toml and extra requirements.

Everything that decides a resolution is gathered here and digested, so that a lock whose inputs are
the same is kept as it is. Files are read from the repository through a function, never from disk.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from debstack.errors import DependencyError
from debstack.model.definition import Python, Target

ReadFile = Callable[[str], str | None]
"""Returns the text of a file of the repository by its path, None if there is no such file."""

# PEP 518: what builds a repository that does not say what builds it.
_DEFAULT_BUILD = ("setuptools>=40.8.0",)
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(\s+|=)(\S+)")
_HASH = re.compile(r"\s+--hash[= ]\S+")


@dataclass(frozen=True)
class RequirementInputs:
    """What is to be resolved.

    ``files`` holds, by path, the texts of all files that take part, ``entries`` the paths of
    those to begin with, ``requirements`` single requirements from elsewhere. ``sdists`` are the
    distributions that may be built from source where no wheel fits.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    sdists: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is asked for."""
        return not self.entries and not self.requirements

    def digest(self, target: Target) -> str:
        """Return the sha256, in hex, of everything here and of the target's interpreter."""
        content: dict[str, object] = {
            "files": dict(self.files),
            "entries": self.entries,
            "requirements": self.requirements,
            "python": target.python,
            "platform": target.platform,
        }
        if self.sdists:
            content["sdists"] = sorted(self.sdists)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def requirement_mistake(text: str) -> str:
    """Return what keeps ``text`` from being a requirement that a hash can pin; empty if nothing."""
    if not text.isprintable():
        return "holds a line break or control character"
    if "@" in text.partition(";")[0] or "://" in text:
        return "is a direct address, which an index cannot serve and a lock cannot pin by hash"
    if text.startswith("-"):
        return "is an option"
    try:
        Requirement(text)
    except InvalidRequirement:
        return "is not a requirement (PEP 508)"
    return ""


def run_inputs(component: str, python: Python, read: ReadFile) -> RequirementInputs:
    """Return what ``component`` needs to run.

    Raises DependencyError naming the file and line that cannot be locked.
    """
    files: dict[str, str] = {}
    for path in python.requirements:
        _gather(component, path, "python.requirements", read, files)
    declared: tuple[str, ...] = ()
    if python.install == "wheel":
        declared = _declared(component, _pyproject(component, read))
    asked = (*declared, *python.extra_requirements)
    return RequirementInputs(files, python.requirements, asked, python.sdists)


def build_inputs(component: str, read: ReadFile) -> RequirementInputs:
    """Return what building ``component``'s wheel needs. Raises DependencyError."""
    return RequirementInputs(requirements=_build_requires(component, _pyproject(component, read)))


def sdist_inputs(sdist: str, pyproject: str | None) -> RequirementInputs:
    """Return what building the wheel of a source distribution needs. Raises DependencyError.

    ``pyproject`` is the text of its pyproject.toml, if it has one.
    """
    table = _parse(sdist, pyproject) if pyproject is not None else {}
    return RequirementInputs(requirements=_build_requires(sdist, table))


def _build_requires(component: str, pyproject: dict[str, Any]) -> tuple[str, ...]:
    table = pyproject.get("build-system", {})
    requires = table.get("requires", _DEFAULT_BUILD) if isinstance(table, dict) else ()
    return _texts(component, "build-system.requires", requires)


def _gather(
    component: str, path: str, wanted_by: str, read: ReadFile, files: dict[str, str]
) -> None:
    """Add ``path``, and what it includes, to ``files``."""
    if path in files:
        return
    text = read(path)
    if text is None:
        raise DependencyError(
            f"{component}: {path}, named by {wanted_by}, is not in the repository",
            hint=f"correct packaging/components/{component}.toml, or the file that names it",
        )
    files[path] = text
    for number, line in _logical_lines(text):
        include = _INCLUDE.fullmatch(line)
        if include:
            other = posixpath.normpath(posixpath.join(posixpath.dirname(path), include.group(3)))
            if other.startswith(("../", "/")):
                raise _bad_line(
                    component, path, number, f"{include.group(3)} leads out of the tree"
                )
            _gather(component, other, f"{path} line {number}", read, files)
            continue
        mistake = requirement_mistake(_HASH.sub("", line))
        if mistake:
            raise _bad_line(component, path, number, f"{line!r} {mistake}")


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines with content, continued ones joined, comments removed, numbered from 1."""
    lines: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if pending else number
        if raw.rstrip().endswith("\\"):
            pending += raw.rstrip()[:-1] + " "
            continue
        line = re.sub(r"(^|\s)#.*$", "", pending + raw).strip()
        pending = ""
        if line:
            lines.append((start, line))
    if pending.strip():
        lines.append((start, pending.strip()))
    return lines


def _bad_line(component: str, path: str, number: int, reason: str) -> DependencyError:
    return DependencyError(
        f"{component}: {path}, line {number}: {reason}",
        hint="name distributions that an index serves as wheels; the index itself is configured "
        "with UV_DEFAULT_INDEX and PIP_INDEX_URL",
    )


def _pyproject(component: str, read: ReadFile) -> dict[str, Any]:
    text = read("pyproject.toml")
    if text is None:
        raise DependencyError(
            f"{component}: no pyproject.toml in the repository, so no wheel can be built",
            hint="add one, or set python.install = 'tree'",
        )
    return _parse(component, text)


def _parse(component: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DependencyError(f"{component}: pyproject.toml is not valid TOML: {error}") from error


def _declared(component: str, pyproject: dict[str, Any]) -> tuple[str, ...]:
    project = pyproject.get("project")
    if not isinstance(project, dict) or "dependencies" in project.get("dynamic", ()):
        raise DependencyError(
            f"{component}: pyproject.toml leaves its dependencies to the build",
            hint="list them in [project] dependencies, so that they can be locked before building",
        )
    return _texts(component, "project.dependencies", project.get("dependencies", ()))


def _texts(component: str, key: str, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(item, str) for item in raw):
        raise DependencyError(f"{component}: pyproject.toml: {key} is not a list of texts")
    for text in raw:
        mistake = requirement_mistake(text)
        if mistake:
            raise DependencyError(f"{component}: pyproject.toml: {key}: {text!r} {mistake}")
    return tuple(raw)
