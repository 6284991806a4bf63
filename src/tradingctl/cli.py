"""The command line: parses, calls, prints, and turns errors into text and an exit code."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence

from tradingctl.activate import activate, deactivate
from tradingctl.errors import TradingError
from tradingctl.gate import gate
from tradingctl.inventory import read_inventory, read_inventory_of
from tradingctl.report import verification_text, wants_colour
from tradingctl.server import Server, this_server
from tradingctl.status import status, status_text
from tradingctl.verify import verify
from tradingctl.waitready import wait_ready

EXIT_CODES = """\
exit codes:
  0    done; healthy, also when something merely wanted is degraded
  1    the gate did not let the release pass, or a service did not become ready
  2    wrong usage
  3    verify: a required service failed
  4    verify: skipped, nothing could be verified here
  5    refused: a description is bad, root is needed, or something lies in the way
  6    no component is installed
  130  interrupted
"""


def _activate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"activate {arguments.name}")
    activate(server, read_inventory(server.paths).component(arguments.name))
    return 0


def _deactivate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root(f"deactivate {arguments.name}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", arguments.name):
        raise TradingError(f"{arguments.name!r} is not the name of a component")
    try:
        component = read_inventory(server.paths).component(arguments.name)
    except TradingError:
        # Removal must succeed: what has no readable description is removed by its name.
        deactivate(server, arguments.name, None)
    else:
        deactivate(server, component.name, component)
    return 0


def _verify(server: Server, arguments: argparse.Namespace) -> int:
    found = verify(server, read_inventory(server.paths), arguments.names)
    if arguments.json:
        server.say(json.dumps(found.as_data(), indent=2))
    else:
        server.say(verification_text(found, wants_colour(server.out, server.environ)))
    return found.exit_code


def _gate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("gate")
    return gate(server, read_inventory(server.paths))


def _status(server: Server, arguments: argparse.Namespace) -> int:
    found = status(server, read_inventory(server.paths))
    server.say(json.dumps(found.as_data(), indent=2) if arguments.json else status_text(found))
    return 0


def _wait_ready(server: Server, arguments: argparse.Namespace) -> int:
    wait_ready(server, read_inventory_of(server.paths, arguments.unit), arguments.unit)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="tradingctl",
        description="Activate, verify and report on the installed trading services.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, about: str, run: Callable[[Server, argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    shown = command("status", "show what is installed and how it does", _status)
    shown.add_argument("--json", action="store_true", help="print JSON")
    verified = command("verify", "prove that the installed release runs and is healthy", _verify)
    verified.add_argument("--json", action="store_true", help="print JSON")
    verified.add_argument("names", nargs="*", metavar="NAME", help="a component or unit")
    activated = command("activate", "make the unpacked release of a component run", _activate)
    activated.add_argument("name", metavar="NAME", help="the component")
    removed = command(
        "deactivate", "stop a component and remove its code, not its data", _deactivate
    )
    removed.add_argument("name", metavar="NAME", help="the component")
    command("gate", "start and verify the stack, for the postinst of traderunner-stack", _gate)
    awaited = command("wait-ready", "wait until a starting service answers", _wait_ready)
    awaited.add_argument("unit", metavar="UNIT", help="the unit")
    return top


def main(argv: Sequence[str] | None = None, server: Server | None = None) -> int:
    """Run one command and return its exit code; argparse exits by itself on wrong usage."""
    arguments = parser().parse_args(argv)
    server = server or this_server()
    try:
        code: int = arguments.run(server, arguments)
    except TradingError as error:
        server.warn(f"tradingctl: {error.message}")
        if error.next_command:
            server.warn(f"  next: {error.next_command}")
        return error.exit_code
    except BrokenPipeError:
        return 1
    except OSError as error:
        server.warn(f"tradingctl {arguments.command}: {error}")
        server.warn("  next: df -h; then dpkg --configure -a")
        return TradingError.exit_code
    except KeyboardInterrupt:
        return 130
    return code
