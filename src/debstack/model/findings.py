"""Collecting the problems of one file, with the rules that several kinds of keys share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from debstack.errors import Problem
from debstack.model import names
from debstack.model.placeholders import PLACEHOLDERS
from debstack.model.placeholders import names as placeholder_names

MOST_DAYS = 365_000
"""A thousand years: the dates before and after today end at 1 and at 9999."""


@dataclass
class Findings:
    """The problems found in ``file`` so far; each rule adds to them and returns whether it held."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, key: str, message: str, suggestion: str = "") -> None:
        """Report one problem."""
        self.problems.append(Problem(self.file, key, message, suggestion))

    def require(self, holds: bool, key: str, message: str, suggestion: str = "") -> bool:
        """Report a problem unless ``holds``."""
        if not holds:
            self.add(key, message, suggestion)
        return holds

    def line(self, key: str, text: str) -> bool:
        """Demand one line of text: a newline would start a new setting in a generated file."""
        if not text.strip():
            return self.require(False, key, "is empty", "write one line of text")
        return self.printable(key, text)

    def printable(self, key: str, text: str) -> bool:
        """Demand that ``text``, which may be empty, holds no line break or control character."""
        return self.require(
            text.isprintable(), key, "holds a line break or control character", "write one line"
        )

    def days(self, key: str, days: int, suggestion: str) -> bool:
        """Demand a number of days that a date can be moved by."""
        return self.require(days >= 1, key, "is below 1", suggestion) and self.require(
            days <= MOST_DAYS, key, f"is above {MOST_DAYS}", suggestion
        )

    def package(self, key: str, name: str) -> bool:
        """Demand a legal package name."""
        legal = names.as_package(name)
        return self.require(
            names.is_package(name),
            key,
            f"{name!r} is not a Debian package name",
            f"{legal} would be one" if legal else "a-z, 0-9, +, -, . and at least two of them",
        )

    def unique(self, key: str, items: Iterable[tuple[str, Hashable]]) -> None:
        """Demand that no value of ``items``, (key, value) pairs, comes twice."""
        seen: dict[Hashable, str] = {}
        for where, value in items:
            first = seen.setdefault(value, where)
            self.require(first == where, where, f"{key} {value} is the same as {first}", "once")

    def relative(self, key: str, path: str) -> bool:
        """Demand a path that stays below the folder it is relative to."""
        if not path.strip() or path in (".", "./"):
            return self.require(False, key, f"{path!r} names no path", "a path below the root")
        stripped = path.lstrip("/")
        if path != stripped:
            return self.require(
                False, key, f"{path!r} is absolute", f"relative to the root: {stripped}"
            )
        inside = ".." not in PurePosixPath(path).parts
        return self.require(
            inside, key, f"{path!r} leads out with '..'", "stay below the root"
        ) and (self.printable(key, path))

    def placeholders(self, key: str, text: str, *, has_port: bool) -> bool:
        """Demand that every placeholder is known, and that ``{port}`` has a port to stand for."""
        held = True
        for name in placeholder_names(text):
            if name not in PLACEHOLDERS:
                near = names.nearest(name, PLACEHOLDERS)
                known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
                suggestion = f"did you mean {{{near}}}?" if near else f"known: {known}"
                held = self.require(False, key, f"unknown placeholder {{{name}}}", suggestion)
            elif name == "port" and not has_port:
                held = self.require(False, key, "{port} of a unit without a port", "set its port")
        return held
