"""The dependency lock as a file: strict both ways."""

from __future__ import annotations

import pytest

from debstack.errors import DependencyError
from debstack.model.requirements import (
    BuiltFrom,
    LockedWheel,
    RequirementsLock,
    Sdist,
    parse_requirements,
    version_changes,
)

A, B = "a" * 64, "b" * 64
LOCK = RequirementsLock(
    "web",
    "bookworm",
    "3.11",
    "run",
    "c" * 64,
    (
        LockedWheel("idna", "3.7", "idna-3.7-py3-none-any.whl", A, 66836),
        LockedWheel(
            "typing-extensions", "4.16.0", "typing_extensions-4.16.0-py3-none-any.whl", B, 0
        ),
    ),
)
TEXT = f"""\
# Written by `debstack lock`; do not edit.
# component: web
# target: bookworm
# python: 3.11
# purpose: run
# inputs: sha256:{"c" * 64}
idna==3.7 --hash=sha256:{A}  # idna-3.7-py3-none-any.whl 66836
typing-extensions==4.16.0 --hash=sha256:{B}  # typing_extensions-4.16.0-py3-none-any.whl 0
"""


def test_round_trip() -> None:
    assert LOCK.text() == TEXT
    assert parse_requirements(TEXT, "web.txt") == LOCK


def test_a_lock_without_distributions_is_a_lock() -> None:
    empty = RequirementsLock("web", "bookworm", "3.11", "build", "c" * 64, ())
    assert parse_requirements(empty.text(), "x") == empty


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("# Written by", "# Edited by", 1, "expected '# Written by"),
        ("# target: bookworm", "# targets: bookworm", 3, "expected '# target: …'"),
        ("# purpose: run", "# purpose: fun", 5, "purpose is neither run nor build"),
        (f"sha256:{'c' * 64}", "sha256:cc", 6, "inputs is not a sha256"),
        ("idna==3.7", "--index-url https://example.org\nidna==3.7", 7, "expected one --hash"),
        (f"--hash=sha256:{A}", f"--hash=sha256:{A} --hash=sha256:{B}", 7, "one --hash, got 2"),
        (f" --hash=sha256:{A}", "", 7, "expected one --hash, got 0"),
        (f"sha256:{A}", f"sha256:{A[:-1]}", 7, "expected name==version"),
        ("  # idna-3.7-py3-none-any.whl 66836", "", 7, "the name of the wheel is missing"),
        ("idna-3.7-py3", "idna-3.8-py3", 7, "is not a wheel of idna 3.7"),
        ("idna==3.7", "Idna==3.7", 7, "expected name==version"),
        ("typing-extensions==4.16.0", "idna==4.16.0", 8, "is not a wheel of idna 4.16.0"),
        (".whl 0\n", f".whl 0\nidna==3.7 --hash=sha256:{A}  # idna-3.7-py3-none-any.whl 66836\n",
         9, "not in order"),
        (f"idna==3.7 --hash=sha256:{A}  #", f"idna==3.7 --hash=sha256:{A}  # idna-3.7-py3-none-any."
         f"whl 1\nidna==3.7 --hash=sha256:{A}  #", 8, "idna is named twice"),
        (".whl 0\n", ".whl 0", 8, "cut off"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_file_and_line(
    old: str, new: str, line: int, message: str
) -> None:
    assert old in TEXT
    with pytest.raises(DependencyError) as raised:
        parse_requirements(TEXT.replace(old, new, 1), "locks/web.txt")
    assert raised.value.message.startswith(f"locks/web.txt, line {line}: "), raised.value.message
    assert message in raised.value.message


BUILT = f"""\
docopt==0.6.2 --hash=sha256:{A}  # docopt-0.6.2-py2.py3-none-any.whl 13723
#   built from docopt-0.6.2.tar.gz 25901 sha256:{B}
#   with setuptools==84.2.1 --hash=sha256:{B}  # setuptools-84.2.1-py3-none-any.whl 876263
"""


def test_what_was_built_says_from_what_and_with_what() -> None:
    text = TEXT.replace("idna==", BUILT + "idna==", 1)
    parsed = parse_requirements(text, "web.txt")
    assert parsed.text() == text
    docopt = parsed.wheels[0]
    tool = LockedWheel("setuptools", "84.2.1", "setuptools-84.2.1-py3-none-any.whl", B, 876263)
    assert docopt.built == BuiltFrom("docopt-0.6.2.tar.gz", B, 25901, (tool,))
    assert docopt.sdist == Sdist("docopt", "0.6.2", "docopt-0.6.2.tar.gz", B, 25901)
    assert parsed.digest() != LOCK.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#   built from docopt", "#   made from docopt"),
        ("#   built from", "#   with"),
        ("tar.gz 25901", "zip 25901"),
        ("#   with setuptools==84.2.1", "#   with setuptools==84.2"),
        (f"sha256:{B}\n#   with", f"sha256:{B}\n#   built from a.tar.gz 1 sha256:{B}\n#   with"),
    ],
)
def test_what_it_was_built_from_is_as_strict(old: str, new: str) -> None:
    assert old in BUILT
    text = TEXT.replace("idna==", BUILT.replace(old, new, 1) + "idna==", 1)
    with pytest.raises(DependencyError, match=r"web\.txt, line (8|9)"):
        parse_requirements(text, "web.txt")


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(DependencyError, match=r"x\.txt, line 1"):
        parse_requirements("", "x.txt")


def test_version_changes() -> None:
    changes = version_changes({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "4"})
    assert changes == ("- a 1", "b 1 -> 2", "+ d 4")
