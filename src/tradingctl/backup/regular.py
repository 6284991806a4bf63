"""What the timers do: a backup when something changed, the surplus removed."""

from __future__ import annotations

from dataclasses import dataclass

from tradingctl.backup import catalogue, restic, retention, snapshot
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.manifest import Backup
from tradingctl.backup.retention import Decision
from tradingctl.backup.uploaded import uploaded
from tradingctl.inventory import Inventory
from tradingctl.server import Server

CATCH_UP_SECONDS = 60.0  # in which uploads begin: the next backup is due in five minutes


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
        _catch_up(server)
    finally:
        # Also when the repository is away: else backups would pile up here until it is back.
        decisions = prune(server)
    return Run(backup, reason or "nothing changed", decisions)


def _catch_up(server: Server) -> None:
    """Upload what the repository did not get, as when it was away, the newest first."""
    environment = read_configuration(server.paths).restic
    if not environment:
        return
    there = uploaded(server.paths, environment)
    backups, _ = catalogue.read_all(server.paths)
    now = server.wall()
    # What is dated in the future would count as the newest there too, until then.
    missing = [
        each for each in backups if each.id not in there and not catalogue.is_ahead(each.at, now)
    ]
    began = server.clock.now()
    while missing and server.clock.now() - began < CATCH_UP_SECONDS:
        snapshot.upload(server, missing.pop(0), restic.SECONDS_OF["timer"])
    if missing:
        server.warn(f"note: {len(missing)} backups are yet to be uploaded; the next run goes on")


def prune(server: Server, manual_too: bool = False) -> tuple[Decision, ...]:
    """Remove the backups that need not stay. Raises BackupError, OSError."""
    if server.paths.restore_record.exists():
        return ()  # a restore that was cut short still needs its own
    keep = read_configuration(server.paths).keep
    with catalogue.locked(server):
        return tuple(retention.prune(server, keep, manual_too))
