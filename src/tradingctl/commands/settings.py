"""What maintainer scripts call about the files in /etc/trading."""

from __future__ import annotations

import argparse
import re

from tradingctl.commands.adding import Commands
from tradingctl.errors import TradingError
from tradingctl.server import Server
from tradingctl.settings import apply, plan


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    placed = commands.add(
        "settings", "put a package's settings in place, except what was edited", _settings
    )
    placed.add_argument("--dry-run", action="store_true", help="show what would be done, and why")
    placed.add_argument("package", metavar="PACKAGE", help="the package they belong to")
    placed.add_argument("names", nargs="+", metavar="NAME", help="a file of /etc/trading")


def _settings(server: Server, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise TradingError(
                f"{name!r} is not the name of a file of settings", "ls /usr/share/trading/settings"
            )
    if arguments.dry_run:
        for step in plan(server, arguments.names):
            server.report(f"{step.action:<8} {server.paths.shown(step.file)}: {step.reason}")
        return 0
    server.require_root(f"settings {arguments.package} {' '.join(arguments.names)}")
    apply(server, arguments.package, plan(server, arguments.names))
    return 0
