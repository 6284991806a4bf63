"""Take over an installation by hand, step by step, as the record has it.

The record with all steps is on the disk before the first of them. An adoption that was cut short is
reversed by it, and then begun anew. Nothing is deleted.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tradingctl import state, systemd, tree
from tradingctl.account import Account, find_account
from tradingctl.adopt import crontabs, databases, inforce, moving, processes, record
from tradingctl.adopt.record import Adoption, Kind, State, Step
from tradingctl.adopt.survey import Survey
from tradingctl.adopt.trees import is_database
from tradingctl.adopt.unitfiles import is_mask
from tradingctl.backup.database import Database
from tradingctl.backup.replace import SIDE_FILES, holders
from tradingctl.description import Component
from tradingctl.errors import AdoptionError
from tradingctl.files import sync_directory, write_whole
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.server import Server

STOP_SECONDS = 150.0
FREE_SECONDS = 10.0
INTERVAL = 0.1


def begin(server: Server, survey: Survey, adoption: Adoption) -> Adoption:
    """Prepare what takes time while everything still runs, and write the record."""
    for component in survey.components:
        generations = Generations(server.paths, component.name)
        with generations.locked():
            staged = generations.stage(component.version)
            if staged:
                generations.install(staged, component.version)
    for found in survey.settings:
        # What is read from unit files has to be known when those are moved.
        file = prepared(server, adoption, found.component)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, inforce.text_of(found), 0o600)
    record.append(server, adoption)
    return adoption


def carry_out(server: Server, inventory: Inventory, adoption: Adoption) -> Adoption:
    """Do every step that is not done yet and return the adoption, all of it done.

    Raises AdoptionError, BackupError, TradingError, OSError; then some steps are done, and the
    caller reverses them.
    """
    account = find_account(server.paths)
    _take_places(server, adoption)
    for component in inventory.components:
        if component.name in adoption.components:
            state.make_directories(server.paths, component, account, taken_over=False)
    checked = reloaded = closed = False
    for step in adoption.steps:
        if step.kind is not Kind.STOP and not checked:
            _require_quiet(server, inventory, adoption)
            checked = True
        if step.kind not in (Kind.STOP, Kind.UNIT, Kind.CRONTAB, Kind.TREE) and not closed:
            # Who opened a database before its tree was moved aside still writes to it; a script
            # that opens one for each row does not find it any more.
            _require_quiet(server, inventory, adoption, opened=True)
            closed = True
        if step.kind not in (Kind.STOP, Kind.UNIT) and not reloaded:
            systemd.reload(server)
            reloaded = True
        if step.done and not _to_be_done_again(adoption, step):
            continue
        note = _do(server, inventory, adoption, step, account)
        if not step.done:
            adoption = record.finished(server, adoption, step, note)
    rest(server, adoption)
    systemd.reload(server)
    tree.remove(server.paths.adoption / "settings")
    return record.set_state(server, adoption, State.ADOPTED)


def _places_file(server: Server, adoption: Adoption) -> Path:
    """Return the file that says to whom the directories above all components' belonged."""
    return server.paths.adoption / "owners" / adoption.stamp / "places.json"


