"""Carry a restore out: stop, replace, start, verify; and finish one that was cut short.

Before anything is touched everything is staged, and a record says what is about to happen. With the
record the next command, or the next boot before any service starts, brings it to its end.
"""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tradingctl import state, systemd
from tradingctl.account import find_account
from tradingctl.backup import catalogue, database, replace, restored_settings
from tradingctl.backup.database import Database
from tradingctl.backup.restore_plan import Plan, copy_of
from tradingctl.deploy import history
from tradingctl.deploy.lock import frontend_lock
from tradingctl.description import Unit
from tradingctl.errors import RestoreError, TradingError
from tradingctl.files import sync_directory, write_whole
from tradingctl.inventory import Inventory, service
from tradingctl.market.resting import resting_units
from tradingctl.server import Server
from tradingctl.systemd import UnitState
from tradingctl.verdict import Verification
from tradingctl.verify import verify

RUNNING = ("active", "activating", "reloading")
AT_BOOT = "trading-restore.service"
"""What finishes a restore at boot, without which no service starts then."""


@dataclass(frozen=True)
class Record:
    """What a restore does, as it is written down before: databases by component and name."""

    backup: str
    stamp: str
    databases: tuple[tuple[str, str], ...]
    settings: bool
    running: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """What was done: where what was there is now, and whether the services are healthy.

    ``running`` are the units that were stopped and started; without any nothing is verified.
    """

    backup: str
    aside: Mapping[str, tuple[str, ...]]
    running: tuple[str, ...]
    verification: Verification | None


def restore(server: Server, inventory: Inventory, plan: Plan) -> Restored:
    """Do what the plan says and verify the services.

    Raises RestoreError, BackupError or OSError; then nothing was changed, or the message says what.
    """
    with ExitStack() as held:
        held.enter_context(_hangup_ignored())
        held.enter_context(frontend_lock(server))
        held.enter_context(catalogue.locked(server))
        try:
            return _restore(server, inventory, plan)
        except (TradingError, OSError) as error:
            message = getattr(error, "message", str(error))
            history.record(server, "restore-failed", plan.backup.release, message)
            raise


@contextmanager
def _hangup_ignored() -> Iterator[None]:
    """Go on when the connection of who typed the command is lost: the services are stopped."""
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, earlier)


def _restore(server: Server, inventory: Inventory, plan: Plan) -> Restored:
    account = find_account(server.paths)
    live = [step.live for step in plan.databases]
    components = [each for each in inventory.components if each.name in _names(live)]
    for component in components:
        state.make_directories(server.paths, component, account)
    record = None
    try:
        for step in plan.databases:
            copy = copy_of(server, plan.backup, step.saved)
            replace.stage(server.paths, step.live, copy, step.saved.sha256, account)
        states = _states(server, plan.units)
        record = Record(
            backup=plan.backup.id,
            stamp=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            databases=tuple((each.component, each.name) for each in live),
            settings=plan.request.settings,
            running=_to_start(server, states),
        )
        # Before the first unit stops: it says which are to be started again.
        _write(server, record)
        _stop(server, [unit for unit in plan.units if unit.name in record.running])
        _require_closed(server, live)
    except BaseException:
        if record:
            # First: with a record, a copy that is not staged is one that was put in place already.
            _forget(server)
        for each in live:
            replace.unstage(server.paths, each)
        if record:
            _start(server, plan.units, record.running)
        raise
    return _finish(server, inventory, record, plan.units)


def finish(server: Server, inventory: Inventory) -> Restored | None:
    """Bring a restore that was cut short to its end, None when there is none. Raises as it does."""
    record = read_record(server)
    if record is None:
        return None
    with _hangup_ignored(), frontend_lock(server), catalogue.locked(server):
        units = _units_of(inventory, record)
        states = _states(server, units)
        _stop(server, [each for each in units if states.get(each.name, NONE).active in RUNNING])
        _require_closed(server, _databases(server, inventory, record))
        if late := _not_started(server, inventory):
            units = [unit for _, unit in inventory.units()]
            names = dict.fromkeys((*record.running, *late))
            record = dataclasses.replace(record, running=tuple(names))
        finished = _finish(server, inventory, record, units)
        if late:
            server.runner.run(["systemctl", "start", AT_BOOT])  # it has nothing more to do
        return finished


def _not_started(server: Server, inventory: Inventory) -> list[str]:
    """Return the units that a boot did not start because it could not finish the restore."""
    if systemd.absence(server):
        return []
    if systemd.show(server.runner, [AT_BOOT])[AT_BOOT].active != "failed":
        return []
    resting = resting_units(server)
    states = _states(server, [unit for _, unit in inventory.units()])
    return [
        name
        for name, each in states.items()
        if not each.put_aside and name.removesuffix(".service") not in resting
    ]


def resume(server: Server, inventory: Inventory) -> bool:
    """Replace what a restore that was cut short did not get to; say whether there was one.

    For the boot: no service runs yet, and those that are to run start by themselves. Raises
    RestoreError when one runs nevertheless.
    """
    record = read_record(server)
    if record is None:
        return False
    with catalogue.locked(server):
        if found := replace.holders(server.paths, _databases(server, inventory, record)):
            raise RestoreError(
                f"a database is still open in {', '.join(found)}; nothing was changed",
                "tradingctl restore",  # which stops the services
            )
        aside = _replace(server, inventory, record)
    _forget(server)
    _note(server, inventory, record, aside, "finished at boot")
    return True


