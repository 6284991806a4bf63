"""Whether the worker may send orders, which no restore changes or makes dangerous by accident."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from tradingctl.envfile import assignments

VARIABLE = "AT_WORKER_MODE"
SAFE = "plan-only"
WORD = re.compile(r"[A-Za-z][A-Za-z-]{0,30} ?")
NO_WORD = "no word (is a quote not closed?)"


def shown(mode: str) -> str:
    """Return a mode for people.

    The value of a quote that is not closed has the lines behind it, which may be secrets.
    """
    return mode if WORD.fullmatch(mode) else NO_WORD


def mode(component: str, *folders: Path) -> str:
    """Return the worker's mode for a component, by the settings in the folders.

    Each file is taken from the first folder that has it. They are read in the order in which its
    units read them; the last word counts.
    """
    return written(component, *folders)[0]


def written(component: str, *folders: Path) -> tuple[str, str]:
    """Return the mode as above, and the file in the folder that says so, empty if none does."""
    found = (SAFE, "")
    for name in (f"{component}.env", "environment", f"secrets/{component}.env"):
        for variable, value in assignments(text_of(name, folders)):
            if variable == VARIABLE:
                # The worker takes an empty one for none.
                found = (value or SAFE, name)
    return found


def text_of(name: str, folders: Iterable[Path]) -> str:
    """Return the text of a file in the first of the folders that has it, empty if none has."""
    for folder in folders:
        with contextlib.suppress(OSError):
            return (folder / name).read_text(encoding="utf-8", errors="replace")
    return ""
