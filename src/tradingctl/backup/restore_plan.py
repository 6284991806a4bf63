"""What a restore would do, and why; nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl.adopt import installation
from tradingctl.backup import catalogue, database, restored_settings, worker_mode
from tradingctl.backup.choose import Request, choose
from tradingctl.backup.database import Database
from tradingctl.backup.manifest import Backup, SavedDatabase
from tradingctl.backup.restored_settings import SettingStep
from tradingctl.backup.saved_settings import FOLDER
from tradingctl.description import Component, Unit
from tradingctl.environment import environment_in
from tradingctl.errors import RestoreError
from tradingctl.inventory import Inventory
from tradingctl.order_safety import allowed_in
from tradingctl.paths import Paths
from tradingctl.server import Server


@dataclass(frozen=True)
class DatabaseStep:
    """A database that is put in the place of what is there, if anything."""

    saved: SavedDatabase
    live: Database
    reason: str


@dataclass(frozen=True)
class Plan:
    """Everything that a restore would do.

    ``units`` are stopped, in start order; those that run are started again. ``left`` says what
    stays as it is.
    """

    backup: Backup
    request: Request
    databases: tuple[DatabaseStep, ...]
    settings: tuple[SettingStep, ...]
    units: tuple[Unit, ...]
    left: tuple[str, ...]


def plan(server: Server, inventory: Inventory, request: Request) -> Plan:
    """Return what is to be done, of a backup that is intact. Raises RestoreError, BackupError."""
    component = inventory.component(request.component) if request.component else None
    backup = choose(server.paths, request, server.wall())
    wanted = [component] if component else list(inventory.components)
    steps, left = _databases(server, backup, wanted)
    if component and not steps:
        raise RestoreError(
            f"the backup {backup.id} holds no database of {component.name}",
            "tradingctl backup --list",
        )
    known = {each.name for each in inventory.components}
    for saved in backup.databases:
        if saved.component not in known:
            left.append(f"{saved.source}: {saved.component} is not installed")
    restored = [each for each in wanted if any(s.saved.component == each.name for s in steps)]
    concerned = inventory.components if request.settings else restored
    _refuse_by_hand(server, concerned)
    settings: tuple[SettingStep, ...] = ()
    if request.settings:
        _refuse_other_mode(server, inventory, backup)
        settings = tuple(restored_settings.steps(server.paths.settings, backup.settings))
    else:
        left.append(f"{server.paths.settings}: settings are restored with --settings only")
    if not request.accept_repeats:
        _refuse_repeats(server, restored, backup, request)
    return Plan(
        backup=backup,
        request=request,
        databases=tuple(steps),
        settings=settings,
        units=tuple(_units(inventory, concerned)),
        left=tuple(left),
    )


def _databases(
    server: Server, backup: Backup, wanted: list[Component]
) -> tuple[list[DatabaseStep], list[str]]:
    saved = {(each.component, each.name): each for each in backup.databases}
    newest = catalogue.newest(server.paths, server.wall())
    steps: list[DatabaseStep] = []
    left: list[str] = []
    for live in database.declared(server.paths, Inventory(tuple(wanted), None)):
        copy = saved.pop((live.component, live.name), None)
        if copy is None:
            left.append(f"{server.paths.shown(live.file)}: is not in the backup")
            continue
        there = database.look(server.paths, live) is not None
        reason = "what is there is moved aside" if there else "there is none"
        reason += _other_schema(newest, copy)
        steps.append(DatabaseStep(copy, live, reason))
    names = {each.name for each in wanted}
    left += [f"{s.source}: is no longer declared" for s in saved.values() if s.component in names]
    return steps, left


def _other_schema(newest: Backup | None, copy: SavedDatabase) -> str:
    """Return that the copy is of another schema than the newest one, by SQLite's user_version."""
    for each in newest.databases if newest else ():
        same = (each.component, each.name) == (copy.component, copy.name)
        if same and each.user_version != copy.user_version:
            return (
                f"; its schema is version {copy.user_version}, in the newest backup"
                f" {each.user_version}: the installed release has to know it"
            )
    return ""


