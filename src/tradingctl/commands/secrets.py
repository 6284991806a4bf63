"""The commands about what nobody but the services may know."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from dataclasses import asdict

from tradingctl.commands.adding import Commands
from tradingctl.doctor.diagnosis import diagnosis, diagnosis_text
from tradingctl.errors import NotRootError
from tradingctl.inventory import read_inventory
from tradingctl.server import Server
from tradingctl.set_secret import (
    move_secret,
    new_value,
    owners_of,
    set_secret,
    undeclared_owners,
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    examined = commands.add(
        "doctor", "report secrets that are weak, missing or open to others", _doctor
    )
    examined.add_argument("--json", action="store_true", help="print JSON")
    kept = commands.add(
        "secret", "set a secret of the services; by default it is asked for, or read", _secret
    )
    kept.add_argument("variable", metavar="VARIABLE", help="such as AT_BEARER_TOKEN")
    way = kept.add_mutually_exclusive_group()
    way.add_argument("--generate", action="store_true", help="make a new one")
    way.add_argument("--move", action="store_true", help="put the one there is where it belongs")
    kept.add_argument(
        "--component", action="append", default=[], metavar="NAME", help="of this component alone"
    )


def _doctor(server: Server, arguments: argparse.Namespace) -> int:
    if server.euid != 0:
        raise NotRootError(
            "tradingctl doctor looks at secrets and needs root", "sudo tradingctl doctor"
        )
    found = diagnosis(server, read_inventory(server.paths))
    if arguments.json:
        server.report(json.dumps({"findings": [asdict(each) for each in found]}, indent=2))
    else:
        server.report(diagnosis_text(found))
    return 1 if found else 0


def _secret(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"secret {arguments.variable}")
    inventory, variable = read_inventory(server.paths), arguments.variable
    declared = {each.variable for component in inventory.components for each in component.secrets}
    if arguments.move and variable not in declared:
        move_secret(server, undeclared_owners(server, inventory, variable, arguments.component))
        return 0
    owners = owners_of(inventory, variable, arguments.component)
    if arguments.move:
        move_secret(server, owners)
    else:
        value = new_value(owners) if arguments.generate else _asked(variable)
        set_secret(server, owners, value)
    return 0


def _asked(variable: str) -> str:
    """Return what a person types, unseen, or the first line of standard input."""
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(f"{variable}: ")
    return sys.stdin.readline().rstrip("\n") if sys.stdin is not None else ""
