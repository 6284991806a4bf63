"""The two SQLite databases: market_data.db with ticks, signals.db with signals."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from marketdata_stream.provider import Signal, Tick

TICKS = """CREATE TABLE IF NOT EXISTS ticks (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, symbol TEXT NOT NULL,
    price REAL NOT NULL, volume INTEGER NOT NULL)"""
SIGNALS = """CREATE TABLE IF NOT EXISTS signals (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, symbol TEXT NOT NULL,
    side TEXT NOT NULL, price REAL NOT NULL)"""
KEEP_TICKS = 50_000
KEEP_SIGNALS = 10_000


class Store:
    """Appends rows and drops the oldest ones. One thread at a time may use it."""

    def __init__(self, market_data_db: Path, signals_db: Path) -> None:
        self.paths = (market_data_db, signals_db)
        self.ticks = open_database(market_data_db, TICKS)
        self.signals = open_database(signals_db, SIGNALS)

    def add(self, ticks: Sequence[Tick], signals: Sequence[Signal]) -> None:
        """Append one round."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.ticks as db:
            db.executemany(
                "INSERT INTO ticks (at, symbol, price, volume) VALUES (?, ?, ?, ?)",
                [(at, t.symbol, t.price, t.volume) for t in ticks],
            )
            db.execute(
                "DELETE FROM ticks WHERE id <= (SELECT max(id) FROM ticks) - ?", (KEEP_TICKS,)
            )
        with self.signals as db:
            db.executemany(
                "INSERT INTO signals (at, symbol, side, price) VALUES (?, ?, ?, ?)",
                [(at, s.symbol, s.side, s.price) for s in signals],
            )
            db.execute(
                "DELETE FROM signals WHERE id <= (SELECT max(id) FROM signals) - ?",
                (KEEP_SIGNALS,),
            )

    def check(self) -> None:
        """Raise if a database cannot be read. Opens its own connections: any thread may call."""
        for path in self.paths:
            uri = f"{path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=1)) as db:
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def close(self) -> None:
        """Close both; SQLite folds the write-ahead log into the file."""
        self.ticks.close()
        self.signals.close()


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or create one database in WAL mode, so that readers do not block the writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Rounds are stored from a pool thread, one at a time.
    db = sqlite3.connect(path, timeout=5, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    with db:
        db.execute(schema)
    return db
