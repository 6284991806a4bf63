"""Which commit is running, from the RELEASE.json that the package build writes."""

from __future__ import annotations

import json
import re
from pathlib import Path


def read_commit(path: Path) -> str:
    """The commit named in `path`, or "unknown" when there is no such file (a checkout)."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "unknown"
    commit = str(json.loads(text)["commit"])
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError(f"{path}: commit is not 40 hexadecimal digits: {commit!r}")
    return commit
