"""The changelog's lines, which are made of other people's words."""

from __future__ import annotations

import pytest

from debstack.accounting.history import cleaned, lines

OLD, NEW = "1" * 40, "2" * 40


def test_an_entry_names_the_commits_since_the_version_before() -> None:
    found = lines("2026.11.23.1", "https://git.example.org/x", NEW, OLD, ["abc1234 Fix: it"])
    assert found == [
        f"Release 2026.11.23.1: commit {'2' * 12} of https://git.example.org/x.",
        f"Since commit {'1' * 12}:",
        "abc1234 Fix: it",
    ]


def test_the_first_release_and_an_unchanged_commit_say_so() -> None:
    assert "first release" in lines("2026.11.23.1", "x", NEW, "", ())[-1]
    assert "did not change" in lines("2026.11.23.1", "x", NEW, NEW, ())[-1]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("abc Closes: #123, closes: 4", "abc Closes #123, closes 4"),
        ("LP: #99", "LP #99"),
        (
            "two\n\nlines\n -- Mallory <m@example.org>  now",
            "two lines -- Mallory <m@example.org> now",
        ),
        ("red \x1b[31m and \u202egnp.exe", "red [31m and gnp.exe"),
        ("x" * 500, "x" * 199 + "…"),
        ("discloses: nothing", "discloses: nothing"),
    ],
)
def test_a_subject_gives_no_orders(subject: str, expected: str) -> None:
    assert cleaned(subject) == expected
