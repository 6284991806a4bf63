"""``status``, ``verify``, and what maintainer scripts and units call about one component."""

from __future__ import annotations

import argparse
import json
import re

from tradingctl.activate import activate, deactivate
from tradingctl.commands.adding import Commands
from tradingctl.errors import TradingError
from tradingctl.inventory import read_inventory, read_inventory_of
from tradingctl.market.resting import resting_units
from tradingctl.report import verification_text, wants_colour
from tradingctl.server import Server
from tradingctl.status import status, status_text
from tradingctl.verdict import Result
from tradingctl.verify import verify
from tradingctl.waitready import wait_ready


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    shown = commands.add("status", "show what is installed and how it does", _status)
    shown.add_argument("--json", action="store_true", help="print JSON")
    verified = commands.add(
        "verify", "prove that the installed release runs and is healthy", _verify
    )
    verified.add_argument("--json", action="store_true", help="print JSON")
    verified.add_argument("names", nargs="*", metavar="NAME", help="a component or unit")
    activated = commands.add("activate", "make the unpacked release of a component run", _activate)
    activated.add_argument("name", metavar="NAME", help="the component")
    removed = commands.add(
        "deactivate", "stop a component and remove its code, not its data", _deactivate
    )
    removed.add_argument("name", metavar="NAME", help="the component")
    awaited = commands.add("wait-ready", "wait until a starting service answers", _wait_ready)
    awaited.add_argument("unit", metavar="UNIT", help="the unit")
    awaited.add_argument("--once", action="store_true", help="ask it once, and wait for nothing")


def _status(server: Server, arguments: argparse.Namespace) -> int:
    found = status(server, read_inventory(server.paths))
    server.report(json.dumps(found.as_data(), indent=2) if arguments.json else status_text(found))
    return 0


def _verify(server: Server, arguments: argparse.Namespace) -> int:
    inventory = read_inventory(server.paths)
    resting = resting_units(server)
    found = verify(server, inventory, arguments.names, resting, refused=Result.FAILED)
    if arguments.json:
        server.report(json.dumps(found.as_data(), indent=2))
    else:
        server.report(verification_text(found, wants_colour(server.out, server.environ)))
    return found.exit_code


def _activate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"activate {arguments.name}")
    activate(server, read_inventory(server.paths).component(arguments.name))
    return 0


def _deactivate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"deactivate {arguments.name}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", arguments.name):
        raise TradingError(
            f"{arguments.name!r} is not the name of a component", "tradingctl status"
        )
    try:
        component = read_inventory(server.paths).component(arguments.name)
    except TradingError:
        # Removal must succeed: what has no readable description is removed by its name.
        deactivate(server, arguments.name, None)
    else:
        deactivate(server, component.name, component)
    return 0


def _wait_ready(server: Server, arguments: argparse.Namespace) -> int:
    inventory = read_inventory_of(server.paths, arguments.unit)
    wait_ready(server, inventory, arguments.unit, arguments.once)
    return 0
