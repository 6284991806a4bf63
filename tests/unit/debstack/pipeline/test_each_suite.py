"""One command in several suites, of which some fail."""

from __future__ import annotations

import pytest
from tests.unit.debstack.test_errors import all_errors

from debstack.errors import ArchiveError, DebstackError, DefinitionError, Problem
from debstack.pipeline.each_suite import Failure, demand_no_failure


def test_without_a_failure_nothing_is_raised() -> None:
    demand_no_failure("not signed", [])


@pytest.mark.parametrize("kind", list(all_errors()))
def test_the_first_failure_says_how_it_ends_and_each_is_told(kind: type[DebstackError]) -> None:
    first = (
        DefinitionError([Problem("packaging/keys/keys.toml", "prodd", "is no channel")])
        if kind is DefinitionError
        else kind("no key", hint="bring it", details=["looked here"])
    )
    second = ArchiveError("damaged")
    failures = [Failure("bookworm-staging", first), Failure("bookworm-prod", second)]
    with pytest.raises(kind) as caught:
        demand_no_failure("not signed", failures)
    assert caught.value.exit_code == kind.exit_code
    assert caught.value.message == "not signed: bookworm-staging, bookworm-prod"
    assert caught.value.hint == first.hint
    assert caught.value.details == (
        f"bookworm-staging: {first.message}",
        *(f"    {each}" for each in first.details),
        f"    next: {first.hint}",
        "bookworm-prod: damaged",
    )
