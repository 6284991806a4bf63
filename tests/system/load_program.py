"""What runs inside a machine while a scenario goes on: writers that keep account, and a prober.

Standard library only: it is copied into the machine and started by :mod:`tests.system.load`.

    load_program.py post FILE RUN PER_SECOND                order intents over HTTP
    load_program.py insert FILE RUN PER_SECOND DATABASE...  rows in SQLite files
    load_program.py probe FILE INTERVAL                     questions to every service

``FILE`` gets one JSON document a line. A row is in it only after it was acknowledged: after the
answer to the POST, or after the commit.
"""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

API = ("127.0.0.1", 8080)
TIMEOUT = 2.0
TABLE = "CREATE TABLE IF NOT EXISTS load_rows (key TEXT PRIMARY KEY, at TEXT NOT NULL)"

# By service: port, path that tells its health, path that tells its parts, status of a good answer.
SERVICES = {
    "marketdata-stream": (8090, "/health", "/parts", 200),
    "automatictrader-api": (8080, "/healthz", "/parts", 200),
    "trading-dashboard-v2": (9001, "/", "/", 401),
}


class Account:
    """A file that lines are added to, each at once and as a whole."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, **entry: object) -> None:
        """Add one line."""
        os.write(self._handle, (json.dumps(entry) + "\n").encode())


def paced(interval: float) -> Iterator[int]:
    """Count from 0, once every ``interval`` seconds of the monotonic clock, without catching up."""
    due, number = time.monotonic(), 0
    while True:
        yield number
        number += 1
        due = max(due + interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def ask(
    address: tuple[str, int], method: str, path: str, body: str | None, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer; OSError or HTTPException if there is none."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def post(account: Account, run: str, per_second: float) -> None:
    """Post order intents, each under a key of its own, and note those that were accepted."""
    body = json.dumps({"symbol": "LOAD", "side": "BUY", "quantity": 1})
    for number in paced(1 / per_second):
        key = f"{run}-{number}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if token := os.environ.get("LOAD_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        try:
            status, _, _ = ask(API, "POST", "/api/v1/orderintents", body, headers)
        except (OSError, http.client.HTTPException):
            continue
        if status in (200, 201):
            account.add(kind="intent", key=key)


def insert(account: Account, run: str, per_second: float, databases: list[str], keep: bool) -> None:
    """Insert rows in a table of our own in each database, and note those that were committed.

    With ``keep`` the databases stay open as those of a service, else each row is a script's.
    """
    opened: dict[str, tuple[int, sqlite3.Connection]] = {}
    for number in paced(1 / per_second):
        key = f"{run}-{number}"
        for database in databases:
            try:
                inode = Path(database).stat().st_ino
                if database not in opened or opened[database][0] != inode:
                    opened[database] = (inode, opened_database(database))
                connection = opened[database][1]
                with connection:
                    connection.execute(
                        "INSERT INTO load_rows (key, at) VALUES (?, datetime('now'))", (key,)
                    )
            except (OSError, sqlite3.Error):
                opened.pop(database, None)
                continue
            account.add(kind=database, key=key)
            if not keep:
                opened.pop(database)[1].close()


def opened_database(path: str) -> sqlite3.Connection:
    """Open a database that is there, in the journal mode that it has."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(TABLE)
    return connection


def probe(account: Account, interval: float) -> None:
    """Ask every service in turn for its health and its parts, and note every answer."""
    threads = [
        threading.Thread(target=probe_one, args=(account, interval, name), daemon=True)
        for name in SERVICES
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def probe_one(account: Account, interval: float, name: str) -> None:
    """Ask one service."""
    port, health, parts, good = SERVICES[name]
    for number in paced(interval):
        path = parts if number % 2 else health
        try:
            status, headers, body = ask(("127.0.0.1", port), "GET", path, None, {})
            seen = understood(status, headers, body, good)
        except (OSError, http.client.HTTPException, ValueError) as error:
            seen = {"good": False, "error": f"{type(error).__name__}: {error}"}
        account.add(service=name, at=time.monotonic(), path=path, **seen)


def understood(status: int, headers: dict[str, str], body: bytes, good: int) -> dict[str, Any]:
    """Return what an answer says: whether it is good, the commit, the parts."""
    seen: dict[str, Any] = {"good": status == good, "status": status}
    if status != good:
        return seen
    if "x-parts" in headers:  # the dashboard
        seen["parts"] = json.loads(headers["x-parts"])
        seen["commit"] = headers["x-release-commit"]
        return seen
    answer = json.loads(body)
    if "labels" in answer:
        seen["parts"] = answer
        seen["commit"] = answer["commits"][0]
    else:
        seen["commit"] = answer["commit"]
    return seen


def main(arguments: list[str]) -> None:
    """Do what the command line says until the process is ended."""
    what, file, *rest = arguments
    account = Account(file)
    # Not as arguments: by these one would know what a process has to do with.
    databases = os.environ.get("LOAD_DATABASES", "").split()
    programs: dict[str, Callable[[], None]] = {
        "post": lambda: post(account, rest[0], float(rest[1])),
        "insert": lambda: insert(account, rest[0], float(rest[1]), databases, keep=True),
        "script": lambda: insert(account, rest[0], float(rest[1]), databases, keep=False),
        "probe": lambda: probe(account, float(rest[0])),
    }
    programs[what]()


if __name__ == "__main__":
    main(sys.argv[1:])
