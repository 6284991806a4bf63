"""Disabled services that ran before an installation: it has to leave them running as the others.

A disabled unit that does not run is the administrator's wish, or the work of the release under
test; which of the two, only who looked before knows. It is forgotten at the next boot, which does
not start such units, and where an installation is given up: what the administrator stops while it
is, nothing may start.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection

from tradingctl import systemd
from tradingctl.errors import TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import read_inventory
from tradingctl.paths import Paths
from tradingctl.server import Server


def look(server: Server) -> set[str]:
    """Return the disabled units that run."""
    # Whatever cannot be read or does not answer: it is the gate's to say so.
    with contextlib.suppress(TradingError):
        if not systemd.absence(server):
            names = [unit.name for _, unit in read_inventory(server.paths).units()]
            states = systemd.show(server.runner, names)
            disabled = {name for name in names if states[name].put_aside == "disabled"}
            return {name for name in disabled if states[name].active == "active"}
    return set()


def note(paths: Paths, names: Collection[str]) -> None:
    """Write them down for the installation that begins. Raises OSError."""
    if names:
        paths.ran_disabled.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_whole(paths.ran_disabled, json.dumps(sorted(names)) + "\n", 0o644)


def noted(paths: Paths) -> set[str]:
    """Return the units that were written down for the installation under way."""
    try:
        return set(json.loads(paths.ran_disabled.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def forget(paths: Paths) -> None:
    """Forget them: the installation has ended, or was given up. Raises OSError."""
    paths.ran_disabled.unlink(missing_ok=True)
