"""The timers, as systemd itself reads them, in the weeks in which the clocks change."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date, datetime, timedelta

import pytest
from tests.unit.tradingctl.market.moments import BERLIN, SHIPPED

from tradingctl.market.calendar import session_on
from tradingctl.market.holidays import Holidays, read_holidays
from tradingctl.market.hours import CLOSE, EARLY_CLOSE

UNITS = SHIPPED.parents[2] / "lib/systemd/system"
HOLIDAYS = read_holidays(SHIPPED / "nyse-holidays", "nyse-holidays", "")
NO_HOLIDAYS = Holidays("none")

ANALYZE = shutil.which("systemd-analyze") or ""
pytestmark = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")


def elapses(timer: str, after: str, count: int) -> list[datetime]:
    """Return when a timer elapses next, on a server in Berlin."""
    times: set[datetime] = set()
    text = (UNITS / f"{timer}.timer").read_text()
    for when in re.findall(r"^OnCalendar=(.+)$", text, re.MULTILINE):
        said = subprocess.run(
            [ANALYZE, "calendar", f"--base-time={after}", f"--iterations={count}", when],
            env={"TZ": "Europe/Berlin", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = re.findall(r"\(in UTC\): \w{3} ([\d-]+ [\d:]+) UTC", said)
        assert len(found) == count, said
        times.update(datetime.fromisoformat(f"{each}+00:00") for each in found)
    return sorted(times)[:count]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # America changes on 8 March, Europe on 29 March.
        ("2026-03-05", ["03-05 15:30", "03-06 15:30", "03-09 14:30", "03-10 14:30"]),
        ("2026-03-26", ["03-26 14:30", "03-27 14:30", "03-30 15:30", "03-31 15:30"]),
        # Europe changes on 25 October, America on 1 November.
        ("2026-10-22", ["10-22 15:30", "10-23 15:30", "10-26 14:30", "10-27 14:30"]),
        ("2026-10-29", ["10-29 14:30", "10-30 14:30", "11-02 15:30", "11-03 15:30"]),
    ],
)
def test_the_open_on_a_clock_in_berlin(after: str, expected: list[str]) -> None:
    found = elapses("trading-market-open", f"{after} 00:00:00", len(expected))
    assert [f"{each.astimezone(BERLIN):%m-%d %H:%M}" for each in found] == expected


@pytest.mark.parametrize("year", [2026, 2027, 2028])
def test_the_timers_meet_every_open_and_every_close_of_a_year(year: int) -> None:
    days = [date(year, 1, 1) + timedelta(number) for number in range(366)]
    days = [day for day in days if day.year == year and day.weekday() < 5]
    opens = elapses("trading-market-open", f"{year}-01-01 00:00:00", len(days))
    closes = elapses("trading-market-close", f"{year}-01-01 00:00:00", 2 * len(days))
    regular = [session_on(day, NO_HOLIDAYS) for day in days]
    assert opens == [each.opens for each in regular if each]
    sessions = [session for day in days if (session := session_on(day, HOLIDAYS))]
    assert {each.closes for each in sessions} <= set(closes)


def test_nothing_is_made_up_for_after_a_boot() -> None:
    # At boot the services start by themselves, or are kept from it: see trading-market-boot.
    timers = sorted(UNITS.glob("trading-market-*.timer"))
    assert len(timers) == 2
    for timer in timers:
        assert "Persistent" not in timer.read_text()


def test_the_close_elapses_at_the_closes_that_the_exchange_plans() -> None:
    text = (UNITS / "trading-market-close.timer").read_text()
    assert re.findall(r"^OnCalendar=(.+)$", text, re.MULTILINE) == [
        f"Mon..Fri {each:%H:%M} America/New_York" for each in (EARLY_CLOSE, CLOSE)
    ]


def test_what_rests_after_a_boot_is_judged_by_a_clock_that_was_set() -> None:
    text = (UNITS / "trading-market-boot.service").read_text()
    for line in ("Wants=time-sync.target", "After=time-sync.target"):
        assert line in text.splitlines()
