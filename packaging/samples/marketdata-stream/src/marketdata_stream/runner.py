"""The entry point: python -m marketdata_stream.runner. SIGTERM stops it cleanly."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from pathlib import Path

import uvicorn

from marketdata_stream.api import make_app
from marketdata_stream.release import read_commit
from marketdata_stream.settings import SettingsError, load_settings
from marketdata_stream.store import Store


def main() -> int:
    """Check the settings, open the databases, serve."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings(os.environ)
        store = Store(settings.market_data_db, settings.signals_db)
    except SettingsError as error:
        print(f"marketdata-stream: {error}", file=sys.stderr)
        return 2
    except (OSError, sqlite3.Error) as error:
        print(f"marketdata-stream: cannot open the databases: {error}", file=sys.stderr)
        return 1
    app = make_app(settings, store, read_commit(Path("RELEASE.json")))
    uvicorn.run(app, host=settings.host, port=settings.port, timeout_graceful_shutdown=5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
