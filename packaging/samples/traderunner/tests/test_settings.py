"""Settings are strict: what is missing or relative stops the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import SettingsError, load_settings

EXAMPLE = str(Path(__file__).parent.parent / "config" / "trading.example.yaml")


def test_the_example_is_complete() -> None:
    settings = load_settings({"TRADING_CONFIG": EXAMPLE, "TRADING_ENVIRONMENT": "test"})
    assert settings.environment == "test"
    assert settings.trading_artifacts_root == Path("/var/lib/trading/artifacts")


def test_the_environment_wins_over_the_file() -> None:
    settings = load_settings({"TRADING_CONFIG": EXAMPLE, "MARKETDATA_DATA_ROOT": "/srv/md"})
    assert settings.marketdata_data_root == Path("/srv/md")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TRADING_CONFIG": "/nonexistent.yaml"}, "no such file"),
        ({"TRADING_CONFIG": "/dev/null"}, "paths.marketdata_data_root is missing"),
        ({"TRADING_CONFIG": EXAMPLE, "TRADING_ARTIFACTS_ROOT": "here"}, "not absolute"),
        ({"TRADING_CONFIG": EXAMPLE, "TRADING_ENVIRONMENT": "staging"}, "TRADING_ENVIRONMENT"),
    ],
)
def test_a_bad_setting_is_an_error(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(environ)
