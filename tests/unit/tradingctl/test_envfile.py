"""Files of variables as systemd reads them; a system test asks systemd the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingctl.envfile import assignments, quoted, read_variables


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\nB=2", [("A", "1"), ("B", "2")]),
        ("A=1\nA=2\n", [("A", "1"), ("A", "2")]),
        ("  A = x y  \r\n", [("A", "x y")]),
        ("A='x \" y'   \n", [("A", 'x " y')]),
        ('A="a\\"b\\$c\\d"\n', [("A", 'a"b$c\\d')]),
        ("A='two\nlines'\nB=1\n", [("A", "two\nlines"), ("B", "1")]),
        ("A='a'\"b\"c\n", [("A", "abc")]),
        ("A=it's\n", [("A", "it's")]),
        ("A=a\\\nb\n", [("A", "ab")]),
        ("A=a\\nb\n", [("A", "anb")]),
        ("A=\nB=''\n", [("A", ""), ("B", "")]),
        ("A=x=y # z\n", [("A", "x=y # z")]),
        ("# A=1\n; A=2\n\n  # A=3\nB=1\n", [("B", "1")]),
        ("# A=1 \\\nA=2\nB=1\n", [("A", "2"), ("B", "1")]),
        ("export A=1\n1A=2\nnothing\nB=1\n", [("B", "1")]),
        ("", []),
        ("A='never ended", [("A", "never ended")]),
        ("A=a\\", [("A", "a")]),
    ],
)
def test_a_text_is_read_as_systemd_reads_it(text: str, found: list[tuple[str, str]]) -> None:
    assert assignments(text) == found


@pytest.mark.parametrize("value", ["", "abc", "a b", "a\"b'c`d$e\\f", "\\", " a ", "#x", "a=b;c"])
def test_what_is_quoted_is_read_back_the_same(value: str) -> None:
    assert assignments(f"A={quoted(value)}\nB=1\n") == [("A", value), ("B", "1")]


def test_a_missing_file_has_no_variables(tmp_path: Path) -> None:
    assert read_variables(tmp_path / "none") == []