def _take_places(server: Server, adoption: Adoption) -> None:
    file = _places_file(server, adoption)
    before = {server.paths.shown(each): each.stat() for each in state.shared_places(server.paths)}
    if before and not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rights = {
            name: (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
            for name, found in before.items()
        }
        write_whole(file, json.dumps(rights) + "\n", 0o600)
    state.take_places(server.paths)


def give_places_back(server: Server, adoption: Adoption) -> None:
    """Let the directories above all components' belong to whom they did. Raises OSError."""
    file = _places_file(server, adoption)
    if not file.exists():
        return
    for name, (uid, gid, mode) in json.loads(file.read_text(encoding="utf-8")).items():
        place = server.paths.root / name.lstrip("/")
        if place.is_dir() and not place.is_symlink():
            os.chown(place, uid, gid)
            place.chmod(mode)


def _to_be_done_again(adoption: Adoption, step: Step) -> bool:
    """Return whether an adoption that was cut short has to repeat a step.

    Somebody may have started what was stopped, which then wrote to what was copied.
    """
    trees = [each for each in adoption.of(Kind.TREE) if each.component == step.component]
    moved = any(os.path.lexists(each.target) for each in trees)
    copied = step.kind in (Kind.DATABASE, Kind.FILES) and not moved
    return step.kind is Kind.STOP or copied


def rest(server: Server, adoption: Adoption) -> None:
    """Keep packaged units from being started whose namesakes did not run, until ``release``."""
    for unit in adoption.units:
        if not unit.active and (server.paths.units / unit.name).exists():
            mask = server.paths.runtime_units / unit.name
            mask.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(mask):
                mask.symlink_to("/dev/null")


def release(server: Server, adoption: Adoption) -> None:
    """Let units be started again that ``rest`` has kept from it."""
    masks = [server.paths.runtime_units / unit.name for unit in adoption.units]
    found = [mask for mask in masks if is_mask(mask)]
    for mask in found:
        mask.unlink()
    if found:
        systemd.reload(server)


def _do(
    server: Server, inventory: Inventory, adoption: Adoption, step: Step, account: Account
) -> str:
    source, target = Path(step.source), Path(step.target)
    if step.kind in (Kind.DATABASE, Kind.MOVE):
        source = record.place_of(adoption, source)
    if step.kind is Kind.STOP:
        _stop(server, step.source)
    elif step.kind is Kind.UNIT:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        moving.move(source, target)
        _enable_packaged(server, adoption, step)
    elif step.kind is Kind.TREE:
        moving.move(source, target)
    elif step.kind is Kind.ASIDE:
        moving.move_all(source, target, ("", *SIDE_FILES))
    elif step.kind is Kind.CRONTAB:
        file, _, numbers = step.source.rpartition(":")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        crontabs.disable(Path(file), [int(each) for each in numbers.split(",")], target)
    elif step.kind is Kind.DATABASE:
        # Also when it was done before: until every step is done nothing else has written to it.
        return databases.take(server, step.component, source, target, account)
    elif step.kind is Kind.FILES:
        return _copy(server, inventory, adoption, step, account)
    elif step.kind is Kind.SETTINGS:
        _settings(server, adoption, step, account)
    elif step.kind is Kind.MOVE:
        if not (source.exists() and target.exists() and source.samefile(target)):
            moving.move(source, target)
        moving.own(target, account, owners_file(server, adoption, step))
    elif step.kind is Kind.GROUP:
        outcome = server.runner.run(["usermod", "--append", "--groups", step.target, step.source])
        if outcome.code != 0:
            server.warn(f"warning: {step.source} is not put in group {step.target}: {outcome.said}")
    elif step.kind is Kind.LINK:
        Generations(server.paths, step.component).flip(target.name)
    return ""


def owners_file(server: Server, adoption: Adoption, step: Step) -> Path:
    """Return the file that says to whom the files of a moved directory belonged."""
    name = f"{step.component}-{Path(step.target).name}.json"
    return server.paths.adoption / "owners" / adoption.stamp / name


def _stop(server: Server, unit: str) -> None:
    """Stop a unit of the administrator's. Raises AdoptionError when it goes on."""
    outcome = server.runner.run(["systemctl", "stop", unit], timeout=STOP_SECONDS)
    active = systemd.show(server.runner, [unit])[unit].active
    if active in ("active", "activating", "reloading", "deactivating"):
        raise AdoptionError(
            f"{unit} did not stop: {outcome.said}", f"systemctl status {unit} --no-pager"
        )


def _require_quiet(
    server: Server, inventory: Inventory, adoption: Adoption, opened: bool = False
) -> None:
    """Raise AdoptionError while a process still has what is moved; ``opened`` counts, too."""
    deadline = server.clock.now() + FREE_SECONDS
    while found := _busy(server, inventory, adoption, opened):
        if server.clock.now() >= deadline:
            raise AdoptionError(
                f"after every unit was stopped there is still {found}",
                "end it, then: tradingctl adopt --dry-run",
            )
        server.clock.sleep(INTERVAL)


def _busy(server: Server, inventory: Inventory, adoption: Adoption, opened: bool) -> str:
    proc = server.paths.proc
    ports = {
        unit.port
        for component, unit in inventory.units()
        if component.name in adoption.components and unit.port
    }
    for port in sorted(ports):
        for holder in processes.on_port(proc, port):
            return f"{holder} on port {port}"
    for step in adoption.of(Kind.TREE):
        for place in (Path(step.source), Path(step.target)):
            for stray in processes.from_tree(proc, place.resolve()) if place.is_dir() else ():
                return f"{stray}, which runs from {step.source}"
    old = [
        Database(
            step.component, Path(step.source).name, record.place_of(adoption, Path(step.source))
        )
        for step in adoption.of(Kind.DATABASE)
    ]
    for found in holders(server.paths, old) if opened else ():
        # Not what it was started with, which may hold secrets.
        return f"{processes.of_number(proc, found.split()[1])} with a database open"
    return ""


def _enable_packaged(server: Server, adoption: Adoption, step: Step) -> None:
    """Let what enabled the old unit enable the packaged one, or nothing where there is none."""
    for unit in adoption.units:
        if unit.file != step.source:
            continue
        for name, target in unit.links.items():
            link, packaged = Path(name), server.paths.units / unit.name
            if not link.is_symlink() or str(link.readlink()) != target:
                continue
            link.unlink()
            if packaged.exists():
                link.symlink_to(f"/lib/systemd/system/{unit.name}")
            sync_directory(link.parent)


def _copy(
    server: Server, inventory: Inventory, adoption: Adoption, step: Step, account: Account
) -> str:
    source, target = record.place_of(adoption, Path(step.source)), Path(step.target)
    component = inventory.component(step.component)
    # Also what has the name of one that is taken from elsewhere: it is not the one in use.
    own = declared(adoption, Path(step.source)) | declared(adoption, target, live=True)
    tracked = _tracked(server, component, target)
    dumped: list[Path] = []

    def skip(relative: Path) -> bool:
        if relative.as_posix() in own:
            return True
        shipped = tracked / relative if tracked else None
        if shipped is not None and moving.same_bytes(shipped, source / relative):
            return True
        path = source / relative
        if path.is_file() and not path.is_symlink() and is_database(path):
            dumped.append(relative)
            return True
        return any(
            relative.as_posix().endswith(end) and is_database_of(source / relative, end)
            for end in SIDE_FILES
        )

    beside = f".before-adoption-{adoption.stamp}"
    count = moving.copy_files(source, target, account, skip, beside)
    for relative in dumped:
        there = target / relative
        for folder in reversed([each for each in there.parents if each.is_relative_to(target)]):
            moving.make_folder(folder, account)
        databases.take(server, step.component, source / relative, there, account)
    return f"{count + len(dumped)} files copied" + _names(dumped)


def is_database_of(path: Path, end: str) -> bool:
    """Return whether a file is what SQLite keeps beside a database."""
    database = path.with_name(path.name.removesuffix(end))
    return database.is_file() and is_database(database)


def _names(dumped: list[Path]) -> str:
    named = ", ".join(each.as_posix() for each in dumped)
    return f"; databases that are not declared, and not backed up: {named}" if named else ""


def declared(adoption: Adoption, folder: Path, live: bool = False) -> set[str]:
    """Return the names below ``folder`` of databases that have a step of their own.

    Where they come from, or with ``live`` where they go to.
    """
    found = set()
    for step in adoption.of(Kind.DATABASE):
        file = Path(step.target if live else step.source)
        if file.is_relative_to(folder):
            name = file.relative_to(folder).as_posix()
            found |= {name + end for end in ("", *SIDE_FILES)}
    return found


def _tracked(server: Server, component: Component, target: Path) -> Path | None:
    """Return what the release itself ships for a directory, None when it ships nothing."""
    top = server.paths.state / component.name
    if not target.is_relative_to(top):
        return None
    shipped = server.paths.generation(component.name, component.version)
    return shipped / ".tracked" / target.relative_to(top)


def prepared(server: Server, adoption: Adoption, component: str) -> Path:
    """Return where the settings wait that are found before the units are moved."""
    return server.paths.adoption / "settings" / adoption.stamp / f"{component}.env"


def _settings(server: Server, adoption: Adoption, step: Step, account: Account) -> None:
    target = Path(step.target)
    folder = server.paths.secrets
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        os.chown(folder, -1, account.gid)
        folder.chmod(0o750)
    earlier = earlier_settings(adoption, step)
    if target.exists() and not earlier.exists():
        before = target.read_text(encoding="utf-8", errors="replace")
        if before == settings_text(server, adoption, step):
            return  # it was cut short after this
        # The file itself, with its owner and mode: what is written next is another one.
        earlier.hardlink_to(target)
    write_whole(target, settings_text(server, adoption, step), 0o640, gid=account.gid)


def settings_text(server: Server, adoption: Adoption, step: Step) -> str:
    """Return what a step writes into a secret file, empty when it is done for long."""
    file, earlier = prepared(server, adoption, step.component), earlier_settings(adoption, step)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and earlier.exists():
        text += inforce.and_earlier(earlier.read_text(encoding="utf-8", errors="replace"))
    return text


def earlier_settings(adoption: Adoption, step: Step) -> Path:
    """Return where the secret file is kept that was there before."""
    target = Path(step.target)
    return target.with_name(f"{target.name}.before-adoption-{adoption.stamp}")
