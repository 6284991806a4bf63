"""Entry point of ``python3 -I /usr/share/traderunner-common/tradingctl``.

Python then searches for modules in that directory alone, which is the package itself; its parent
takes the place, so that the package is found by its name and none of its modules hides one of the
standard library.
"""

from __future__ import annotations

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
    code = cli.main(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain at exit, when it flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
