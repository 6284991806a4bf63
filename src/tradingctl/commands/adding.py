"""How a command is added to the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from tradingctl.server import Server

Run: TypeAlias = Callable[[Server, argparse.Namespace], int]

EXIT_CODES = """\
exit codes:
  0    done; healthy, also when something merely wanted is degraded
  1    the release did not pass, was taken back or restored and is not healthy;
       doctor: something was found
  2    wrong usage
  3    verify: a required service failed
  4    verify: skipped, nothing could be verified here
  5    refused: what lies in the way is printed, and what to type
  6    no component is installed
  130  interrupted
"""


class Commands:
    """The commands of a parser; each has the exit codes in its help."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(self, name: str, about: str, run: Run) -> argparse.ArgumentParser:
        """Return the parser of a new command; ``about`` is its line in the list of commands."""
        made = self._commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made
