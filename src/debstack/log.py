"""How debstack speaks: one line when a step starts, one with its time when it ends, on stderr.

Results (tables, JSON, paths) go to stdout and are printed by the command line only.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Log:
    """Writes whole lines, so that steps of several components can run at once and stay readable."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def say(self, subject: str, text: str) -> None:
        """Print one line about ``subject`` (a component, the archive)."""
        if not self.quiet:
            with self._lock:
                self.stream.write(f"{subject:<28} {text}\n")
                self.stream.flush()

    def warn(self, text: str) -> None:
        """Print a warning; shown even when quiet."""
        with self._lock:
            mark = "\033[1;33mwarning:\033[0m" if self.stream.isatty() else "warning:"
            self.stream.write(f"{mark} {text}\n")
            self.stream.flush()

    @contextmanager
    def step(self, subject: str, text: str) -> Iterator[None]:
        """Announce a step and say how many seconds it took, or that it failed."""
        self.say(subject, f"{text} …")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self.say(subject, f"{text}: failed after {time.monotonic() - start:.1f} s")
            raise
        self.say(subject, f"{text}: {time.monotonic() - start:.1f} s")
