"""The settings of the service, all from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_SYMBOLS = "AAPL,AMD,AMZN,GOOG,HOOD,META,MSFT,NVDA,PLTR,TSLA"


class SettingsError(Exception):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True)
class Settings:
    """Checked settings."""

    host: str
    port: int
    provider: str
    api_key: str
    symbols: tuple[str, ...]
    tick_seconds: float
    signals_db: Path
    market_data_db: Path


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check the environment; an empty variable counts as unset."""

    def get(name: str, default: str) -> str:
        return environ.get(name) or default

    provider = get("MARKETDATA_PROVIDER", "fake")
    if provider not in ("fake", "real"):
        raise SettingsError(f"MARKETDATA_PROVIDER is {provider!r}, not fake or real")
    # EODHD_SYMBOLS is the older name.
    listed = get("WATCH_SYMBOLS", get("EODHD_SYMBOLS", DEFAULT_SYMBOLS))
    symbols = tuple(dict.fromkeys(s.strip().upper() for s in listed.split(",") if s.strip()))
    if not symbols:
        raise SettingsError(f"WATCH_SYMBOLS names no symbol: {listed!r}")
    return Settings(
        host=get("MARKETDATA_HOST", "127.0.0.1"),
        port=int(number("MARKETDATA_PORT", get("MARKETDATA_PORT", "8090"), 1, 65535)),
        provider=provider,
        api_key=secret(environ, "EODHD_API_KEY"),
        symbols=symbols,
        tick_seconds=number("MARKETDATA_TICK_SEC", get("MARKETDATA_TICK_SEC", "1.0"), 0.01, 3600),
        signals_db=Path(get("SIGNALS_DB_PATH", "data/signals.db")),
        market_data_db=Path(get("MARKETDATA_DB_PATH", "data/market_data.db")),
    )


def secret(environ: Mapping[str, str], name: str) -> str:
    """The variable `name`, else what is in the file that `name`_FILE names; neither is printed."""
    if value := environ.get(name):
        return value
    if not (file := environ.get(f"{name}_FILE")):
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE: {type(error).__name__}: {file}") from None


def number(name: str, text: str, low: float, high: float) -> float:
    """`text` as a number between `low` and `high`."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text!r}, not a number from {low:g} to {high:g}")
    return value
