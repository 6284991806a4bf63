"""``backup`` and ``restore``."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tradingctl.adopt.installation import not_backed_up
from tradingctl.backup import (
    artifacts,
    catalogue,
    regular,
    replace,
    restic,
    restore,
    restore_plan,
    snapshot,
)
from tradingctl.backup.choose import Request
from tradingctl.backup.configuration import read_configuration
from tradingctl.backup.manifest import Backup
from tradingctl.backup.restore import Restored
from tradingctl.backup.retention import Decision
from tradingctl.backup.snapshot import megabytes
from tradingctl.commands.adding import Commands
from tradingctl.inventory import Inventory, read_inventory, service
from tradingctl.report import table, verification_text
from tradingctl.server import Server
from tradingctl.verdict import Result


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
    restored = commands.add(
        "restore", "put databases back as they were in a backup, by default the newest", _restore
    )
    one = restored.add_mutually_exclusive_group()
    one.add_argument("id", nargs="?", default="", metavar="ID", help="the backup")
    one.add_argument("--at", default="", metavar="TIME", help="the newest at or before a time")
    one.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    restored.add_argument(
        "--component", default="", metavar="NAME", help="the databases of one component alone"
    )
    restored.add_argument("--settings", action="store_true", help="what is in /etc/trading, too")
    restored.add_argument(
        "--accept-repeats",
        action="store_true",
        help="although the worker may send again what it sent since",
    )
    restored.add_argument("--dry-run", action="store_true", help="show what would be done")


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
    if not arguments.timer and (found := not_backed_up(server)):
        server.warn(f"WARNING: {found}")
    if arguments.json:
        removed = [each.id for each in run.decisions if not each.stays]
        _say_json(server, _data(run.backup), reason=run.reason, removed=removed, seconds=seconds)
        return 0
    if run.backup is None:
        newest = catalogue.newest(server.paths, server.wall())
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
        server.report(
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
        server.report(f"no backup yet in {server.paths.backups}")
        return 0
    rows = [("ID", "MADE", "RELEASE", "DATABASES", "SIZE")]
    for each in good:
        local = each.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if catalogue.is_ahead(each.at, server.wall()):
            local += ", in the future"
        count = str(len(each.databases))
        rows.append((each.id, local, each.release or "-", count, megabytes(each.size)))
    rows += [(each.id, "unreadable", "-", "-", "-") for each in bad]
    server.report(table(rows))
    for each_bad in bad:
        server.warn(f"warning: {each_bad.reason}")
    for name in kept:
        server.report(f"artifacts {name}")
    return 0


def _data(backup: Backup | None) -> dict[str, Any] | None:
    return {**asdict(backup), "size": backup.size} if backup else None


def _say_json(server: Server, backup: dict[str, Any] | None, **more: Any) -> None:
    server.report(json.dumps({"backup": backup, **more}, indent=2))


def _restore(server: Server, arguments: argparse.Namespace) -> int:
    server.require_root("restore")
    if arguments.resume and not server.paths.restore_record.exists():
        return 0  # the services require that this succeeds, whatever else is wrong
    inventory = read_inventory(server.paths)
    if arguments.resume:
        if restore.resume(server, inventory):
            server.say("the restore that was cut short is finished")
        return 0
    if restore.read_record(server) and not arguments.dry_run:
        server.say("a restore was cut short: it is finished now, and nothing else is done")
        finished = restore.finish(server, inventory)
        return _report(server, finished) if finished else 0
    request = Request(
        id=arguments.id,
        at=arguments.at,
        component=arguments.component,
        settings=arguments.settings,
        accept_repeats=arguments.accept_repeats,
    )
    planned = restore_plan.plan(server, inventory, request)
    tell = server.report if arguments.dry_run else server.say
    for line in restore_plan.lines(planned):
        tell(line)
    if arguments.dry_run:
        tell("nothing was changed")
        return 0
    return _report(server, restore.restore(server, inventory, planned))


def _report(server: Server, restored: Restored) -> int:
    """Say what was done and how to undo it; 1 when a service is not healthy."""
    server.say("")
    for path, aside in restored.aside.items():
        server.say(f"restored {path}")
        for file in aside:
            server.say(f"  before  {file}")
    found = restored.verification
    server.say(verification_text(found) if found else "not verified: no service ran")
    moves = [
        step
        for path, aside in restored.aside.items()
        for step in _undo(path, aside, path.startswith(f"{server.paths.state}/"))
    ]
    if moves:
        units = " ".join(map(service, restored.running))
        server.say("to undo it:")
        steps = [f"systemctl stop {units}"] * bool(units) + moves
        for step in steps + [f"systemctl start {units}"] * bool(units):
            server.say(f"  {step}")
    return 1 if found and found.result is Result.FAILED else 0


def _undo(path: str, aside: tuple[str, ...], is_database: bool) -> Iterator[str]:
    if aside and is_database:
        # A log that a stopped service left must not be found beside the other database.
        old, new = shlex.quote(path), shlex.quote(f"{path}.restored")
        move = f"[ ! -e {old}$s ] || mv {old}$s {new}$s"
        yield f'for s in "" {" ".join(replace.SIDE_FILES)}; do {move}; done'
    for file in aside:
        suffix = next((each for each in replace.SIDE_FILES if file.endswith(each)), "")
        yield shlex.join(["mv", file, f"{path}{suffix}"])
