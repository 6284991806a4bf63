"""``backup`` and ``restore``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from tradingctl.backup import artifacts, catalogue, regular, restic, snapshot
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.manifest import Backup
from tradingctl.backup.retention import Decision
from tradingctl.backup.snapshot import megabytes
from tradingctl.commands.adding import Commands
from tradingctl.inventory import Inventory, read_inventory
from tradingctl.report import table
from tradingctl.server import Server


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    made = commands.add("backup", "back up the databases and settings", _backup)
    which = made.add_mutually_exclusive_group()
    which.add_argument("--list", action="store_true", help="show the backups, make none")
    which.add_argument(
        "--timer", action="store_true", help="only when something changed; remove the surplus"
    )
    which.add_argument(
        "--artifacts", action="store_true", help="the directories of artifacts instead"
    )
    which.add_argument(
        "--prune", action="store_true", help="remove the surplus, also of backups made by hand"
    )
    made.add_argument("--json", action="store_true", help="print JSON")


def _backup(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("backup")
    if arguments.list:
        return _list(server, arguments.json)
    inventory = read_inventory(server.paths)
    if arguments.artifacts:
        return _artifacts(server, inventory, arguments.json)
    began = server.clock.now()
    if arguments.timer:
        run = regular.run(server, inventory)
    else:
        backup = snapshot.take(server, inventory, "manual", inventory.release)
        decisions = regular.prune(server, manual_too=True) if arguments.prune else ()
        run = regular.Run(backup, "asked for", decisions)
    seconds = server.clock.now() - began
    if arguments.json:
        removed = [each.id for each in run.decisions if not each.stays]
        _say_json(server, _data(run.backup), reason=run.reason, removed=removed, seconds=seconds)
        return 0
    if run.backup is None:
        newest = catalogue.newest(server.paths)
        server.say(f"{run.reason} since {newest.id if newest else 'ever'}; no new backup")
    else:
        server.say(_text(run.backup, run.reason, seconds))
    _say_removed(server, run.decisions)
    return 0


def _text(backup: Backup, reason: str, seconds: float) -> str:
    files = [each for each in backup.settings if each.file]
    lines = [
        f"{backup.id}: {len(backup.databases)} databases, {len(files)} settings,"
        f" {megabytes(backup.size)} in {seconds:.1f} s ({reason})"
    ]
    lines += [f"  {each.source}  {megabytes(each.size)}" for each in backup.databases]
    lines += [f"  {each}  does not exist yet" for each in backup.absent]
    lines += [f"  note: {each}" for each in backup.notes]
    return "\n".join(lines)


def _say_removed(server: Server, decisions: tuple[Decision, ...]) -> None:
    for each in decisions:
        if not each.stays:
            server.say(f"removed {each.id}: {each.reason}")


def _artifacts(server: Server, inventory: Inventory, as_json: bool) -> int:
    made = artifacts.save(server, inventory)
    configuration = read_configuration(server.paths)
    if configuration.restic:
        restic.forget(server, configuration.restic, configuration.keep)
    if as_json:
        _say_json(server, asdict(made) if made else None)
    elif made is None:
        server.say("no component declares artifacts")
    else:
        what = f"{made.copied} copied" if made.is_new else "nothing changed; no new snapshot"
        server.say(f"artifacts {made.id}: {made.files} files, {megabytes(made.size)}, {what}")
        for each in made.removed:
            server.say(f"removed artifacts {each}")
    return 0


def _list(server: Server, as_json: bool) -> int:
    good, bad = catalogue.read_all(server.paths)
    kept = artifacts.snapshots(server.paths.artifact_backups)
    if as_json:
        server.say(
            json.dumps(
                {
                    "backups": [_data(each) for each in good],
                    "unreadable": [asdict(each) for each in bad],
                    "artifacts": kept,
                },
                indent=2,
            )
        )
        return 0
    if not (good or bad or kept):
        server.say(f"no backup yet in {server.paths.backups}")
        return 0
    rows = [("ID", "MADE", "RELEASE", "DATABASES", "SIZE")]
    for each in good:
        local = each.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        count = str(len(each.databases))
        rows.append((each.id, local, each.release or "-", count, megabytes(each.size)))
    rows += [(each.id, "unreadable", "-", "-", "-") for each in bad]
    server.say(table(rows))
    for each_bad in bad:
        server.warn(f"warning: {each_bad.reason}")
    for name in kept:
        server.say(f"artifacts {name}")
    return 0


def _data(backup: Backup | None) -> dict[str, Any] | None:
    return {**asdict(backup), "size": backup.size} if backup else None


def _say_json(server: Server, backup: dict[str, Any] | None, **more: Any) -> None:
    server.say(json.dumps({"backup": backup, **more}, indent=2))
