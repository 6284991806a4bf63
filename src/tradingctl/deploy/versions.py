"""The order of Debian versions (deb-version(7)), as dpkg has it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key

from tradingctl.process import Runner


def above(runner: Runner, one: str, other: str) -> bool:
    """Return whether version ``one`` is later than ``other``."""
    return runner.run(["dpkg", "--compare-versions", one, "gt", other]).code == 0


def in_order(runner: Runner, versions: Iterable[str]) -> list[str]:
    """Return the versions, the latest last."""

    def compared(one: str, other: str) -> int:
        return -1 if above(runner, other, one) else 0  # all that sorting asks

    return sorted(versions, key=cmp_to_key(compared))
