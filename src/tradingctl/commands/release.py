"""The commands about releases, and what apt, dpkg and systemd call on the way."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from tradingctl.adopt.disabled import keep_disabled
from tradingctl.commands.adding import Commands
from tradingctl.deploy.gate import gate
from tradingctl.deploy.history import history_text, once_each, read_events
from tradingctl.deploy.incoming import before_apt, before_unpack, parse_items
from tradingctl.deploy.lock import frontend_lock
from tradingctl.deploy.manual import rollback
from tradingctl.deploy.settle import Ending, settle, switch_early
from tradingctl.deploy.upgrade import upgrade
from tradingctl.inventory import read_inventory
from tradingctl.server import Server

SHOWN_EVENTS = 20


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    upgraded = commands.add("upgrade", "install a newer release by apt and verify it", _upgrade)
    upgraded.add_argument(
        "release", nargs="?", default="", metavar="RELEASE", help="by default the newest"
    )
    upgraded.add_argument("--dry-run", action="store_true", help="show what would change")
    returned = commands.add("rollback", "go back to a release that is kept here", _rollback)
    returned.add_argument(
        "release", nargs="?", default="", metavar="RELEASE", help="by default the one before"
    )
    returned.add_argument("--dry-run", action="store_true", help="show what would be done and why")
    past = commands.add("history", "show what happened to the releases", _history)
    past.add_argument("--json", action="store_true", help="print JSON, all events")
    past.add_argument(
        "-n", type=_at_least_one, default=SHOWN_EVENTS, metavar="N",
        help="the last N (default: %(default)s)",
    )  # fmt: skip
    commands.add("recover", "bring an installation that was cut short to a good end", _recover)
    asked = commands.add(
        "gate", "start and verify the stack, for the postinst of traderunner-stack", _gate
    )
    asked.add_argument(
        "--triggered",
        action="store_true",
        help="start nothing, unless a release is being installed",
    )
    hooked = commands.add("hook", "for apt, dpkg and the boot, which call it by themselves", _hook)
    hooked.add_argument(
        "name", choices=("pre-install", "unpack", "configure", "post-invoke", "boot")
    )
    hooked.add_argument(
        "words", nargs="*", metavar="WORD", help="unpack: PACKAGE VERSION; configure: COMPONENT"
    )


def _at_least_one(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a number, 1 or more, got {word!r}")
    return int(word)


def _upgrade(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("upgrade")
    return upgrade(server, arguments.release, arguments.dry_run)


def _rollback(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("rollback")
    return rollback(server, arguments.release, arguments.dry_run)


def _history(server: Server, arguments: argparse.Namespace) -> int:
    events = list(read_events(server))
    if arguments.json:
        server.report(json.dumps([asdict(event) for event in events], indent=2))
    else:
        shown = once_each(events)
        server.report(history_text(shown[max(len(shown) - arguments.n, 0) :]))
    return 0


def _recover(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("recover")
    with frontend_lock(server, wait=True):
        ending = settle(server)
    return 1 if ending in (Ending.GIVEN_UP, Ending.STUCK, Ending.POSTPONED) else 0


def _gate(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("gate")
    return gate(server, read_inventory(server.paths), arguments.triggered)


def _hook(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("hook")
    if arguments.name == "pre-install":
        before_apt(server, parse_items(sys.stdin.read()))
    elif arguments.name == "unpack":
        package, version = arguments.words
        before_unpack(server, package, version)
    elif arguments.name == "configure":
        (name,) = arguments.words
        keep_disabled(server, read_inventory(server.paths).component(name))
    elif arguments.name == "boot":
        switch_early(server)
    elif settle(server) in (Ending.TAKEN_BACK, Ending.GIVEN_UP, Ending.POSTPONED):
        return 1  # for apt to fail as well: what was asked for is not installed
    return 0
