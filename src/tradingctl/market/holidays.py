"""The file of the days on which the exchange is closed, or closes early."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path

from tradingctl.errors import MarketSettingsError
from tradingctl.market.hours import CLOSE, EARLY_CLOSE, OPEN

_LINE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ \t]+(\d\d:\d\d))?")


@dataclass(frozen=True)
class Holidays:
    """The days of a file: closed all day, or from an early time on, New York's time."""

    file: str
    days: Mapping[date, time | None] = field(default_factory=dict)

    def odd_closes(self, today: date) -> list[tuple[date, time]]:
        """Return the days from ``today`` on that end when trading-market-close.timer does not."""
        return sorted(
            (day, early)
            for day, early in self.days.items()
            if early not in (None, EARLY_CLOSE) and day >= today
        )

    def ended(self, today: date) -> bool:
        """Return whether the file knows no day from ``today`` on."""
        return max(self.days, default=date.min) < today


def read_holidays(path: Path, shown: str, remedy: str) -> Holidays:
    """Return what ``path`` says; ``shown`` names it in errors.

    Raises MarketSettingsError, with the next command ``remedy`` when the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise MarketSettingsError(f"{shown}: cannot be read: {what}", remedy) from error
    days: dict[date, time | None] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            day, early = _day(text)
            if day in days:
                raise ValueError(f"{day} is there twice")
        except ValueError as error:
            raise MarketSettingsError(
                f"{shown}: line {number}: {error}", f"sensible-editor {shown}"
            ) from error
        days[day] = early
    return Holidays(shown, days)


def _day(text: str) -> tuple[date, time | None]:
    found = _LINE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not YYYY-MM-DD, or YYYY-MM-DD HH:MM for an early close")
    day = date.fromisoformat(found[1])
    if found[2] is None:
        return day, None
    early = time.fromisoformat(found[2])
    if not OPEN < early < CLOSE:
        raise ValueError(f"{found[2]} is not between {OPEN:%H:%M} and {CLOSE:%H:%M}")
    return day, early
