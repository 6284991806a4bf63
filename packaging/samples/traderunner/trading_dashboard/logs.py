"""Log files under logs/: everything in dashboard.log, errors also in errors.log."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path


def open_logs(folder: Path) -> None:
    """Create the folder and both files at once, so that a wrong owner shows at the start."""
    folder.mkdir(exist_ok=True)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for name, level in (("dashboard.log", logging.INFO), ("errors.log", logging.ERROR)):
        handler = RotatingFileHandler(
            folder / name, maxBytes=1_000_000, backupCount=3, encoding="utf-8"
        )
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
