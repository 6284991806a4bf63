"""/etc/trading/deploy.conf: whether upgrades wait for the market's close, and what follows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from tradingctl.errors import MarketSettingsError
from tradingctl.market.holidays import Holidays, read_holidays
from tradingctl.paths import Paths

# What trades. The dashboard only shows, and is used for backtests at night.
MARKET_UNITS = ("marketdata-stream", "automatictrader-api", "automatictrader-worker")
MARGIN_LIMIT = 360  # minutes; more would reach into the day before or after


@dataclass(frozen=True)
class MarketSettings:
    """The administrator's settings; margins in minutes.

    ``written`` names the file, empty when there is none. ``units_named`` tells whether the units
    were chosen there: those must exist then.
    """

    written: str = ""
    refuse_upgrades: bool = False
    before_open: int = 0
    after_close: int = 0
    holidays_file: str = ""
    units: tuple[str, ...] = MARKET_UNITS
    units_named: bool = field(default=False)


def read_market_settings(paths: Paths) -> MarketSettings:
    """Return the settings, the defaults when there is no file.

    Raises MarketSettingsError naming the file and the line that is not understood.
    """
    shown = paths.shown(paths.deploy_settings)
    try:
        lines = paths.deploy_settings.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return MarketSettings()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise _bad(shown, f"cannot be read: {what}") from error
    settings = MarketSettings(written=shown)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.strip().partition("=")
        if not equals or key not in _KEYS:
            known = ", ".join(_KEYS)
            raise _bad(shown, f"line {number}: {line.strip()!r} is not one of {known}, =, a value")
        if key in seen:
            raise _bad(shown, f"line {number}: {key} is in line {seen[key]} already")
        seen[key] = number
        try:
            settings = _KEYS[key](settings, _unquoted(value))
        except ValueError as error:
            raise _bad(shown, f"line {number}: {key}: {error}") from error
    return settings


def holidays_of(paths: Paths, settings: MarketSettings) -> Holidays:
    """Return the holidays of the administrator's file, else of ours. Raises as that reading."""
    if settings.holidays_file:
        path = paths.root / settings.holidays_file.lstrip("/")
        change = f"sensible-editor {settings.written}  # HOLIDAYS_FILE names it"
        return read_holidays(path, settings.holidays_file, change)
    remedy = "apt-get install --reinstall traderunner-common"
    return read_holidays(paths.holidays, paths.shown(paths.holidays), remedy)


def _unquoted(value: str) -> str:
    """Take off one pair of quotes, as systemd does in the files beside this one."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _refuse(settings: MarketSettings, value: str) -> MarketSettings:
    if value not in ("allow", "refuse"):
        raise ValueError(f"{value!r} is neither allow nor refuse")
    return replace(settings, refuse_upgrades=value == "refuse")


def _minutes(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", value) or int(value) > MARGIN_LIMIT:
        raise ValueError(f"{value!r} is not a number of minutes from 0 to {MARGIN_LIMIT}")
    return int(value)


def _holidays(settings: MarketSettings, value: str) -> MarketSettings:
    if not PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise ValueError(f"{value!r} is not an absolute path")
    return replace(settings, holidays_file=value)


def _units(settings: MarketSettings, value: str) -> MarketSettings:
    names = tuple(name.removesuffix(".service") for name in value.split())
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]*", name):
            raise ValueError(f"{name!r} is not the name of a service")
    if not names:
        raise ValueError("names no service; to stop none, disable the timers")
    return replace(settings, units=names, units_named=True)


_KEYS: dict[str, Callable[[MarketSettings, str], MarketSettings]] = {
    "UPGRADES_DURING_MARKET_HOURS": _refuse,
    "MINUTES_BEFORE_OPEN": lambda old, value: replace(old, before_open=_minutes(value)),
    "MINUTES_AFTER_CLOSE": lambda old, value: replace(old, after_close=_minutes(value)),
    "HOLIDAYS_FILE": _holidays,
    "MARKET_UNITS": _units,
}


def _bad(shown: str, what: str) -> MarketSettingsError:
    return MarketSettingsError(f"{shown}: {what}", f"sensible-editor {shown}")
