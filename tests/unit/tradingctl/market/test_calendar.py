"""The exchange's hours, in the weeks in which America and Europe differ, and on odd days."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from tests.unit.tradingctl.market.moments import SHIPPED, berlin, clocks_of, new_york

from tradingctl.market.calendar import both, is_open, next_open, session_on
from tradingctl.market.holidays import read_holidays

HOLIDAYS = read_holidays(SHIPPED / "nyse-holidays", "nyse-holidays", "")


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("2026-03-06 15:30", "2026-03-06 22:00"),  # both in winter
        ("2026-03-09 14:30", "2026-03-09 21:00"),  # America changed on Sunday
        ("2026-03-16 14:30", "2026-03-16 21:00"),
        ("2026-03-27 14:30", "2026-03-27 21:00"),
        ("2026-03-30 15:30", "2026-03-30 22:00"),  # Europe changed too
        ("2026-10-23 15:30", "2026-10-23 22:00"),
        ("2026-10-26 14:30", "2026-10-26 21:00"),  # Europe changed on Sunday
        ("2026-10-30 14:30", "2026-10-30 21:00"),
        ("2026-11-02 15:30", "2026-11-02 22:00"),  # America changed too
        ("2026-11-27 15:30", "2026-11-27 19:00"),  # an early close
    ],
)
def test_hours_on_a_clock_in_berlin(opens: str, closes: str) -> None:
    session = session_on(date.fromisoformat(opens[:10]), HOLIDAYS)
    assert session is not None
    assert (session.opens, session.closes) == (berlin(opens), berlin(closes))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (berlin("2026-03-16 15:00"), True),
        (berlin("2026-03-16 14:29:59"), False),
        (berlin("2026-03-16 21:30"), False),
        (new_york("2026-11-24 09:30"), True),
        (new_york("2026-11-24 15:59:59"), True),
        (new_york("2026-11-24 16:00"), False),
        (new_york("2026-11-26 12:00"), False),  # Thanksgiving
        (new_york("2026-11-27 12:59"), True),
        (new_york("2026-11-27 13:00"), False),
        (new_york("2026-11-28 12:00"), False),  # Saturday
        (new_york("2027-12-31 12:00"), True),  # New Year's Day is a Saturday
    ],
)
def test_open_from_the_first_second_to_before_the_last(now: datetime, expected: bool) -> None:
    assert is_open(now, HOLIDAYS) is expected


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-24 09:29", "2026-11-24 09:30"),
        ("2026-11-24 09:30", "2026-11-25 09:30"),
        ("2026-11-25 17:00", "2026-11-27 09:30"),  # over Thanksgiving
        ("2026-07-02 17:00", "2026-07-06 09:30"),  # over a holiday and a weekend
        ("2026-03-06 17:00", "2026-03-09 09:30"),  # over the change of the clocks
    ],
)
def test_the_next_open_passes_over_days_without_trade(now: str, then: str) -> None:
    assert next_open(new_york(now), HOLIDAYS) == new_york(then)


def test_a_time_is_told_in_new_york_and_here() -> None:
    moment = new_york("2026-03-16 16:00")
    assert both(moment) == "16:00 EDT (21:00 CET here)"
    with clocks_of("America/New_York"):
        assert both(moment) == "16:00 EDT"
    with clocks_of("Asia/Tokyo"):
        assert both(moment) == "16:00 EDT (Tue 05:00 JST here)"
