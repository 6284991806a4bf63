"""What ran before an installation and what did not, where that is not to be seen afterwards.

A disabled unit that does not run is the administrator's wish, or the work of the release under
test; which of the two, only who looked before knows. One that ran has to be left running as the
others. It is forgotten at the next boot, which does not start such units, and where an installation
is given up: what the administrator stops while it is, nothing may start.

A unit that sends orders and was stopped stays stopped: it would send what was queued since, at
prices that nobody had in mind. The next boot, which starts it, forgets that as well.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from pathlib import Path

from tradingctl import systemd
from tradingctl.errors import TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import read_inventory
from tradingctl.market.resting import resting_units
from tradingctl.order_safety import CONDITION
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


def look_for_stopped(server: Server) -> set[str]:
    """Return the units that send orders and were stopped, not by an installation given up."""
    left = _read_left_down(server.paths)
    return {name for name, since in _down(server).items() if left.get(name) != since}


def _down(server: Server) -> dict[str, float]:
    """Return the units that send orders and were stopped or not allowed to start, and since when.

    One that failed, that waits for another one to start, or that never came to its start, nobody
    has stopped. What rests is started, and stopped again, by whoever verifies.
    """
    with contextlib.suppress(TradingError):
        if not systemd.absence(server):
            units = [unit for _, unit in read_inventory(server.paths).units()]
            names = [unit.name for unit in units if unit.sends_orders]
            states = systemd.show(server.runner, names)
            resting = resting_units(server) if names else ()
            return {
                name: state.down_since
                for name, state in states.items()
                if state.active == "inactive"
                and not state.job
                and not state.put_aside
                and (state.since or state.down_since or state.result == CONDITION)
                and name.removesuffix(".service") not in resting
            }
    return {}


def note(paths: Paths, names: Collection[str]) -> None:
    """Write down disabled units for the installation that begins. Raises OSError."""
    _write(paths.ran_disabled, names)


def note_stopped(paths: Paths, names: Collection[str]) -> None:
    """Write down what is to stay stopped. Raises OSError."""
    _write(paths.left_stopped, names)


def noted(paths: Paths) -> set[str]:
    """Return the disabled units that were written down for the installation under way."""
    return _read(paths.ran_disabled)


def stopped(paths: Paths) -> set[str]:
    """Return the units that were stopped before the installation under way, and stay so."""
    return _read(paths.left_stopped)


def give_up(server: Server) -> None:
    """Note that the installation was given up. Raises OSError.

    What it left down is not what somebody stopped, until it has run once more; the next one starts
    it.
    """
    server.paths.ran_disabled.unlink(missing_ok=True)
    by_somebody = stopped(server.paths)
    left = {name: since for name, since in _down(server).items() if name not in by_somebody}
    _write(server.paths.left_down, left)


def forget(paths: Paths) -> None:
    """Forget everything: the installation has ended. Raises OSError."""
    for path in (paths.ran_disabled, paths.left_stopped, paths.left_down):
        path.unlink(missing_ok=True)


def _write(path: Path, names: Collection[str]) -> None:
    if names:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        data = names if isinstance(names, dict) else sorted(names)
        write_whole(path, json.dumps(data, sort_keys=True) + "\n", 0o644)


def _read_left_down(paths: Paths) -> dict[str, float]:
    try:
        return dict(json.loads(paths.left_down.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _read(path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()
