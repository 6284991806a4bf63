"""Every error that debstack raises on purpose, each with its own exit code and a next step.

    DebstackError                 3
    ├── DefinitionError           4   packaging/*.toml is wrong; carries every problem found
    ├── LockError                 5   repos.lock is missing, malformed or disagrees with its inputs
    ├── SourceError               6   a commit cannot be fetched or is not what the lock says
    ├── DependencyError           7   a Python dependency cannot be resolved, fetched or verified
    ├── BuildError                8   a build tool failed
    ├── StartError                9   the built component does not start or is not healthy
    ├── SigningError             10   a key is missing or unusable, or a signature does not verify
    ├── ArchiveError             11   the apt repository cannot be read or written
    ├── ToolMissingError         12   a program that debstack runs is not installed
    ├── VulnerableError          13   an advisory is about a distribution in the lock
    ├── AdvisoryError            14   advisories could not be looked at, so nothing is known
    └── RebuildError             15   a release that is built again is not the same

Exit codes 0 to 2 keep their customary meaning: success, a Python traceback (a bug), wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class DebstackError(Exception):
    """Something that the user can act upon.

    ``message`` says what happened and where, ``hint`` is the next thing to do, ``details`` are
    further lines (a tool's last output, a list of differences), ``log`` is the file that has all
    that was printed, if there is one.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        self.log: Path | None = None


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a definition file: where it is, what is wrong, what would be right."""

    file: str
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.file}: {self.key}: {self.message}"
            if self.key
            else f"{self.file}: {self.message}"
        )
        return f"{text} ({self.suggestion})" if self.suggestion else text


class DefinitionError(DebstackError):
    """The definitions under packaging/ are wrong; ``problems`` lists every mistake found."""

    exit_code = 4
    problems: tuple[Problem, ...] = ()

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in the definitions",
            hint="correct the keys named above; nothing was written",
            details=[str(problem) for problem in sorted(problems)],
        )
        self.problems = tuple(problems)


class LockError(DebstackError):
    """repos.lock is missing, malformed, or disagrees with what it pins."""

    exit_code = 5


class SourceError(DebstackError):
    """A repository or commit cannot be fetched, or is not what the lock says."""

    exit_code = 6


class DependencyError(DebstackError):
    """A Python dependency cannot be resolved, fetched or verified."""

    exit_code = 7


class BuildError(DebstackError):
    """A build tool failed."""

    exit_code = 8


class StartError(DebstackError):
    """The built component does not start, or is not healthy when started."""

    exit_code = 9


class SigningError(DebstackError):
    """A key is missing or unusable, or a signature does not verify."""

    exit_code = 10


class ArchiveError(DebstackError):
    """The apt repository cannot be read or written."""

    exit_code = 11


class ToolMissingError(DebstackError):
    """A program that debstack runs is not installed."""

    exit_code = 12


class VulnerableError(DebstackError):
    """An advisory is about a distribution in the lock."""

    exit_code = 13


class AdvisoryError(DebstackError):
    """Advisories could not be looked at, or not all of them: nothing is known."""

    exit_code = 14


class RebuildError(DebstackError):
    """A release cannot be built again, or what comes of it is not the same."""

    exit_code = 15


def told_again(
    exit_code: int, message: str, *, hint: str = "", details: Sequence[str] = ()
) -> DebstackError:
    """Return an error of the class that has ``exit_code``, with what was told of one before.

    Not by the class's own constructor, which may want more than was told: a DefinitionError's are
    the problems themselves.
    """
    kinds = {each.exit_code: each for each in DebstackError.__subclasses__()}
    kind = kinds.get(exit_code, DebstackError)
    error = kind.__new__(kind)
    DebstackError.__init__(error, message, hint=hint, details=details)
    return error
