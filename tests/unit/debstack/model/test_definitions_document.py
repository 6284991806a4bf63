"""docs/definitions.md names every key of the schema."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from debstack.model.definition import Component, Stack

DOCUMENT = Path(__file__).parents[4] / "docs/definitions.md"


def keys(kind: Any) -> set[str]:
    """Return the names of all keys of ``kind`` and of the tables in it."""
    found = set()
    for name, hint in get_type_hints(kind).items():
        inner = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
        found |= keys(inner) if inner else {name}
    assert {each.name for each in fields(kind)}
    return found


def test_every_key_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    words = {word.rpartition(".")[2] for word in text.split("`")[1::2]}
    assert keys(Stack) | keys(Component) <= words
