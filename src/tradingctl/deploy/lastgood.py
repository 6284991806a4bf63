"""The record of the release that was verified last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from tradingctl.errors import TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import Inventory
from tradingctl.paths import Paths
from tradingctl.verdict import Verification


@dataclass(frozen=True)
class LastGood:
    """A verified release: its packages with versions, when (UTC, ISO 8601), each unit's result."""

    release: str
    version: str
    packages: Mapping[str, str]
    verified_at: str
    units: Mapping[str, str]


def read_last_good(paths: Paths) -> LastGood | None:
    """Return the record, None when no release was verified yet; raises TradingError."""
    path = paths.last_good
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return LastGood(
            release=str(data["release"]),
            version=str(data["version"]),
            packages={str(key): str(value) for key, value in data["packages"].items()},
            verified_at=str(data["verified_at"]),
            units={str(key): str(value) for key, value in data["units"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TradingError(f"{path}: cannot be read: {error}", _next(path)) from error
    except KeyError as error:
        raise TradingError(f"{path}: {error.args[0]}: missing", _next(path)) from error


def _next(path: object) -> str:
    return f"mv {path} {path}.broken && dpkg-reconfigure traderunner-stack"


def write_last_good(paths: Paths, record: LastGood) -> None:
    """Write the record, whole or not at all; raises OSError."""
    paths.last_good.parent.mkdir(parents=True, exist_ok=True)
    write_whole(paths.last_good, json.dumps(asdict(record), indent=2, sort_keys=True) + "\n", 0o644)


def last_good_of(inventory: Inventory, found: Verification) -> LastGood:
    """Return the record of an installed release that was found good just now."""
    stack = inventory.stack
    packages = {component.package: component.version for component in inventory.components}
    return LastGood(
        release=inventory.release,
        version=stack.version if stack else inventory.release,
        packages={**packages, **(stack.packages if stack else {})},
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        units={unit.unit: unit.result.value for unit in found.units},
    )
