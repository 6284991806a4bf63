"""The settings of the machine, from trading.yaml and the environment.

A missing or wrong setting stops the program: a dashboard that guesses its paths shows the wrong
data. The environment wins over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import AnyHttpUrl, BaseModel, ValidationError

DEFAULT_CONFIG = "/etc/trading/trading.yaml"
ENVIRONMENTS = ("dev", "test", "production")


class SettingsError(Exception):
    """A setting is missing or wrong."""


class PathsSection(BaseModel):
    """`paths:` in trading.yaml."""

    marketdata_data_root: str | None = None
    trading_artifacts_root: str | None = None


class ServicesSection(BaseModel):
    """`services:` in trading.yaml."""

    marketdata_stream_url: AnyHttpUrl | None = None


class ConfigFile(BaseModel):
    """trading.yaml; sections that other programs read are left alone."""

    paths: PathsSection | None = None
    services: ServicesSection | None = None


@dataclass(frozen=True)
class Settings:
    """Checked settings: both roots are absolute."""

    environment: str
    marketdata_data_root: Path
    trading_artifacts_root: Path
    marketdata_stream_url: str | None


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the file that TRADING_CONFIG names (or the default one) and check everything."""
    environment = environ.get("TRADING_ENVIRONMENT") or "dev"
    if environment not in ENVIRONMENTS:
        known = ", ".join(ENVIRONMENTS)
        raise SettingsError(f"TRADING_ENVIRONMENT is {environment!r}, not one of {known}")
    path = Path(environ.get("TRADING_CONFIG") or DEFAULT_CONFIG)
    config = read_config(path, required=bool(environ.get("TRADING_CONFIG")))
    paths = config.paths or PathsSection()
    services = config.services or ServicesSection()
    url = services.marketdata_stream_url
    return Settings(
        environment=environment,
        marketdata_data_root=absolute(
            environ, path, "marketdata_data_root", paths.marketdata_data_root
        ),
        trading_artifacts_root=absolute(
            environ, path, "trading_artifacts_root", paths.trading_artifacts_root
        ),
        marketdata_stream_url=str(url) if url else None,
    )


def read_config(path: Path, *, required: bool) -> ConfigFile:
    """Parse trading.yaml; a file that nobody asked for by name may be missing."""
    try:
        return ConfigFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except FileNotFoundError as error:
        if required:
            raise SettingsError(f"{path}: there is no such file (TRADING_CONFIG)") from error
        return ConfigFile()
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error


def absolute(environ: Mapping[str, str], path: Path, key: str, in_file: str | None) -> Path:
    """The directory under `key`; the environment variable is the same name in capitals."""
    value = environ.get(key.upper()) or in_file
    if not value:
        raise SettingsError(f"{path}: paths.{key} is missing, and {key.upper()} is not set")
    if not Path(value).is_absolute():
        raise SettingsError(f"{path}: paths.{key} ({key.upper()}) is not absolute: {value!r}")
    return Path(value)
