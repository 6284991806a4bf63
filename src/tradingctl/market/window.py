"""The deploy window: whether an upgrade may happen now. Going back to a release is never asked."""

from __future__ import annotations

from datetime import datetime, timedelta

from tradingctl.deploy import history
from tradingctl.errors import MarketSettingsError, WindowError
from tradingctl.market.calendar import both, session_of
from tradingctl.market.settings import holidays_of, read_market_settings
from tradingctl.server import Server

OVERRIDE = "TRADING_IGNORE_WINDOW"


def require_open(server: Server, now: datetime | None = None) -> None:
    """Return when an upgrade is allowed ``now``, by the settings or by an override.

    An override that was needed is recorded. Raises WindowError, also when the settings or the
    holidays cannot be understood: what they forbid is not known then.
    """
    refusal = _refusal(server, now or server.wall())
    if refusal is None:
        return
    reason = _override(server)
    if not reason:
        raise refusal
    server.warn(f"WARNING: {reason}; otherwise: {refusal.message}")
    history.record(server, "window-override", detail=f"{reason}; {refusal.message}")


def _refusal(server: Server, now: datetime) -> WindowError | None:
    ignore = server.paths.shown(server.paths.ignore_window)
    paths = server.paths
    try:
        settings = read_market_settings(paths)
        if not settings.refuse_upgrades:
            return None
        holidays = holidays_of(paths, settings)
        session = session_of(now, holidays)
    except MarketSettingsError as error:
        command = error.next_command
        if command.startswith("apt-get "):
            command = f"{OVERRIDE}=1 {command}"  # or that would be refused as well
        return WindowError(
            f"no upgrade, because it is not known whether one is allowed now: {error.message}",
            command,
        )
    if session is None:
        return None
    first = session.opens - timedelta(minutes=settings.before_open)
    end = session.closes + timedelta(minutes=settings.after_close)
    if not first <= now < end:
        return None
    if holidays.ended(now.astimezone(session.opens.tzinfo).date()):
        server.warn(f"warning: {ended_note(holidays.file)}")
    if now < session.opens:
        state = f"the market opens at {both(session.opens)} and closes at {both(session.closes)}"
    elif now < session.closes:
        state = f"the market is open until {both(session.closes)}"
    else:
        state = f"the market closed at {both(session.closes)}"
    return WindowError(
        f"no upgrade now: in New York it is {both(now, '%a %Y-%m-%d %H:%M %Z')}; {state};"
        f" {settings.written} allows upgrades again from {both(end)} on",
        f"wait until {both(end)}, or say that it cannot wait:"
        f" touch {ignore} (until the next boot), or {OVERRIDE}=1 before the command",
    )


def ended_note(file: str) -> str:
    """Return what to say of a holidays file that has come to its end."""
    return f"{file} knows no holiday from today on; every weekday counts as a trading day"


def _override(server: Server) -> str:
    if server.environ.get(OVERRIDE) == "1":
        return f"the deploy window is ignored, {OVERRIDE}=1 is set"
    if server.paths.ignore_window.exists():
        path = server.paths.shown(server.paths.ignore_window)
        return f"the deploy window is ignored, {path} exists"
    return ""
