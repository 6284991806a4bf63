"""The regular hours of the New York Stock Exchange."""

from __future__ import annotations

from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tradingctl.errors import MarketSettingsError

ZONE = "America/New_York"
OPEN = time(9, 30)
CLOSE = time(16)
EARLY_CLOSE = time(13)
OPEN_TIMER = "trading-market-open.timer"
CLOSE_TIMER = "trading-market-close.timer"
"""It elapses at both of these, and at no other time."""
WEEKDAYS = range(5)  # Monday to Friday


def new_york() -> ZoneInfo:
    """Return the exchange's time zone. Raises MarketSettingsError when the system has none."""
    try:
        return ZoneInfo(ZONE)
    except ZoneInfoNotFoundError as error:
        raise MarketSettingsError(
            f"the time zone {ZONE} is not known here", "apt-get install --reinstall tzdata"
        ) from error
