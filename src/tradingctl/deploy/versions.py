"""The order of Debian versions (deb-version(7)), as dpkg has it."""

from __future__ import annotations

from tradingctl.process import Runner


def above(runner: Runner, one: str, other: str) -> bool:
    """Return whether version ``one`` is later than ``other``."""
    return runner.run(["dpkg", "--compare-versions", one, "gt", other]).code == 0
