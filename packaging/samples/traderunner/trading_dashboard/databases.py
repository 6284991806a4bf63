"""Reads the databases of the other two services, and never writes to them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARKETDATA_DIR = "/opt/trading/marketdata-stream"
AUTOMATICTRADER_DIR = "/opt/trading/automatictrader-api"


@dataclass(frozen=True)
class Table:
    """Rows to show, or a note that says why there are none."""

    columns: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    note: str = ""


def signals() -> Table:
    """The newest signals of marketdata-stream."""
    folder = Path(os.environ.get("MARKETDATA_DIR") or MARKETDATA_DIR)
    return newest(folder / "data" / "signals.db", "signals", "no signals yet")


def order_intents() -> Table:
    """The newest order intents of automatictrader-api."""
    folder = Path(os.environ.get("AUTOMATICTRADER_DIR") or AUTOMATICTRADER_DIR)
    return newest(folder / "data" / "automatictrader.db", "order_intents", "no order intents yet")


def ticks() -> Table:
    """The newest ticks, if a market data file lies in the working directory."""
    return newest(Path("data/market_data.db"), "ticks", "no market data here")


def newest(path: Path, table: str, nothing: str) -> Table:
    """The ten newest rows; a missing or unreadable file is a note, not a failure."""
    try:
        if not path.exists():
            return Table(note=nothing)
        columns, rows = read(path, f"SELECT * FROM {table} ORDER BY id DESC LIMIT 10")  # noqa: S608
    except (OSError, sqlite3.Error) as error:
        return Table(note=f"{path} cannot be read: {error}")
    return Table(columns, rows, note="" if rows else nothing)


def read(path: Path, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one query without writing anything beside the database."""
    try:
        return run(f"{path.absolute().as_uri()}?mode=ro", query)
    except sqlite3.OperationalError:
        # A WAL database that nobody has open has no -wal file, and SQLite would have to make one,
        # in a folder that is not ours. Then nobody is writing either: read the file as it is.
        if path.with_name(f"{path.name}-wal").exists():
            raise
        return run(f"{path.absolute().as_uri()}?mode=ro&immutable=1", query)


def run(uri: str, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Open, ask, close."""
    with closing(sqlite3.connect(uri, uri=True, timeout=2)) as connection:
        cursor = connection.execute(query)
        return [column[0] for column in cursor.description], cursor.fetchall()
