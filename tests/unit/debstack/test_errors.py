"""The tree of errors: exit codes, and problems in definitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from debstack import errors
from debstack.cli.root import debstack
from debstack.errors import DebstackError, DefinitionError, Problem, told_again

MANUAL = Path(__file__).parents[3] / "debian-self/debian/debstack.1"


def all_errors(kind: type[DebstackError] = DebstackError) -> Iterator[type[DebstackError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from all_errors(each)


def test_every_error_has_an_exit_code_of_its_own_from_3_on() -> None:
    codes = {each.exit_code: each.__name__ for each in all_errors()}
    assert sorted(codes) == list(range(3, 3 + len(list(all_errors()))))


def test_the_docstring_draws_the_tree() -> None:
    drawn = dict(re.findall(r"(\w+Error) +([0-9]+)", errors.__doc__ or ""))
    assert drawn == {each.__name__: str(each.exit_code) for each in all_errors()}


def test_the_help_and_the_manual_page_list_the_exit_codes() -> None:
    page = MANUAL.read_text("utf-8").partition(".SH EXIT STATUS\n")[2].partition(".SH ")[0]
    for text in ((debstack.epilog or "").partition("Exit codes:")[2], page):
        listed = {int(code) for code in re.findall(r"([0-9]+) [a-z]", text)}
        assert listed == {0, 2} | {each.exit_code for each in all_errors()}


def test_an_error_carries_message_hint_and_details() -> None:
    error = errors.BuildError("failed", hint="try again", details=["a", "b"])
    assert (str(error), error.message, error.hint) == ("failed", "failed", "try again")
    assert error.details == ("a", "b")


def test_all_problems_are_listed_by_file_and_key() -> None:
    problems = [
        Problem("b.toml", "port", "is taken", "take another"),
        Problem("a.toml", "", "is no TOML"),
    ]
    error = DefinitionError(problems)
    assert error.message == "2 problems in the definitions"
    assert error.details == ("a.toml: is no TOML", "b.toml: port: is taken (take another)")
    assert DefinitionError(problems[:1]).message == "1 problem in the definitions"


@pytest.mark.parametrize("kind", list(all_errors()))
def test_any_error_can_be_told_again(kind: type[DebstackError]) -> None:
    again = told_again(kind.exit_code, "it failed", hint="try this", details=["one", "two"])
    assert type(again) is kind
    assert (str(again), again.message, again.hint) == ("it failed", "it failed", "try this")
    assert (again.details, again.log) == (("one", "two"), None)
    if isinstance(again, DefinitionError):
        assert again.problems == ()
