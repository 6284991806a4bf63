"""Whether the worker may send orders, which no restore changes or makes dangerous by accident."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

VARIABLE = "AT_WORKER_MODE"
SAFE = "plan-only"
ASSIGNMENT = re.compile(rf"^\s*{VARIABLE}\s*=\s*(.*?)\s*$", re.MULTILINE)


def mode(component: str, *folders: Path) -> str:
    """Return the worker's mode for a component, by the settings in the folders.

    Each file is taken from the first folder that has it. They are read in the order in which its
    units read them; the last word counts.
    """
    found = SAFE
    for name in (f"{component}.env", "environment", f"secrets/{component}.env"):
        for value in ASSIGNMENT.findall(_text(name, folders)):
            found = value.strip("\"'")
    return found


def _text(name: str, folders: Iterable[Path]) -> str:
    for folder in folders:
        with contextlib.suppress(OSError):
            return (folder / name).read_text(encoding="utf-8", errors="replace")
    return ""
