"""The server as the commands see it: what to read, what to start, where to speak, what time it is.

Everything the commands need from outside is in one value, so that tests give them another server.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

from tradingctl.errors import NotRootError
from tradingctl.paths import Paths
from tradingctl.process import Programs, Runner


class Clock(Protocol):
    """A monotonic clock in seconds, the one of which systemd's timestamps are."""

    def now(self) -> float:
        """Return the seconds since boot."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class MonotonicClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return the seconds since boot."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def wall_time() -> datetime:
    """Return the date and time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Server:
    """A server: its files, its programs, its clocks, who asks, and where the answers go."""

    paths: Paths
    runner: Runner
    environ: Mapping[str, str]
    euid: int
    out: TextIO
    err: TextIO
    clock: Clock = field(default_factory=MonotonicClock)
    wall: Callable[[], datetime] = wall_time

    def say(self, text: str) -> None:
        """Write a result to standard output."""
        self.out.write(text + "\n")
        self.out.flush()

    def warn(self, text: str) -> None:
        """Write a message to standard error, for debconf may own standard output."""
        self.err.write(text + "\n")
        self.err.flush()

    def require_root(self, command: str) -> None:
        """Raise NotRootError unless root asks."""
        if self.euid != 0:
            raise NotRootError(
                f"tradingctl {command} changes the system and needs root",
                f"sudo tradingctl {command}",
            )


def this_server() -> Server:
    """Return the server this program runs on, or the tree that dpkg installs into."""
    root = Path(os.environ.get("DPKG_ROOT") or "/")
    return Server(
        paths=Paths(root),
        runner=Programs(),
        environ=dict(os.environ),
        euid=os.geteuid(),
        out=sys.stdout,
        err=sys.stderr,
    )
