"""The command line: puts the commands together, turns errors into text and an exit code."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Sequence

from tradingctl.commands import (
    adopt,
    backup,
    environment,
    health,
    market,
    release,
    secrets,
    settings,
)
from tradingctl.commands.adding import EXIT_CODES, Commands
from tradingctl.errors import TradingError
from tradingctl.server import Server, this_server

NOT_TEXT = "LC_ALL=C.UTF-8 grep -raxvl '.*' /etc/trading"
"""Names the files with a line that is not UTF-8."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="tradingctl",
        description="Put releases of the trading services in service, verify and report on them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = Commands(top)
    health.add_commands(commands)
    release.add_commands(commands)
    adopt.add_commands(commands)
    backup.add_commands(commands)
    market.add_commands(commands)
    settings.add_commands(commands)
    environment.add_commands(commands)
    secrets.add_commands(commands)
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        server.warn(f"  next: {'df -h' if full else 'journalctl -t tradingctl -n 50'}")
        return TradingError.exit_code
    except UnicodeError as error:
        # Says where in the text, and of it no more than the sign: the text may be a secret.
        server.warn(f"tradingctl {arguments.command}: what is to be text is not UTF-8: {error}")
        server.warn(f"  next: {NOT_TEXT}")
        return TradingError.exit_code
    except KeyboardInterrupt:
        return 130
    return code
