"""Give back what was taken over: every step reversed, the data written since taken along.

What a step did is seen from what lies where, so that it may be repeated, and reverses what was cut
short as well as what is years old. Nothing is deleted but links and what is a copy to the letter.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tradingctl import systemd, tree
from tradingctl.account import Account, members
from tradingctl.adopt import apply, crontabs, databases, moving, record
from tradingctl.adopt.record import Adoption, Kind, State, Step, place_of, save, set_state
from tradingctl.adopt.trees import device_of, free_bytes, is_database
from tradingctl.adopt.unitfiles import enabling, is_mask
from tradingctl.backup.database import Database
from tradingctl.backup.replace import SIDE_FILES, holders
from tradingctl.description import Unit
from tradingctl.errors import AdoptionError
from tradingctl.files import sync_directory
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, service
from tradingctl.market.resting import resting_units
from tradingctl.server import Server

ORDER = tuple(reversed(Kind))
START_SECONDS = 120.0
MARGIN = 64 << 20  # bytes that stay free
# What was here by a name that is ours; one of the administrator's may well be X.before-split.csv.
PUT_ASIDE = re.compile(r"\.(?:undone|before-(?:adoption|undo|restore))-[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True)
class GivenBack:
    """What was given back, for people, and the units that do not run although they ran before."""

    lines: tuple[str, ...]
    failed: tuple[str, ...] = ()


def give_back(
    server: Server, inventory: Inventory, adoption: Adoption, state: State, start: bool = True
) -> GivenBack:
    """Reverse ``adoption``; ``state`` says why: REVERSING or UNDOING.

    Without ``start``, at boot, nothing is stopped, and nothing is waited for: systemd itself will
    start what is enabled, and is told of what it does not know yet. Raises AdoptionError,
    BackupError, OSError; what was not done then is done by the next call.
    """
    stamp = server.wall().strftime("%Y%m%dT%H%M%SZ")
    adoption = set_state(server, adoption, state)
    lines: list[str] = []
    # Until every unit is stopped nothing else is done.
    begun = all(step.done for step in adoption.of(Kind.STOP))
    if start and begun:
        _stop(server, inventory, adoption)
    closed = not start
    # Each kind in the reverse order, and so are the steps of a kind.
    backwards = list(reversed(adoption.steps))
    for step in sorted(backwards, key=lambda each: ORDER.index(each.kind)):
        if step.kind is not Kind.LINK and not closed:
            # Without the links nobody opens one any more by the path that everybody knows.
            _require_closed(server, adoption)
            closed = True
        lines += REVERSE[step.kind](server, adoption, step, stamp)
        if step.done:
            adoption = record.finished(server, adoption, step, step.note, done=False)
    apply.give_places_back(server, adoption)
    adoption = _mask(server, inventory, adoption)
    apply.release(server, adoption)
    if not systemd.absence(server):
        systemd.reload(server)
    failed = _start(server, adoption) if start else _enqueue(server, inventory, adoption)
    tree.remove(server.paths.adoption / "settings" / adoption.stamp)
    ended = State.UNDONE if state is State.UNDOING else State.REVERSED
    set_state(server, adoption, ended)
    return GivenBack(tuple(lines), tuple(failed))


def require_possible(adoption: Adoption) -> None:
    """Raise AdoptionError when what is to be given back is not there, or has no room."""
    for step in adoption.steps:
        if step.kind in (Kind.UNIT, Kind.TREE) and not os.path.lexists(step.target):
            raise AdoptionError(
                f"{step.target} is not there any more, so {step.source} cannot be given back;"
                " nothing was changed",
                f"ls -ld {Path(step.target).parent}",
            )
    wanted: dict[int, int] = {}
    for step in adoption.of(Kind.DATABASE):
        old, live = place_of(adoption, Path(step.source)), Path(step.target)
        device = device_of(old)
        wanted[device] = wanted.get(device, 0) + (live.stat().st_size if live.exists() else 0)
        if free_bytes(old) < wanted[device] + MARGIN:
            raise AdoptionError(
                f"the file system of {old.parent} has {free_bytes(old) / 1e6:.0f} MB free and needs"
                f" {(wanted[device] + MARGIN) / 1e6:.0f} MB for the databases; nothing was changed",
                f"df -h {old.parent}",
            )


def resting(server: Server, adoption: Adoption) -> list[str]:
    """Return the old units that ran and that the opening of the market will start."""
    names = {service(name) for name in resting_units(server)}
    # It leaves alone what is not enabled.
    return [
        unit.name for unit in adoption.units if unit.name in names and unit.active and unit.enabled
    ]


def _units(inventory: Inventory, adoption: Adoption) -> list[Unit]:
    return [unit for component, unit in inventory.units() if component.name in adoption.components]


def _stop(server: Server, inventory: Inventory, adoption: Adoption) -> None:
    """Stop what runs, the packaged units or the old ones: they have the same names."""
    if systemd.absence(server):
        return
    names = [service(unit.name) for unit in reversed(_units(inventory, adoption))]
    names += [unit.name for unit in adoption.units if unit.name not in names]
    states = systemd.show(server.runner, names)
    for name in names:
        if states[name].active not in ("inactive", "failed", "unknown"):
            server.runner.run(["systemctl", "stop", name], timeout=apply.STOP_SECONDS)
    states = systemd.show(server.runner, names)
    going = [name for name in names if states[name].active in ("active", "reloading")]
    if going:
        raise AdoptionError(
            f"{', '.join(going)} did not stop; nothing was given back", f"systemctl stop {going[0]}"
        )


def _require_closed(server: Server, adoption: Adoption) -> None:
    live = [
        Database(step.component, Path(step.target).name, Path(step.target))
        for step in adoption.of(Kind.DATABASE)
    ]
    deadline = server.clock.now() + apply.FREE_SECONDS
    while found := holders(server.paths, live):
        pid = found[0].split()[1]
        if server.clock.now() >= deadline:
            raise AdoptionError(
                f"a database is still open in process {pid}, which is no service of the stack;"
                " the services are stopped, and nothing was given back yet",
                f"ps -fp {pid}; kill {pid}, then type the command again",
            )
        server.clock.sleep(apply.INTERVAL)


def _nothing(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    return []


def _link(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    link = Path(step.source)
    if Generations(server.paths, step.component).active:
        link.unlink()
        sync_directory(link.parent)
    return []


def _moved(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    """Move back a tree, or what lay in the way of an adoption."""
    source, target = Path(step.source), Path(step.target)
    if not os.path.lexists(target):
        return []
    if step.kind is Kind.ASIDE and os.path.lexists(source):
        return []  # what was there is of the services since; both stay
    if step.kind is Kind.ASIDE:
        moving.move_all(target, source, ("", *SIDE_FILES))
    else:
        moving.move(target, source)
    with contextlib.suppress(OSError):
        target.parent.rmdir()  # /opt/trading/adopted, when it is empty
    return [f"{target} is {source} again"]


def _folder(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    source, target = place_of(adoption, Path(step.source)), Path(step.target)
    owners = apply.owners_file(server, adoption, step)
    if not owners.exists():
        if target.is_dir() and not os.path.lexists(source):
            moving.move(target, source)  # it was cut short between the two
        return []
    if not (source.exists() and target.exists() and source.samefile(target)):
        if target.is_dir() and any(target.iterdir()) and os.path.lexists(source):
            kept = source.with_name(f"{source.name}.before-undo-{stamp}")
            source.rename(kept)
        if target.is_dir() and not os.path.lexists(source):
            moving.move(target, source)
    moving.disown(source, owners)
    owners.rename(owners.with_name(f"{owners.name}.done"))
    return [f"{target} is {step.source} again"]


def _settings(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    """Put the secret file aside; ``comeback`` has said what is different without it."""
    target, earlier = Path(step.target), apply.earlier_settings(adoption, step)
    # The adoption's own stamp: what lies there once the file has its name is of before, or new.
    kept = target.with_name(f"{target.name}.undone-{adoption.stamp}")
    lines = []
    if target.exists() and not kept.exists():
        text = target.read_text(encoding="utf-8", errors="replace")
        # Cut short before the step was marked, what it wrote would count more the next time.
        if step.done or text == apply.settings_text(server, adoption, step):
            target.rename(kept)
            lines.append(f"{target} is kept as {kept}")
    if earlier.exists():
        if target.exists() and target.samefile(earlier):
            earlier.unlink()  # rename(2) leaves two names of one file alone
        else:
            earlier.replace(target)
    return lines


def _database(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    old, live = place_of(adoption, Path(step.source)), Path(step.target)
    if not step.done or not live.exists():
        return []
    lines = []
    if old.exists() and databases.same(old, live):
        lines.append(f"{step.source}: nothing was written since; it is as it was")
        databases.remove(live)
    else:
        counted = databases.give_back(server, step.component, live, old, stamp)
        lines.append(
            f"{step.source}: what was written since is in it: {counted};"
            f" before: {old.name}.before-undo-{stamp}; also kept: {live}.undone-{stamp}"
        )
        databases.put_aside(live, "undone", stamp)
    return lines


def _files(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    """Copy back what the services changed or made; links are of the release."""
    source, target = place_of(adoption, Path(step.source)), Path(step.target)
    if not step.done or not source.is_dir() or not target.is_dir():
        return []
    status = source.stat()
    owner = Account(status.st_uid, status.st_gid)
    declared = apply.declared(adoption, target, live=True)

    found: list[Path] = []

    def skip(relative: Path) -> bool:
        path = target / relative
        name = relative.as_posix()
        if path.is_symlink() or name in declared or _is_side_file(path):
            return True
        if PUT_ASIDE.search(name):
            return True
        if is_database(path):
            found.append(relative)
        return is_database(path)

    count = moving.copy_files(target, source, owner, skip, f".before-undo-{stamp}", 0o644)
    for relative in found:
        old, live = source / relative, target / relative
        if not old.exists() or not databases.same(old, live):
            old.parent.mkdir(parents=True, exist_ok=True)
            databases.give_back(server, step.component, live, old, stamp)
            count += 1
    return [f"{step.source}: {count} files that were changed since"] if count else []


def _is_side_file(path: Path) -> bool:
    return any(path.name.endswith(end) and apply.is_database_of(path, end) for end in SIDE_FILES)


def _group(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    if step.done and step.source in members(server.paths):
        server.runner.run(["gpasswd", "--delete", step.source, step.target])
    return []


def _crontab(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    file = Path(step.source.rpartition(":")[0])
    if not Path(step.target).exists():
        return []
    crontabs.enable(file, Path(step.target))
    return [f"{file}: its lines are in use again"]


def _unit(server: Server, adoption: Adoption, step: Step, stamp: str) -> list[str]:
    file, kept = Path(step.source), Path(step.target)
    lines = [f"{file} is in force again"]
    if os.path.lexists(kept):
        if is_mask(file):
            file.unlink()
        elif os.path.lexists(file):
            # /var, where those put aside lie, may be another file system.
            since = kept.with_name(f"{file.name}.{stamp}")
            moving.move(file, since)
            lines.append(f"  the one made since is kept as {since}")
        moving.move(kept, file)
    for unit in adoption.units:
        if unit.file == step.source:
            _enable(file.parent, unit.name, unit.links)
    return lines


def _enable(folder: Path, name: str, links: Mapping[str, str]) -> None:
    """Make what enabled a unit what it was."""
    for link in enabling(folder, name):
        if links.get(str(link)) != str(link.readlink()):
            link.unlink()
    for path, target in links.items():
        link = Path(path)
        if not os.path.lexists(link):
            link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            link.symlink_to(target)
            sync_directory(link.parent)


REVERSE: Mapping[Kind, Callable[[Server, Adoption, Step, str], Sequence[str]]] = {
    Kind.STOP: _nothing,
    Kind.UNIT: _unit,
    Kind.CRONTAB: _crontab,
    Kind.ASIDE: _moved,
    Kind.DATABASE: _database,
    Kind.FILES: _files,
    Kind.SETTINGS: _settings,
    Kind.MOVE: _folder,
    Kind.GROUP: _group,
    Kind.TREE: _moved,
    Kind.LINK: _link,
}


def _mask(server: Server, inventory: Inventory, adoption: Adoption) -> Adoption:
    """Mask packaged units that would run the old tree's code beside the old units."""
    folder = server.paths.local_units
    names = [service(unit.name) for unit in _units(inventory, adoption)]
    wanted = [name for name in names if not os.path.lexists(folder / name)]
    # Written down first: only what is written is unmasked again.
    adoption = save(server, replace(adoption, masked=(*adoption.masked, *wanted)))
    for name in wanted:
        folder.mkdir(parents=True, exist_ok=True)
        known = server.paths.adoption_mask(name)
        known.parent.mkdir(mode=0o755, exist_ok=True)
        known.touch()
        (folder / name).symlink_to("/dev/null")
    return adoption


