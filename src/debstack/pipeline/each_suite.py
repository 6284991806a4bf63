"""One command in several suites: one that fails does not keep the others from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from debstack.archive.suite import Suite
from debstack.errors import DebstackError, told_again


class HasSuite(Protocol):
    """What stands for a suite."""

    @property
    def suite(self) -> Suite:
        """The suite."""


Place = TypeVar("Place", bound=HasSuite)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """A suite in which a command failed, and why."""

    suite: str
    error: DebstackError


def each_suite(
    places: Iterable[Place], act: Callable[[Place], Result]
) -> tuple[list[Result], list[Failure]]:
    """Return what ``act`` returned for each of ``places``, and where it raised a DebstackError."""
    results, failures = [], []
    for place in places:
        try:
            results.append(act(place))
        except DebstackError as error:
            failures.append(Failure(place.suite.name, error))
    return results, failures


def demand_no_failure(what: str, failures: Sequence[Failure]) -> None:
    """Raise one error, with the exit code of the first, that names every suite in ``failures``.

    ``what`` says what was done in none of them: "not signed".
    """
    if not failures:
        return
    first = failures[0].error
    details = []
    for each in failures:
        details.append(f"{each.suite}: {each.error.message}")
        details += [f"    {line}" for line in each.error.details]
        if each.error.hint:
            details.append(f"    next: {each.error.hint}")
    suites = ", ".join(each.suite for each in failures)
    raise told_again(first.exit_code, f"{what}: {suites}", hint=first.hint, details=details)
