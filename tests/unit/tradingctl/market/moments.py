"""Moments, and a server that is in Berlin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
SHIPPED = Path(__file__).parents[4] / "debian-templates/common/payload/usr/share/trading"


def berlin(text: str) -> datetime:
    """Return a moment as a clock in Berlin shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def new_york(text: str) -> datetime:
    """Return a moment as a clock in New York shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@contextmanager
def clocks_of(zone: str) -> Iterator[None]:
    """Let this process be in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()
