"""The commands about releases: the gate, and the events of the past."""

from __future__ import annotations

import argparse

from tradingctl.commands.adding import Commands
from tradingctl.gate import gate
from tradingctl.inventory import read_inventory
from tradingctl.server import Server


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.add("gate", "start and verify the stack, for the postinst of traderunner-stack", _gate)


def _gate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("gate")
    return gate(server, read_inventory(server.paths))
