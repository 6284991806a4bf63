"""The words in braces that stand for a component's places: ``{root}``, ``{port}`` and so on.

Only a word directly in braces is one: ``${NAME}`` is a variable that systemd expands, and the
braces of JSON in a value stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACEHOLDERS = ("port", "root", "etc", "state", "log")
_WORD = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names(text: str) -> tuple[str, ...]:
    """Return the placeholder-like words of ``text`` in order, known or not."""
    return tuple(_WORD.findall(text))


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with each placeholder replaced. Raises KeyError for one without a value."""
    return _WORD.sub(lambda match: values[match.group(1)], text)
