"""What ``status`` says of the market: what rests, and what of the settings is no longer right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tradingctl import systemd
from tradingctl.errors import MarketSettingsError, TradingError
from tradingctl.market.hours import CLOSE_TIMER, OPEN_TIMER, ZONE, new_york
from tradingctl.market.resting import resting_units
from tradingctl.market.settings import holidays_of, read_market_settings
from tradingctl.market.window import ended_note
from tradingctl.server import Server


def market_notes(server: Server) -> Iterator[str]:
    """Give what an administrator should know, a line each; nothing where nothing was set up."""
    if resting := resting_units(server):
        yield (
            f"stopped until the market opens: {', '.join(resting)};"
            " to start them now: tradingctl market open --force"
        )
    try:
        settings = read_market_settings(server.paths)
        if settings.refuse_upgrades or settings.holidays_file or resting:
            holidays = holidays_of(server.paths, settings)
            today = server.wall().astimezone(new_york()).date()
            if holidays.ended(today):
                yield ended_note(holidays.file)
            for day, early in holidays.odd_closes(today):
                yield (
                    f"{holidays.file}: {day} ends at {early:%H:%M}, when nothing is stopped unless"
                    f" you had the timer elapse then; next: systemctl edit {CLOSE_TIMER}"
                    f"  # [Timer] OnCalendar={day} {early:%H:%M} {ZONE}"
                )
    except MarketSettingsError as error:
        yield (
            f"{error.message}; until that is corrected upgrades are refused, and services that were"
            " stopped at the market's close are not started at its open"
        )
    if server.paths.ignore_window.exists():
        path = server.paths.shown(server.paths.ignore_window)
        yield f"{path} exists: upgrades are not refused until the next boot"
    if not systemd.absence(server):
        with contextlib.suppress(TradingError):  # of systemd itself, of which status tells already
            yield from _not_started(server)


def _not_started(server: Server) -> Iterator[str]:
    states = systemd.show(server.runner, (OPEN_TIMER, CLOSE_TIMER))
    names = [
        name
        for name, state in states.items()
        if state.file_state == "enabled" and state.active in ("inactive", "failed")
    ]
    if names:
        timers = " ".join(names)
        yield (
            f"enabled and not started until the next boot: {timers}; next: systemctl start {timers}"
        )
