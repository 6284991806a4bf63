"""The SQLite database that the API and the worker share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS order_intents (
    id INTEGER PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    received_at TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    order_type TEXT NOT NULL,
    limit_price TEXT,
    status TEXT NOT NULL DEFAULT 'received',
    reason TEXT,
    handled_at TEXT
);
CREATE TABLE IF NOT EXISTS worker_heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at TEXT NOT NULL,
    pid INTEGER NOT NULL,
    mode TEXT NOT NULL,
    poll_seconds REAL NOT NULL
);
"""


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database, making it if needed, and close it afterwards.

    Each write outside `with connection:` would be lost: nothing is committed here.
    """
    path.parent.mkdir(exist_ok=True)
    # IMMEDIATE takes the write lock at the start, so a transaction never fails half way.
    connection = sqlite3.connect(path, timeout=5, isolation_level="IMMEDIATE")
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        yield connection
    finally:
        connection.close()


def now() -> str:
    """The time as it is stored: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
