"""Entry point of ``python3 -I /usr/share/traderunner-common/tradingctl``.

Python then searches for modules in that directory alone, which is the package itself; its parent
takes the place, so that the package is found by its name and none of its modules hides one of the
standard library.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    sys.dont_write_bytecode = True
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tradingctl import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command as a program of its own and return its exit code."""
    # What is made below /opt/trading is for the services to read, whatever root's own mask is.
    os.umask(0o022)
    # A stream that was closed when the program was started is None.
    streams = [each for each in (sys.stdout, sys.stderr) if isinstance(each, io.TextIOWrapper)]
    for stream in streams:
        # Not every locale has every sign, and a file may have a name that is no text.
        stream.reconfigure(errors="backslashreplace")
    try:
        return cli.main(argv)
    finally:
        for stream in streams:
            _give_up_unwritten(stream)


def _give_up_unwritten(stream: io.TextIOWrapper) -> None:
    """Let the interpreter have nothing to flush at exit: it would complain, and exit with 120."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
