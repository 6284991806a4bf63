"""When the exchange is open on a day, and when next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tradingctl.market.holidays import Holidays
from tradingctl.market.hours import CLOSE, OPEN, WEEKDAYS, new_york


@dataclass(frozen=True)
class Session:
    """The hours of one day, both in New York's time."""

    opens: datetime
    closes: datetime


def session_on(day: date, holidays: Holidays) -> Session | None:
    """Return the hours of ``day`` in New York, None when the exchange stays closed."""
    if day.weekday() not in WEEKDAYS:
        return None
    early = holidays.days.get(day)
    if day in holidays.days and early is None:
        return None
    zone = new_york()
    return Session(datetime.combine(day, OPEN, zone), datetime.combine(day, early or CLOSE, zone))


def session_of(now: datetime, holidays: Holidays) -> Session | None:
    """Return the hours of the day that it is in New York ``now``, whether they are over or not."""
    return session_on(now.astimezone(new_york()).date(), holidays)


def is_open(now: datetime, holidays: Holidays) -> bool:
    """Return whether the exchange trades ``now``."""
    session = session_of(now, holidays)
    return session is not None and session.opens <= now < session.closes


def next_open(now: datetime, holidays: Holidays) -> datetime:
    """Return when the exchange opens next, after ``now``."""
    day = now.astimezone(new_york()).date()
    while True:
        session = session_on(day, holidays)
        if session and session.opens > now:
            return session.opens
        day += timedelta(days=1)


def both(moment: datetime, form: str = "%H:%M %Z") -> str:
    """Return a time as in New York and, where that differs, as on this server."""
    there, here = moment.astimezone(new_york()), moment.astimezone()
    said = f"{there:{form}}"
    if there.utcoffset() == here.utcoffset():
        return said
    # The day is told again where it is another one here.
    short = "%H:%M %Z" if there.date() == here.date() else "%a %H:%M %Z"
    return f"{said} ({here:{short}} here)"