def _units(inventory: Inventory, restored: Sequence[Component]) -> list[Unit]:
    """Return the units of the components, and all that start after them: they may use the data."""
    first = min((unit.order for each in restored for unit in each.units), default=None)
    return [unit for _, unit in inventory.units() if first is not None and unit.order >= first]


def _refuse_by_hand(server: Server, components: Sequence[Component]) -> None:
    """Raise RestoreError where nobody would use what is restored.

    Services installed by hand that were given back have their own databases and settings.
    """
    for component in components:
        if installation.by_hand(server, component):
            files = installation.databases_by_hand(server).get(component.name)
            used = f" and uses {', '.join(files)}" if files else ""
            raise RestoreError(
                f"what was installed by hand of {component.name} is in service{used}, which no"
                " restore replaces; nothing was changed",
                "tradingctl adopt",  # takes it over, and then a restore has its database
            )


def _refuse_repeats(
    server: Server, restored: list[Component], backup: Backup, request: Request
) -> None:
    """Raise RestoreError where a worker would send again what it sent since the backup."""
    for component in restored:
        mode = worker_mode.mode(component.name, server.paths.settings)
        if mode != worker_mode.SAFE:
            raise RestoreError(
                f"{worker_mode.VARIABLE} of {component.name} is {worker_mode.shown(mode)}: it would"
                f" handle again what it handled since {backup.created_at[:19]} UTC; nothing was"
                " changed",
                f"{request.command(backup.id)} --accept-repeats",
            )


def _refuse_other_mode(server: Server, inventory: Inventory, backup: Backup) -> None:
    """Raise RestoreError where the settings would change whether orders are sent."""
    paths = server.paths
    kept = paths.backups / backup.id / FOLDER
    # What is not in the backup stays, and may have the last word then.
    safety = _safety(paths, inventory, (paths.settings,), (kept, paths.settings))
    for what, now, then in safety:
        if now != then:
            raise RestoreError(
                f"the settings of {backup.id} would change {what} from {worker_mode.shown(now)} to"
                f" {worker_mode.shown(then)}, which a restore never does; nothing was changed",
                f"diff -r {kept} {paths.settings}  # then copy by hand what is wanted",
            )


def _safety(
    paths: Paths, inventory: Inventory, here: tuple[Path, ...], there: tuple[Path, ...]
) -> Iterator[tuple[str, str, str]]:
    """Give what decides whether orders are sent, by the settings here and by those restored."""
    for component in inventory.components:
        yield (
            f"{worker_mode.VARIABLE} of {component.name}",
            worker_mode.mode(component.name, *here),
            worker_mode.mode(component.name, *there),
        )
    name = paths.environment.name
    now, then = (environment_in(name, *folders) or "unknown" for folders in (here, there))
    yield "what this machine is", now, then
    override = paths.orders_on_staging.name
    now, then = (allowed_in(override, *folders) or "none" for folders in (here, there))
    yield "the mode that is allowed outside of production", now, then


def lines(plan: Plan) -> Iterator[str]:
    """Give the plan for people."""
    yield f"backup {plan.backup.id}, made at {plan.backup.at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    if plan.units:
        yield f"stop     {' '.join(unit.name for unit in reversed(plan.units))}"
    for step in plan.databases:
        yield f"restore  {step.saved.source}: {step.reason}"
    for setting in plan.settings:
        yield f"restore  {setting.path}: {setting.reason}"
    if plan.units:
        yield "start    those of them that run now, then verify"
    for each in plan.left:
        yield f"leave    {each}"


def copy_of(server: Server, backup: Backup, saved: SavedDatabase) -> Path:
    """Return where the copy of a database lies."""
    return server.paths.backups / backup.id / saved.file
