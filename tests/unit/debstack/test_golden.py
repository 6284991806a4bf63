"""What the templates render to is what was read and approved."""

from __future__ import annotations

import difflib

import pytest
from tests.golden.trees import Tree, golden, rendered

ADVICE = "if that is what you want: python -m tests.golden"


@pytest.fixture(scope="module")
def now() -> dict[str, Tree]:
    return rendered()


def test_every_kind_has_a_golden_tree(now: dict[str, Tree]) -> None:
    assert sorted(now) == sorted(golden()), ADVICE
    assert {name.partition("/")[0] for name in now} == {
        "component", "common", "stack", "keyring", "ibgateway",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(golden()))
def test_the_rendered_tree_is_the_golden_one(name: str, now: dict[str, Tree]) -> None:
    expected, got = golden()[name], now[name]
    assert sorted(got) == sorted(expected), ADVICE
    for path, (text, is_program) in expected.items():
        new, is_program_now = got[path]
        difference = "".join(
            difflib.unified_diff(text.splitlines(True), new.splitlines(True), "golden", "now")
        )
        assert not difference, f"{name}/{path}\n{difference}\n{ADVICE}"
        assert is_program_now == is_program, f"{name}/{path} is a program: {is_program_now}"


def test_no_placeholder_is_left_unrendered(now: dict[str, Tree]) -> None:
    left = [
        f"{name}/{path}"
        for name, tree in now.items()
        for path, (text, _) in tree.items()
        if "{{" in text or "{%" in text or "{{" in path
    ]
    assert left == []
