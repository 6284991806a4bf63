"""Whether the worker may send orders, which no restore changes or makes dangerous by accident."""

from __future__ import annotations

import re
from pathlib import Path

VARIABLE = "AT_WORKER_MODE"
SAFE = "plan-only"
ASSIGNMENT = re.compile(rf"^\s*{VARIABLE}\s*=\s*(.*?)\s*$", re.MULTILINE)


def mode(settings: Path, component: str) -> str:
    """Return the worker's mode for a component, by the files below ``settings``.

    They are read in the order in which its units read them; the last word counts.
    """
    found = SAFE
    for name in (f"{component}.env", "environment", f"secrets/{component}.env"):
        try:
            text = (settings / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for value in ASSIGNMENT.findall(text):
            found = value.strip("\"'")
    return found
