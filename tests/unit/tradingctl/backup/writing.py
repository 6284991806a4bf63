"""A component whose database is written to, in pairs of rows, while a test goes on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.inventory import Inventory, read_inventory

NAME = "marketdata-stream"
LONG_AGO = 1_700_000_000_000_000_000


def inventory(machine: Machine) -> Inventory:
    """Install the stream component and some settings; its database does not exist yet."""
    machine.describe(stream())
    secret = machine.write("etc/trading/secrets/stream.env", "PASS=s3cret\n")
    secret.chmod(0o640)
    machine.write("etc/trading/stream.env", "MODE=plan-only\n")
    return read_inventory(machine.paths)


def database(machine: Machine) -> Path:
    """Return where the component's database lies."""
    return machine.paths.state / NAME / "data/ticks.db"


def create(file: Path, mode: str = "wal", pairs: int = 3) -> None:
    """Make the database with some rows, closed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE pairs (n INTEGER, half INTEGER, filler TEXT)")
        connection.execute("PRAGMA user_version=7")
        for n in range(pairs):
            write_pair(connection, n)


def write_pair(connection: sqlite3.Connection, n: int) -> None:
    """Write two rows in one transaction: whoever sees one of them has a torn copy."""
    connection.execute("BEGIN IMMEDIATE")
    for half in (1, 2):
        connection.execute("INSERT INTO pairs VALUES (?, ?, ?)", (n, half, "x" * 500))
    connection.execute("COMMIT")


def settle(file: Path) -> None:
    """Make the database look as if it was written to long ago."""
    # The time of the last change cannot be set, so the tests let the present be later.
    for each in file.parent.iterdir():
        os.utime(each, ns=(LONG_AGO, LONG_AGO))


@contextmanager
def writer(file: Path) -> Iterator[None]:
    """Write pairs as fast as it goes."""
    stop = Event()

    def write() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
            n = 1000
            while not stop.is_set():
                write_pair(connection, n)
                n += 1
                stop.wait(0.001)

    thread = Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def pairs(file: Path) -> int:
    """Return the number of pairs in a database; AssertionError when one is torn."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT n, count(*) FROM pairs GROUP BY n").fetchall()
    assert {count for _, count in rows} <= {2}
    numbers = [n for n, _ in rows if n >= 1000]
    assert numbers == list(range(1000, 1000 + len(numbers))), "a pair in the middle is missing"
    return len(rows)
