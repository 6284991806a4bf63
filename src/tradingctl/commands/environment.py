"""The command about what this machine is, and what units ask because of it."""

from __future__ import annotations

import argparse
import re

from tradingctl.backup.worker_mode import NO_WORD
from tradingctl.commands.adding import Commands
from tradingctl.environment import (
    KNOWN,
    read_environment,
    set_environment,
    spelling_note,
    write_spelling,
)
from tradingctl.errors import TradingError
from tradingctl.inventory import read_inventory, read_inventory_of, service
from tradingctl.order_safety import may_start, order_notes
from tradingctl.server import Server


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    named = commands.add("environment", "show or say what this machine is", _environment)
    named.add_argument("value", nargs="?", choices=KNOWN, help="what it is from now on")
    named.add_argument(
        "--spell", metavar="UNIT", help="for ExecStartPre=: write it in the words of the service"
    )
    asked = commands.add(
        "may-start", "tell whether a unit may start: not to send orders on staging", _may_start
    )
    asked.add_argument("unit", metavar="UNIT", help="the unit")


def _environment(server: Server, arguments: argparse.Namespace) -> int:
    if arguments.spell:
        inventory = read_inventory_of(server.paths, arguments.spell)
        write_spelling(server, inventory.unit(arguments.spell)[0])
        return 0
    wanted = arguments.value
    if wanted is None:
        value = read_environment(server.paths)
        note = _spelling(server, value)
        server.report((_word(value) or "unknown") + (f" ({note})" if note else ""))
        return 0
    server.require_root(f"environment {wanted}")
    before = set_environment(server, wanted)
    if before is not None:
        server.warn(f"this machine is {wanted} by {server.paths.shown(server.paths.environment)}")
    if before:
        _say_consequences(server)
    return 0


def _word(value: str) -> str:
    """Return what is written, for debconf as well: no part of it is to look like the whole.

    The value of a quote that is not closed has the lines behind it.
    """
    return value if re.fullmatch(r"[^\n(]*", value) else NO_WORD


def _spelling(server: Server, value: str) -> str:
    try:
        return spelling_note(read_inventory(server.paths), value)
    except TradingError:
        return ""


def _say_consequences(server: Server) -> None:
    try:
        inventory = read_inventory(server.paths)
    except TradingError:
        return  # nothing is installed yet, or not whole: it reads the file when it starts
    units = " ".join(service(unit.name) for _, unit in inventory.units())
    server.warn(f"the services know it after: systemctl restart {units}")
    for note in order_notes(server, inventory):
        server.warn(f"note: {note}")


def _may_start(server: Server, arguments: argparse.Namespace) -> int:
    may_start(server, arguments.unit)
    return 0
