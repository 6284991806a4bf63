"""The worker's sign of life: one row that it writes and /healthz reads."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from automatictrader.database import now

MISSED_POLLS = 3
GRACE_SECONDS = 5


@dataclass(frozen=True)
class WorkerState:
    """`state` is healthy, stale or absent; `mode` is None as long as no worker ever ran."""

    state: str
    mode: str | None


def beat(connection: sqlite3.Connection, mode: str, poll_seconds: float) -> None:
    """Write the row."""
    with connection:
        connection.execute(
            "INSERT OR REPLACE INTO worker_heartbeat (id, at, pid, mode, poll_seconds)"
            " VALUES (1, ?, ?, ?, ?)",
            (now(), os.getpid(), mode, poll_seconds),
        )


def read(connection: sqlite3.Connection) -> WorkerState:
    """Judge the row by its age."""
    row = connection.execute("SELECT * FROM worker_heartbeat").fetchone()
    if row is None:
        return WorkerState("absent", None)
    age = (datetime.now(UTC) - datetime.fromisoformat(row["at"])).total_seconds()
    limit = MISSED_POLLS * row["poll_seconds"] + GRACE_SECONDS
    return WorkerState("healthy" if age <= limit else "stale", row["mode"])
