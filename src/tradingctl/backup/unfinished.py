"""A restore that was cut short: of what is half restored no service may start."""

from __future__ import annotations

from tradingctl.errors import RestoreError
from tradingctl.paths import Paths


def refuse_unfinished(paths: Paths) -> None:
    """Raise RestoreError when a restore was cut short and is not finished yet."""
    if paths.restore_record.exists():
        raise RestoreError(
            "a restore was cut short and is not finished; nothing was changed",
            "tradingctl restore",
        )
