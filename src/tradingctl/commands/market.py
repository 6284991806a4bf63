"""The commands about the exchange's hours: what timers call at its open and after its close."""

from __future__ import annotations

import argparse

from tradingctl.commands.adding import Commands
from tradingctl.deploy.store import declared
from tradingctl.inventory import read_inventory
from tradingctl.market.session import close_market, open_market
from tradingctl.market.waiting import wait_for_packages
from tradingctl.server import Server

WAIT_SECONDS = 600.0


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    market = commands.add(
        "market", "start services if the market is open, stop them if it is closed", _market
    )
    market.add_argument("what", choices=("open", "close"), help="start, or stop")
    market.add_argument("--force", action="store_true", help="whatever the exchange's hours are")
    market.add_argument(
        "--wait", action="store_true", help="wait up to 10 minutes until apt and dpkg have ended"
    )


def _market(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"market {arguments.what}")
    if arguments.wait and not wait_for_packages(server, WAIT_SECONDS):
        server.warn("warning: apt or dpkg still works; not waiting any longer")
    if arguments.what == "open":
        return open_market(server, read_inventory(server.paths), arguments.force)
    # What cannot be read is no reason to let a worker run on.
    return close_market(server, declared(server), arguments.force)
