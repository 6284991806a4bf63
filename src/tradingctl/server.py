"""The server as the commands see it: what to read, what to start, where to speak, what time it is.

Everything the commands need from outside is in one value, so that tests give them another server.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
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
    """A server: its files, its programs, its clocks, who asks, and where the answers go.

    ``out`` and ``err`` are None where the program was started with that stream closed.
    """

    paths: Paths
    runner: Runner
    environ: Mapping[str, str]
    euid: int
    out: TextIO | None
    err: TextIO | None
    clock: Clock = field(default_factory=MonotonicClock)
    wall: Callable[[], datetime] = wall_time

    def report(self, text: str) -> None:
        """Write to standard output what was asked for, where nothing else is done.

        Raises OSError when it cannot be written.
        """
        try:
            _write(self.out, text)
        except OSError as error:
            error.filename = "standard output"
            raise

    def say(self, text: str) -> None:
        """Write to standard output what is being done. Never raises, as ``warn`` does not."""
        with suppress(OSError, ValueError):
            _write(self.out, text)

    def warn(self, text: str) -> None:
        """Write a message to standard error, for debconf may own standard output. Never raises.

        A pipe that nobody reads any more, a terminal that is gone or a full disk is no reason to
        leave undone what is being done.
        """
        with suppress(OSError, ValueError):
            _write(self.err, text)

    def require_root(self, command: str) -> None:
        """Raise NotRootError unless root asks."""
        if self.euid != 0:
            raise NotRootError(
                f"tradingctl {command} changes the system and needs root",
                f"sudo tradingctl {command}",
            )


def _write(stream: TextIO | None, text: str) -> None:
    """Write a line; raises OSError, and ValueError for text that cannot be encoded."""
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    stream.write(text + "\n")
    stream.flush()


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
