"""Files of variables as systemd reads them (EnvironmentFile= in systemd.exec(5))."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPED = '"\\`$'
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = " \t\r"


def read_variables(file: Path) -> list[tuple[str, str]]:
    """Return the assignments of a file in order, none if there is no such file. Raises OSError."""
    try:
        return assignments(file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return []


def assignments(text: str) -> list[tuple[str, str]]:
    """Return name and value of each assignment in order; the last one of a name counts.

    Lines that systemd passes over are left out: comments, and names that are none.
    """
    found = []
    position = 0
    while position < len(text):
        end = _end_of_line(text, position)
        line = text[position:end].lstrip(_BLANK + "\n")
        if not line or line[0] in "#;" or "=" not in line:
            # systemd 252 takes a backslash for the comment's continuation, 257 does not.
            position = end + 1
            continue
        start = text.index("=", position) + 1
        name = text[position : start - 1].strip()
        value, position = _value(text, start)
        if _NAME.fullmatch(name):
            found.append((name, value))
    return found


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _value(text: str, position: int) -> tuple[str, int]:
    """Return the value that begins at ``position``, and where the next line does."""
    value = ""
    kept = 0  # as much of it as is no blank at its end
    plain = False  # whether an unquoted character came: quotes are then meant to the letter
    while position < len(text) and text[position] != "\n":
        sign = text[position]
        if sign in "'\"" and not plain:
            part, position = _quoted(text, position + 1, sign)
            value += part
            kept = len(value)
        elif sign == "\\":
            following = text[position + 1 : position + 2]
            if following != "\n":
                value += following
                kept = len(value)
                plain = True
            position += 2
        else:
            if sign not in _BLANK:
                value += sign
                kept = len(value)
                plain = True
            elif plain:
                value += sign
            position += 1
    return value[:kept], position + 1


def _quoted(text: str, position: int, quote: str) -> tuple[str, int]:
    """Return what stands in quotes, and where they have ended."""
    value = ""
    while position < len(text) and text[position] != quote:
        sign = text[position]
        if sign == "\\" and quote == '"':
            following = text[position + 1 : position + 2]
            if following in _ESCAPED:
                value += following
            elif following != "\n":
                value += sign + following
            position += 2
        else:
            value += sign
            position += 1
    return value, position + 1


def quoted(value: str) -> str:
    """Return ``value`` as it is to be written after ``NAME=``."""
    if re.fullmatch(r"[A-Za-z0-9_.:/+@%=,-]*", value):
        return value
    return '"' + "".join(f"\\{sign}" if sign in _ESCAPED else sign for sign in value) + '"'