def unmask(server: Server, adoption: Adoption) -> None:
    """Let the packaged units start again that were masked when it was given back."""
    for name in adoption.masked:
        place = server.paths.local_units / name
        if is_mask(place):
            place.unlink()
        server.paths.adoption_mask(name).unlink(missing_ok=True)


def _enqueue(server: Server, inventory: Inventory, adoption: Adoption) -> list[str]:
    """Have systemd start, at boot, enabled units whose names no packaged unit has; none fails here.

    When they were enabled again it had decided already what to start, by the names of the packaged.
    """
    if systemd.absence(server):
        return []
    packaged = {service(unit.name) for unit in _units(inventory, adoption)}
    names = [unit.name for unit in reversed(adoption.units) if unit.enabled]
    if own := [name for name in names if name not in packaged]:
        server.runner.run(["systemctl", "start", "--no-block", *own])
    return []


def _start(server: Server, adoption: Adoption) -> list[str]:
    """Start the old units that ran, in the reverse order of stopping; return those that do not.

    Those that rest stay stopped, as the packaged ones were.
    """
    if systemd.absence(server):
        return []
    rest = resting(server, adoption)
    for name in rest:
        server.warn(f"note: {name} rests until the market opens, not starting it")
    names = [
        unit.name for unit in reversed(adoption.units) if unit.active and unit.name not in rest
    ]
    if not names:
        return []
    server.runner.run(["systemctl", "reset-failed", *names])
    for name in names:
        server.runner.run(["systemctl", "start", name], timeout=START_SECONDS)
    states = systemd.show(server.runner, names)
    return [name for name in names if states[name].active not in ("active", "activating")]
