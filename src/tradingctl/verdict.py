"""What the verification of a release found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """How a unit, or all of them together, came out; a skipped one is neither good nor bad."""

    OK = "OK"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


EXIT_CODES = {Result.OK: 0, Result.DEGRADED: 0, Result.FAILED: 3, Result.SKIPPED: 4}


@dataclass(frozen=True)
class Finding:
    """A check that did not come out well: what it asked for, what it got, what to type next.

    ``final`` says that waiting cannot make it better.
    """

    check: str
    expected: str
    got: str
    next_command: str
    final: bool = False


@dataclass(frozen=True)
class UnitVerdict:
    """The result for one unit after ``seconds``; ``reason`` is why it was skipped.

    ``notes`` are what could not be checked.
    """

    unit: str
    component: str
    port: int
    commit: str
    required: bool
    result: Result
    seconds: float = 0.0
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    invocation: str = ""


@dataclass(frozen=True)
class Verification:
    """The result for the release; ``reason`` is why nothing was looked at."""

    release: str
    units: tuple[UnitVerdict, ...] = ()
    seconds: float = 0.0
    reason: str = ""

    @property
    def result(self) -> Result:
        """FAILED if a unit failed, SKIPPED if none was verified, else the worst of the others."""
        results = {unit.result for unit in self.units}
        for result in (Result.FAILED, Result.DEGRADED, Result.OK):
            if result in results:
                return result
        return Result.SKIPPED

    @property
    def exit_code(self) -> int:
        """The exit code of ``tradingctl verify``."""
        return EXIT_CODES[self.result]

    def as_data(self) -> dict[str, Any]:
        """Return what ``verify --json`` prints."""
        return {**asdict(self), "result": self.result}
