"""What an inspection says of one thing: that it was verified, could not be, or is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["verified", "not verified", "FAILED"]


@dataclass(frozen=True)
class Finding:
    """One check: of what, how it ended, and what was compared or why it was not."""

    what: str
    state: State
    detail: str


def verified(what: str, detail: str) -> Finding:
    """Return a check that was made and is right."""
    return Finding(what, "verified", detail)


def not_verified(what: str, reason: str) -> Finding:
    """Return a check that could not be made."""
    return Finding(what, "not verified", reason)


def failed(what: str, reason: str) -> Finding:
    """Return a check that was made and is wrong."""
    return Finding(what, "FAILED", reason)


def judged(what: str, mistakes: Sequence[str], detail: str) -> Finding:
    """Return a failed check with the first of ``mistakes``, or a verified one."""
    if not mistakes:
        return verified(what, detail)
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return failed(what, f"{mistakes[0]}{more}")


def printable(text: str) -> str:
    """Return ``text`` in one line that does nothing to a terminal, whoever wrote it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