def _finish(
    server: Server, inventory: Inventory, record: Record, units: Iterable[Unit]
) -> Restored:
    try:
        aside = _replace(server, inventory, record)
    except BaseException:
        server.warn(
            "the restore was cut short; the services stay stopped until it is finished\n"
            "  next: tradingctl restore"
        )
        raise
    _start(server, units, record.running)
    _forget(server)
    found = None
    if record.running and not systemd.absence(server):
        found = verify(server, inventory, record.running)
    _note(server, inventory, record, aside, found.result.value if found else "not verified")
    return Restored(
        record.backup,
        {name: tuple(map(str, files)) for name, files in aside.items()},
        record.running,
        found,
    )


def _replace(server: Server, inventory: Inventory, record: Record) -> dict[str, list[Path]]:
    """Put everything in its place; what was done already is left. Return what is aside."""
    aside: dict[str, list[Path]] = {}
    for live in _databases(server, inventory, record):
        aside[str(live.file)] = replace.swap(server.paths, live, record.stamp)
    if record.settings:
        backup = catalogue.read(server.paths, record.backup)
        top = catalogue.directory(server.paths, backup)
        for step in restored_settings.steps(server.paths.settings, backup.settings):
            kept = restored_settings.restore(step, top, record.stamp)
            aside[str(step.path)] = [kept] if kept else []
    return aside


def _names(live: Iterable[Database]) -> set[str]:
    return {each.component for each in live}


def _databases(server: Server, inventory: Inventory, record: Record) -> list[Database]:
    declared = database.declared(server.paths, inventory)
    known = {(each.component, each.name): each for each in declared}
    return [known[each] for each in record.databases if each in known]


def _units_of(inventory: Inventory, record: Record) -> list[Unit]:
    names = {component for component, _ in record.databases}
    orders = [
        unit.order for each, unit in inventory.units() if record.settings or each.name in names
    ]
    return [unit for _, unit in inventory.units() if unit.order >= min(orders, default=0)]


NONE = UnitState()


def _states(server: Server, units: Iterable[Unit]) -> dict[str, UnitState]:
    if systemd.absence(server):
        return {}
    return systemd.show(server.runner, [unit.name for unit in units])


def _to_start(server: Server, states: Mapping[str, UnitState]) -> tuple[str, ...]:
    """Return the units that are to run afterwards: those that do, and those that have failed.

    Nobody stopped these, and they may have failed for their database; unless they rest until the
    market opens, for a service may end with an error when it is stopped.
    """
    resting = resting_units(server)
    return tuple(
        name
        for name, each in states.items()
        if each.active in RUNNING
        or (each.active == "failed" and name.removesuffix(".service") not in resting)
    )


def _stop(server: Server, units: list[Unit]) -> None:
    """Stop units, last first. Raises RestoreError when one of them goes on."""
    for unit in reversed(units):
        systemd.stop(server, unit)
    states = _states(server, units)
    going = [service(name) for name, each in states.items() if each.active in RUNNING]
    if going:
        raise RestoreError(
            f"{', '.join(going)} did not stop; nothing was changed", f"systemctl stop {going[0]}"
        )


def _start(server: Server, units: Iterable[Unit], running: Iterable[str]) -> None:
    """Start those units again that ran, also what the administrator has disabled since."""
    names = set(running)
    wanted = [unit for unit in units if unit.name in names]
    if wanted and not systemd.absence(server):
        states = systemd.show(server.runner, [unit.name for unit in wanted])
        aside = {name for name, each in states.items() if each.put_aside == "disabled"}
        # Not what they want: the administrator may have stopped it.
        systemd.start(server, wanted, forced=aside, alone=True)


def _require_closed(server: Server, live: list[Database]) -> None:
    found = replace.holders(server.paths, live)
    if found:
        raise RestoreError(
            f"a database is still open in {', '.join(found)}, which is no service of the stack;"
            " nothing was changed",
            f"kill {found[0].split()[1]}, then type the command again",
        )


def _write(server: Server, record: Record) -> None:
    text = json.dumps(asdict(record), indent=2, sort_keys=True) + "\n"
    write_whole(server.paths.restore_record, text, 0o600)


def _forget(server: Server) -> None:
    server.paths.restore_record.unlink(missing_ok=True)
    sync_directory(server.paths.state)


def read_record(server: Server) -> Record | None:
    """Return what a restore that was cut short was doing. Raises RestoreError, OSError."""
    path = server.paths.restore_record
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        pairs = tuple((str(component), str(name)) for component, name in data["databases"])
        return Record(
            backup=str(data["backup"]),
            stamp=str(data["stamp"]),
            databases=pairs,
            settings=bool(data["settings"]),
            running=tuple(map(str, data["running"])),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise RestoreError(
            f"{path}: cannot be read: {error!r}; it says which databases a restore was to replace",
            f"mv {path} {path}.broken && tradingctl backup --list",
        ) from error


def _note(
    server: Server,
    inventory: Inventory,
    record: Record,
    aside: Mapping[str, list[Path]],
    result: str,
) -> None:
    kept = [str(file) for files in aside.values() for file in files]
    detail = f"{record.backup} restored, {result}; before: {', '.join(kept) or 'nothing'}"
    history.record(server, "restore", inventory.release, detail)
