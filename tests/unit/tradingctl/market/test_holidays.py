"""The file of holidays: what it may say, and that ours says what the exchange's rules say."""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path

import pytest
from tests.unit.tradingctl.market.moments import SHIPPED

from tradingctl.errors import MarketSettingsError
from tradingctl.market.holidays import Holidays, read_holidays

MONDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = 0, 3, 4, 5, 6
YEARS = (2026, 2027, 2028)


def nth(year: int, month: int, weekday: int, number: int) -> date:
    """Return the ``number``-th such weekday of a month."""
    first = date(year, month, 1)
    return first + timedelta((weekday - first.weekday()) % 7 + 7 * (number - 1))


def easter(year: int) -> date:
    """Return Easter Sunday, by the anonymous Gregorian computus."""
    a, (b, c) = year % 19, divmod(year, 100)
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * (b % 4) + 2 * i - h - k) % 7
    month, day = divmod(h + weekday - 7 * ((a + 11 * h + 22 * weekday) // 451) + 114, 31)
    return date(year, month, day + 1)


def observed(day: date) -> date:
    shift = {SATURDAY: -1, SUNDAY: 1}
    return day + timedelta(shift.get(day.weekday(), 0))


def by_the_rules(year: int) -> dict[date, time | None]:
    """Return a year's closed days and early closes (NYSE Rule 7.2)."""
    new_year = date(year, 1, 1)
    thanksgiving = nth(year, 11, THURSDAY, 4)
    memorial = max(date(year, 5, day) for day in range(25, 32)
                   if date(year, 5, day).weekday() == MONDAY)  # fmt: skip
    closed = {
        nth(year, 1, MONDAY, 3),
        nth(year, 2, MONDAY, 3),
        easter(year) - timedelta(2),
        memorial,
        *(observed(date(year, *each)) for each in ((6, 19), (7, 4), (12, 25))),
        nth(year, 9, MONDAY, 1),
        thanksgiving,
    }
    # The Friday before would be the last trading day of the year, so it is not taken.
    if new_year.weekday() != SATURDAY:
        closed.add(observed(new_year))
    early = {thanksgiving + timedelta(1), date(year, 7, 3), date(year, 12, 24)}
    days: dict[date, time | None] = {day: time(13) for day in early if day.weekday() < SATURDAY}
    if date(year, 7, 4).weekday() >= SATURDAY:
        days.pop(date(year, 7, 3), None)
    return {**days, **dict.fromkeys(closed)}


def test_the_shipped_holidays_are_those_of_the_rules() -> None:
    shipped = read_holidays(SHIPPED / "nyse-holidays", "nyse-holidays", "")
    expected = {day: early for year in YEARS for day, early in by_the_rules(year).items()}
    assert dict(shipped.days) == expected
    assert len(expected) == 10 + 10 + 9 + 5


def test_easter_is_computed_right() -> None:
    assert [easter(year) for year in YEARS] == [
        date(2026, 4, 5), date(2027, 3, 28), date(2028, 4, 16)
    ]  # fmt: skip


def written(tmp_path: Path, text: str) -> Holidays:
    file = tmp_path / "holidays"
    file.write_text(text)
    return read_holidays(file, "/etc/trading/holidays", "make it")


def test_a_line_is_a_day_or_an_early_close_with_a_comment(tmp_path: Path) -> None:
    found = written(tmp_path, "# ours\n\n2026-12-25  # Christmas\n  2026-12-24 13:00\n")
    assert found == Holidays(
        "/etc/trading/holidays", {date(2026, 12, 25): None, date(2026, 12, 24): time(13)}
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("25.12.2026", "'25.12.2026' is not YYYY-MM-DD"),
        ("20261225", "'20261225' is not YYYY-MM-DD"),
        ("2026-02-30", "day is out of range for month"),
        ("2026-12-24 1pm", "'2026-12-24 1pm' is not YYYY-MM-DD"),
        ("2026-12-24 25:00", "hour must be in 0..23"),
        ("2026-12-24 22:00", "22:00 is not between 09:30 and 16:00"),
        ("2026-12-24 09:30", "09:30 is not between 09:30 and 16:00"),
        ("2026-01-01", "2026-01-01 is there twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    with pytest.raises(MarketSettingsError) as raised:
        written(tmp_path, f"2026-01-01\n{line}\n")
    assert raised.value.message.startswith(f"/etc/trading/holidays: line 2: {what}")
    assert raised.value.next_command == "sensible-editor /etc/trading/holidays"


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MarketSettingsError) as raised:
        read_holidays(tmp_path / "none", "/etc/none", "make it")
    assert raised.value.message == "/etc/none: cannot be read: No such file or directory"
    assert raised.value.next_command == "make it"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(MarketSettingsError, match="not UTF-8"):
        read_holidays(tmp_path / "binary", "/etc/binary", "")


def test_a_file_ends_with_its_last_day() -> None:
    holidays = Holidays("file", {date(2026, 12, 25): None, date(2026, 1, 1): None})
    assert not holidays.ended(date(2026, 12, 25))
    assert holidays.ended(date(2026, 12, 26))
    assert Holidays("empty").ended(date(2026, 1, 1))
