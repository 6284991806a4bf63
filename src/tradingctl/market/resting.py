"""What rests until the market opens, as the close wrote it down."""

from __future__ import annotations

import json

from tradingctl.market.settings import MARKET_UNITS
from tradingctl.server import Server


def resting_units(server: Server) -> tuple[str, ...]:
    """Return the units that rest until the market opens; none while it is open."""
    path = server.paths.market_closed
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, list) and all(isinstance(name, str) for name in data):
            return tuple(data)
        reason = "not a list of units"
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        reason = str(error)
    # Somebody closed the market; that is known, and the usual units are the safe assumption.
    server.warn(f"warning: {path}: {reason}; taken for {', '.join(MARKET_UNITS)}")
    return MARKET_UNITS
