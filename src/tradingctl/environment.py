"""What this machine is, staging or production: one line of /etc/trading/environment.

Whatever is not production, a missing file too, is treated as staging where it makes a difference.
"""

from __future__ import annotations

import re
from pathlib import Path

from tradingctl.backup.worker_mode import text_of
from tradingctl.credentials import ended
from tradingctl.deploy.history import record
from tradingctl.description import Component
from tradingctl.envfile import assignments, read_variables
from tradingctl.errors import TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import Inventory
from tradingctl.paths import Paths
from tradingctl.server import Server

VARIABLE = "TRADING_ENVIRONMENT"
STAGING, PRODUCTION = "staging", "production"
KNOWN = (STAGING, PRODUCTION)
HEADING = "# What this machine is: staging or production. Only production sends orders.\n"
_LINE = re.compile(rf"^[ \t]*{VARIABLE}[ \t]*=.*(?:\n|\Z)", re.MULTILINE)


def read_environment(paths: Paths) -> str:
    """Return what the file says, empty if nothing does. Raises OSError."""
    return dict(read_variables(paths.environment)).get(VARIABLE, "")


def environment_in(name: str, *folders: Path) -> str:
    """Return what the file ``name`` says in the first of the folders that has it."""
    return dict(assignments(text_of(name, folders))).get(VARIABLE, "")


def is_production(paths: Paths) -> bool:
    """Return whether this is a production machine; what cannot be read says that it is none."""
    try:
        return read_environment(paths) == PRODUCTION
    except OSError:
        return False


def set_environment(server: Server, wanted: str) -> str | None:
    """Write what this machine is; return what it was before, None if that was the same.

    Everything else in the file stays, and so do its owner and its rights. Raises TradingError for a
    word that is neither, OSError.
    """
    if wanted not in KNOWN:
        raise TradingError(
            f"a machine is {' or '.join(KNOWN)}, not {wanted!r}",
            f"tradingctl environment {STAGING}",
        )
    # The administrator may keep the file elsewhere and link to it.
    file = server.paths.environment.resolve()
    before = read_environment(server.paths)
    if before == wanted:
        return None
    line = f"{VARIABLE}={wanted}\n"
    if file.exists():
        text = _text(file)
        text = _LINE.sub(line, text) if _LINE.search(text) else ended(text) + line
        if dict(assignments(text)).get(VARIABLE) != wanted:
            raise TradingError(
                f"{file}: what is written around {VARIABLE} is not understood; nothing was changed",
                f"sensible-editor {file}",
            )
        status = file.stat()
        write_whole(file, text, status.st_mode & 0o7777, status.st_uid, status.st_gid)
    else:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_whole(file, HEADING + line, 0o644)
    if before:
        record(server, "environment", detail=f"{before} -> {wanted}")
    return before


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TradingError(f"{file}: {error}", f"sensible-editor {file}") from error


def spelled(component: Component, value: str) -> str:
    """Return what a component's services call ``value``."""
    return component.environments.get(value, value)


def spelling_note(inventory: Inventory, value: str) -> str:
    """Return which components have another word for what this machine is, empty if none has."""
    others = [
        f"{each.name} calls it {spelled(each, value)}"
        for each in inventory.components
        if spelled(each, value) != value
    ]
    return ", ".join(others)


def write_spelling(server: Server, component: Component) -> None:
    """Write the word of a component's services where systemd made them a place to read it from.

    Raises TradingError outside of a unit, OSError.
    """
    place = server.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not place:
        raise TradingError("RUNTIME_DIRECTORY is not set: this is for ExecStartPre= of a unit")
    value = spelled(component, read_environment(server.paths))
    file = server.paths.root / place.lstrip("/") / "environment"
    # Not by a renamed file: the unit's sandbox allows nobody to change an owner.
    file.write_text(f"{VARIABLE}={value}\n" if value else "", encoding="utf-8")
