"""The installation that is under way: written before the first change, removed after the last.

Whatever ends an installation too early, a maintainer script, a signal or a power cut, leaves the
record behind, and with it a copy of the tradingctl that was verified. Going back is its work, not
that of the release under test.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import tradingctl
from tradingctl import tree
from tradingctl.deploy import beforehand
from tradingctl.deploy.actor import actor
from tradingctl.errors import TradingError
from tradingctl.files import sync_directory, write_whole
from tradingctl.inventory import PackageState
from tradingctl.paths import Paths
from tradingctl.server import Server

MODE = 0o644

APT = "apt"
"""The origin of a transaction of which apt told us, and of whose end it will tell."""
DPKG = "dpkg"
"""The origin of a transaction that the preinst of a package found to have begun."""
BY_HAND = "tradingctl"
"""The origin of a transaction that the administrator asked for: a rollback."""


class State(StrEnum):
    """How far a transaction is."""

    OPEN = "open"
    """Packages are being changed."""
    VERIFIED = "verified"
    """The gate let the release pass; dpkg has still to write it down."""
    SKIPPED = "skipped"
    """The gate could not verify, or was told not to."""
    FAILED = "failed"
    """The gate did not let it pass; it is to be rolled back."""
    ROLLING_BACK = "rolling-back"
    """A rollback has begun."""
    STUCK = "stuck"
    """Nothing is done any more without the administrator."""


UNFINISHED = (State.OPEN, State.FAILED, State.ROLLING_BACK)


@dataclass(frozen=True)
class Transaction:
    """One installation.

    ``release`` is the one to be installed (empty if unknown), ``before`` and ``incoming`` are
    packages with their versions, ``target`` is the release a rollback goes to. ``check`` is the
    check that failed, ``attempts`` counts the rollbacks that were begun. ``without_stack`` says
    that components ran without the package of the stack when it began.
    """

    state: State
    release: str
    origin: str
    by: str
    began_at: str
    before: Mapping[str, str] = field(default_factory=dict)
    incoming: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    check: str = ""
    detail: str = ""
    attempts: int = 0
    without_stack: bool = False

    @property
    def replaced(self) -> dict[str, str]:
        """The packages that it replaces, with the versions that were there before."""
        before = {name: self.before.get(name, "") for name in self.incoming}
        return {name: version for name, version in before.items() if version}


def record_path(paths: Paths) -> Path:
    """Return the record's file, whose existence is what units of systemd wait for."""
    return paths.transaction / "record.json"


def new_transaction(
    server: Server,
    origin: str,
    release: str,
    before: Mapping[str, str],
    incoming: Mapping[str, str],
) -> Transaction:
    """Return a transaction that begins now; nothing is written."""
    began_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Transaction(
        State.OPEN, release, origin, actor(server), began_at, dict(before), dict(incoming)
    )


def begin(server: Server, transaction: Transaction) -> None:
    """Write the record, and before it the copy of this program. Raises OSError."""
    folder = server.paths.transaction
    new = folder.with_name(f".{folder.name}")
    tree.remove(new)
    new.mkdir(mode=0o755, parents=True)
    # Beside the earlier one, which this program may be, and complete once it bears its name.
    shutil.copytree(
        Path(tradingctl.__file__).parent,
        new / "tradingctl",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    os.sync()  # a program that a power cut made empty could not go back
    ran, stopped = beforehand.look(server), beforehand.look_for_stopped(server)
    end(server.paths)
    new.rename(folder)
    save(server.paths, transaction)
    beforehand.note(server.paths, ran)
    beforehand.note_stopped(server.paths, stopped)


def save(paths: Paths, transaction: Transaction) -> None:
    """Replace the record, whole or not at all; raises OSError."""
    text = json.dumps(asdict(transaction), indent=2, sort_keys=True) + "\n"
    write_whole(record_path(paths), text, MODE)


def current(paths: Paths) -> Transaction | None:
    """Return the transaction that has not ended, None when there is none; raises TradingError."""
    path = record_path(paths)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        # The release that is taken back may have written more than the one before knows of.
        said = {each.name: data[each.name] for each in fields(Transaction) if each.name in data}
        return Transaction(**{**said, "state": State(data["state"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TradingError(
            f"{path}: cannot be read: {error}",
            f"tradingctl verify && mv {path} {path}.broken",
        ) from error


def mark(server: Server, state: State, check: str = "", detail: str = "") -> None:
    """Set the state of the transaction under way, if there is one. Raises OSError, TradingError.

    One that was given up stays so when it fails again: it is not to be tried for ever.
    """
    transaction = current(server.paths)
    if transaction and (transaction.state, state) != (State.STUCK, State.FAILED):
        save(server.paths, replace(transaction, state=state, check=check, detail=detail))


def end(paths: Paths) -> None:
    """Forget the transaction; the record goes first. Raises OSError."""
    record_path(paths).unlink(missing_ok=True)
    beforehand.forget(paths)
    if paths.transaction.is_dir():
        sync_directory(paths.transaction)
    tree.remove(paths.transaction)


def untouched(pending: Transaction, states: Mapping[str, PackageState]) -> bool:
    """Return whether every package is as it was before, and configured."""
    for name, version in pending.before.items():
        state = states.get(name)
        if not version:
            if state and state.unpacked:
                return False
        elif state is None or not state.complete or state.version != version:
            return False
    return True
