"""The settings that the API and the worker share, all from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(Exception):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True)
class Settings:
    """Checked settings, except the worker's mode: only the worker insists on that one."""

    bind_host: str
    bind_port: int
    db_path: Path
    bearer_token: str
    worker_mode: str
    worker_poll_seconds: float


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check the environment; an empty variable counts as unset."""

    def get(name: str, default: str) -> str:
        return environ.get(name) or default

    return Settings(
        bind_host=get("AT_BIND_HOST", "127.0.0.1"),
        bind_port=int(number("AT_BIND_PORT", get("AT_BIND_PORT", "8080"), 1, 65535)),
        db_path=Path(get("AT_DB_PATH", "data/automatictrader.db")),
        bearer_token=get("AT_BEARER_TOKEN", ""),
        worker_mode=get("AT_WORKER_MODE", "plan-only"),
        worker_poll_seconds=number(
            "AT_WORKER_POLL_SEC", get("AT_WORKER_POLL_SEC", "1"), 0.05, 3600
        ),
    )


def number(name: str, text: str, low: float, high: float) -> float:
    """`text` as a number between `low` and `high`."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text!r}, not a number from {low:g} to {high:g}")
    return value
