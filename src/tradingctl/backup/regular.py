"""What the timers do: a backup when something changed, the surplus removed."""

from __future__ import annotations

from dataclasses import dataclass

from tradingctl.backup import catalogue, restic, retention, snapshot
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.manifest import Backup
from tradingctl.backup.retention import Decision
from tradingctl.inventory import Inventory
from tradingctl.server import Server


@dataclass(frozen=True)
class Run:
    """A backup, None when nothing changed; why; and what was decided about the others."""

    backup: Backup | None
    reason: str
    decisions: tuple[Decision, ...] = ()


def run(server: Server, inventory: Inventory) -> Run:
    """Back up what changed since the newest backup and remove those that need not stay.

    Raises BackupError; a backup that was made stays.
    """
    reason = snapshot.changed(server, inventory)
    backup = None
    try:
        if reason:
            backup = snapshot.take(server, inventory, "timer", inventory.release)
        else:
            _catch_up(server)
    finally:
        # Also when the repository is away: else backups would pile up here until it is back.
        decisions = prune(server)
    return Run(backup, reason or "nothing changed", decisions)


def _catch_up(server: Server) -> None:
    """Upload the newest backup when the repository did not get it, as when it was away."""
    newest = catalogue.newest(server.paths)
    try:
        uploaded = server.paths.uploaded.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        uploaded = ""
    if newest and newest.id != uploaded:
        snapshot.upload(server, newest, restic.SECONDS_OF["timer"])


def prune(server: Server, manual_too: bool = False) -> tuple[Decision, ...]:
    """Remove the backups that need not stay. Raises BackupError, OSError."""
    if server.paths.restore_record.exists():
        return ()  # a restore that was cut short still needs its own
    keep = read_configuration(server.paths).keep
    with catalogue.locked(server):
        return tuple(retention.prune(server, keep, manual_too))
