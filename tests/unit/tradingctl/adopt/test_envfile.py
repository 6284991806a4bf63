"""The two ways to read a file of variables, and a way to write one that means the same to both."""

from __future__ import annotations

import pytest

from tradingctl.adopt.envfile import assignment, dotenv, systemd

BOTH = """\
# a comment
A=1
B='one word'
C="two \\"words\\" and \\\\"
D=a#b
E=
F="of several
lines"
G=last
"""


def test_what_both_read_alike() -> None:
    wanted = {
        "A": "1",
        "B": "one word",
        "C": 'two "words" and \\',
        "D": "a#b",
        "E": "",
        "F": "of several\nlines",
        "G": "last",
    }
    assert dotenv(BOTH) == wanted
    assert systemd(BOTH) == wanted


@pytest.mark.parametrize(
    ("line", "application", "manager"),
    [
        ("export A=1", {"A": "1"}, {}),
        ("A=1 # why", {"A": "1"}, {"A": "1 # why"}),
        ("A='1' # why", {"A": "1"}, {"A": "1# why"}),
        ("A = 1", {"A": "1"}, {"A": "1"}),
        ("B=x\nA=${B}y", {"B": "x", "A": "xy"}, {"B": "x", "A": "${B}y"}),
        ("A=${B:-z}", {"A": "z"}, {"A": "${B:-z}"}),
        ('A="1\\n2"', {"A": "1\n2"}, {"A": "1\\n2"}),
        ("A='it''s'", {"A": "it"}, {"A": "its"}),
        ("; A=1", {"; A": "1"}, {}),
        ("not an assignment\nA=1", {"A": "1"}, {"A": "1"}),
    ],
)
def test_what_they_read_otherwise(
    line: str, application: dict[str, str], manager: dict[str, str]
) -> None:
    assert {name: value for name, value in dotenv(line).items() if name[0].isalpha()} == {
        name: value for name, value in application.items() if name[0].isalpha()
    }
    assert systemd(line) == manager


@pytest.mark.parametrize(
    "value",
    ["", "plain", "two words", "a#b", " # c", "it's", 'a "b"', "$HOME", "back\\slash", "a\nb", "ü"],
)
def test_what_is_written_means_the_same_to_both(value: str) -> None:
    line = assignment("NAME", value) + "\n"
    assert systemd(line) == {"NAME": value}
    assert dotenv(line) == {"NAME": value}
