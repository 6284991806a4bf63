"""The one module that starts programs.

Programs get a fixed search path and language, no standard input, and none of our open files: under
debconf, file descriptor 3 left open in a service would make apt wait for that service.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_PREFIXES = ("DPKG_", "DEBIAN_", "DEB_", "SYSTEMD_", "TRADING_")
NOTHING: Mapping[str, str] = {}
TIMED_OUT = 124
NOT_EXECUTABLE = 126
NOT_FOUND = 127


@dataclass(frozen=True)
class Outcome:
    """What a program said and its exit code (124, 126, 127 as the shell has them)."""

    command: tuple[str, ...]
    code: int
    output: str = ""
    errors: str = ""

    @property
    def said(self) -> str:
        """The last line the program said, else its exit code."""
        lines = (self.output + "\n" + self.errors).strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}"

    def __str__(self) -> str:
        return f"{shlex.join(self.command)}: exit code {self.code}"


class Runner(Protocol):
    """Starts a program and waits for it; tests give one that starts nothing."""

    def run(
        self, command: Sequence[str], timeout: float = 60.0, extra: Mapping[str, str] = NOTHING
    ) -> Outcome:
        """Return what ``command`` did within ``timeout`` seconds; never raises.

        ``extra`` are variables for its environment.
        """

    def follow(self, command: Sequence[str], extra: Mapping[str, str] = NOTHING) -> int:
        """Run ``command`` to its end, its output going where ours goes; return its exit code."""

    def feed(self, command: Sequence[str], chunks: Iterable[bytes]) -> Outcome:
        """Return what ``command`` did with ``chunks`` as its standard input.

        Raises what ``chunks`` raises, and nothing else.
        """


class Programs:
    """The runner that really starts programs."""

    def run(
        self, command: Sequence[str], timeout: float = 60.0, extra: Mapping[str, str] = NOTHING
    ) -> Outcome:
        """Return what ``command`` did within ``timeout`` seconds; never raises.

        ``extra`` are variables for its environment.
        """
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                env=_environment(extra),
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(tuple(command), TIMED_OUT, "", f"no end within {timeout:g} s")
        except FileNotFoundError:
            return Outcome(tuple(command), NOT_FOUND, "", f"{command[0]}: not found")
        except OSError as error:
            return Outcome(tuple(command), NOT_EXECUTABLE, "", f"{command[0]}: {error.strerror}")
        return Outcome(tuple(command), done.returncode, done.stdout, done.stderr)

    def follow(self, command: Sequence[str], extra: Mapping[str, str] = NOTHING) -> int:
        """Run ``command`` to its end, its output going where ours goes; return its exit code."""
        try:
            return subprocess.run(
                list(command), stdin=subprocess.DEVNULL, env=_environment(extra), check=False
            ).returncode
        except FileNotFoundError:
            return NOT_FOUND
        except OSError:
            return NOT_EXECUTABLE

    def feed(self, command: Sequence[str], chunks: Iterable[bytes]) -> Outcome:
        """Return what ``command`` did with ``chunks`` as its standard input.

        Raises what ``chunks`` raises, and nothing else.
        """
        # Files: a pipe that nobody reads while the input is written could stop both.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(
                    list(command), stdin=subprocess.PIPE, stdout=out, stderr=err,
                    env=_environment(NOTHING),
                )  # fmt: skip
            except FileNotFoundError:
                return Outcome(tuple(command), NOT_FOUND, "", f"{command[0]}: not found")
            except OSError as error:
                return Outcome(
                    tuple(command), NOT_EXECUTABLE, "", f"{command[0]}: {error.strerror}"
                )
            # One that ends before it has read everything is judged by what it said.
            with process, suppress(BrokenPipeError):
                assert process.stdin is not None  # noqa: S101  (stdin=PIPE above)
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
        return Outcome(tuple(command), process.returncode, *texts)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key.startswith(KEPT_PREFIXES)}
    return {**kept, "PATH": SEARCH_PATH, "LANG": "C.UTF-8", **extra}
