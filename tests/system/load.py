"""Load and observation: what is written and asked in a machine while a scenario goes on.

    with under_load(machine) as load:
        install_stack(machine)
    print(load.report())

At the end no acknowledged row may be missing and no answer may come from mixed code; both are
asserted when the block ends without an exception, with the machine booted or off. After the end of
a boot, `load.start()` goes on; what was acknowledged before still counts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.machine import Machine
from tests.system.stack import INTENTS_DB, command, rows

PROBE_SECONDS = 0.02
INTENTS_PER_SECOND = 20.0
ROWS_PER_SECOND = 20.0
START_SECONDS = 30.0
STREAM_DATA = "/var/lib/trading/marketdata-stream/data"
DATABASES = (f"{STREAM_DATA}/signals.db", f"{STREAM_DATA}/market_data.db")
SERVICES = ("marketdata-stream", "automatictrader-api", "trading-dashboard-v2")

_FOLDER = "/srv/load"
_PROGRAM = f"{_FOLDER}/load_program.py"
_UNITS = ("load-post", "load-insert", "load-probe")


@dataclass(frozen=True)
class Answers:
    """What the prober saw of every service, in the order of time."""

    seen: tuple[dict[str, Any], ...]

    def of(self, service: str) -> list[dict[str, Any]]:
        """Return the answers of a service, and the questions that had none."""
        return [each for each in self.seen if each["service"] == service]

    def downtime(self, service: str) -> float:
        """Return the longest time between two good answers, in seconds.

        It counts from the first good answer, and if there is none at the end, to the last question.
        """
        asked = self.of(service)
        good = [each["at"] for each in asked if each["good"]]
        assert good, f"{service} never gave a good answer: {asked[-1:]}"
        good.append(max(good[-1], asked[-1]["at"]))
        return float(max(after - before for before, after in itertools.pairwise(good)))

    def commits(self, service: str) -> list[str]:
        """Return the commits that a service said it runs, each time that it changed."""
        found = [each["commit"] for each in self.of(service) if "commit" in each]
        return [commit for commit, _ in itertools.groupby(found)]

    def assert_never_mixed(self) -> None:
        """Assert that every answer came from the code of one commit.

        Modules that are imported anew at each question must agree with each other, with the tree's
        RELEASE.json and with the commit that the process started with; and a service that is
        healthy before and after must be able to import them.
        """
        for service in SERVICES:
            asked = self.of(service)
            told = [each for each in asked if "parts" in each]
            assert told, f"{service} never told its parts"
            labels: dict[str, list[str]] = {}
            for each in told:
                parts = each["parts"]
                where = f"{service} answered from mixed code: {each}"
                assert len(set(parts["commits"])) == 1, where
                assert len(set(parts["labels"])) == 1, where
                assert labels.setdefault(each["commit"], parts["labels"]) == parts["labels"], where
            for before, each, after in zip(asked, asked[1:], asked[2:], strict=False):
                # A health check that says so is an answer, of a service that is not well.
                whole = each["path"] in ("/parts", "/")
                surrounded = whole and before["good"] and after["good"]
                refused = surrounded and each.get("status", 0) >= 500
                assert not refused, f"{service} is healthy and cannot import itself: {each}"


class Load:
    """Writers that keep account and a prober, in a booted machine with the slim stack.

    ``writer`` is the account that writes to the databases, ``token`` what the API asks for. What is
    ``scripted`` opens a database for each row, as a script of the administrator does.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        intents_per_second: float = INTENTS_PER_SECOND,
        rows_per_second: float = ROWS_PER_SECOND,
        databases: Sequence[str] = DATABASES,
        writer: str = "trading",
        token: str = "",
        scripted: bool = False,
    ) -> None:
        self._machine = machine
        self._rates = (intents_per_second, rows_per_second)
        self._databases = tuple(databases)
        self._writer, self._token = writer, token
        self._insert = "script" if scripted else "insert"
        self._kinds = ("intent", *self._databases)

    def start(self) -> None:
        """Begin, or go on after another boot, and wait until all of it is at work."""
        run = f"load-{uuid.uuid4().hex[:8]}"
        self._machine.copy_in(Path(__file__).with_name("load_program.py"), _PROGRAM)
        self._machine.run("chmod", "1777", _FOLDER)
        before = self.acknowledged()
        intents, rate = (str(each) for each in self._rates)
        self._start("load-post", "root", "post", "intents", run, intents)
        self._start("load-insert", self._writer, self._insert, "rows", run, rate)
        self._start("load-probe", "root", "probe", "answers", str(PROBE_SECONDS))
        self.wait_for_rows(1, since=before)
        self._machine.wait_until(
            lambda: (
                {each["service"] for each in self.answers().seen if "parts" in each}
                == set(SERVICES)
            ),
            START_SECONDS,
            "the parts of every service",
        )

    def _start(self, unit: str, user: str, what: str, file: str, *arguments: str) -> None:
        self._machine.run(
            *("systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--uid={user}"),
            f"--setenv=LOAD_TOKEN={self._token}",
            f"--setenv=LOAD_DATABASES={' '.join(self._databases)}",
            *("/usr/bin/python3", "-IB", _PROGRAM, what, f"{_FOLDER}/{file}", *arguments),
        )

    def stop(self) -> None:
        """End the writers and the prober; nothing happens in a machine that is off."""
        if self._machine.booted:
            self._machine.run("systemctl", "stop", *_UNITS, check=False)

    def acknowledged(self) -> Counter[str]:
        """Return how many rows of each kind were acknowledged so far."""
        return Counter(each["kind"] for each in self._entries("intents", "rows"))

    def keys(self, kind: str) -> list[str]:
        """Return the keys of the acknowledged rows of a kind, in the order of time."""
        return [each["key"] for each in self._entries("intents", "rows") if each["kind"] == kind]

    def wait_for_rows(self, count: int, since: Counter[str] | None = None) -> None:
        """Wait until ``count`` more rows of each kind are acknowledged; TimeoutError if not."""
        before = self.acknowledged() if since is None else since

        def enough() -> bool:
            now = self.acknowledged()
            return all(now[kind] >= before[kind] + count for kind in self._kinds)

        self._machine.wait_until(enough, START_SECONDS, f"{count} more rows of {self._kinds}")

    def missing(self) -> list[str]:
        """Return the acknowledged rows that are not in the databases, as ``kind key``."""
        stored = {("intent", each["key"]) for each in self._stored(INTENTS_DB, _INTENT_KEYS)}
        for database in self._databases:
            stored |= {(database, each["key"]) for each in self._stored(database, _ROW_KEYS)}
        told = {(each["kind"], each["key"]) for each in self._entries("intents", "rows")}
        return sorted(" ".join(each) for each in told - stored)

    def assert_nothing_lost(self) -> None:
        """Assert that every acknowledged row is in the databases, and that some were."""
        counts = self.acknowledged()
        assert all(counts[kind] for kind in self._kinds), f"not all writers wrote: {counts}"
        missing = self.missing()
        assert not missing, f"{len(missing)} of {counts.total()} rows are lost: {missing[:10]}"

    def answers(self) -> Answers:
        """Return what the prober saw so far."""
        return Answers(tuple(sorted(self._entries("answers"), key=lambda each: each["at"])))

    def report(self) -> str:
        """Return the rows written and the downtime of each service, for people."""
        answers, counts = self.answers(), self.acknowledged()
        written = ", ".join(f"{kind} {counts[kind]}" for kind in self._kinds)
        lines = [f"{name}: {answers.downtime(name):.2f} s without an answer" for name in SERVICES]
        return "\n".join([*lines, f"rows: {written}"])

    def _entries(self, *files: str) -> list[dict[str, Any]]:
        paths = [f"{_FOLDER}/{file}" for file in files]
        # A file is not there before its program started.
        text = command(self._machine, "cat", "--", *paths, check=False).stdout
        # A power cut may leave the last line of a file incomplete.
        lines = (line for line in text.splitlines() if line.startswith("{") and line[-1] == "}")
        return [json.loads(line) for line in lines]

    def _stored(self, database: str, query: str) -> list[dict[str, Any]]:
        return rows(self._machine, database, query)


_INTENT_KEYS = "SELECT idempotency_key AS key FROM order_intents"
_ROW_KEYS = "SELECT key FROM load_rows"


@contextlib.contextmanager
def under_load(machine: Machine, honest: bool = True, **rates: Any) -> Iterator[Load]:
    """Write and ask while the block runs; see the module. ``rates`` are those of Load.

    Without ``honest`` code that says of itself what it is not is none that is mixed.
    """
    load = Load(machine, **rates)
    load.start()
    yield load
    load.stop()
    load.assert_nothing_lost()
    if honest:
        load.answers().assert_never_mixed()
