"""What is going to be done about an installation by hand, why, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from tradingctl.account import NAME, members
from tradingctl.adopt import refusals
from tradingctl.adopt.record import Adoption, Kind, OldUnit, State, Step, read
from tradingctl.adopt.refusals import Refusal
from tradingctl.adopt.survey import Folder, Survey
from tradingctl.adopt.trees import Tree, device_of
from tradingctl.adopt.unitfiles import UnitFile
from tradingctl.backup.replace import SIDE_FILES
from tradingctl.deploy.actor import actor
from tradingctl.description import Component
from tradingctl.inventory import service
from tradingctl.server import Server


@dataclass(frozen=True)
class Plan:
    """What is to be done, as the record will have it, and what forbids to begin."""

    survey: Survey
    adoption: Adoption
    refusals: tuple[Refusal, ...]


def plan(server: Server, survey: Survey, retry: str) -> Plan:
    """Return what is to be done; changes nothing. Raises AdoptionError, OSError.

    ``retry`` is the command that is typed once what forbids it has been mended.
    """
    now = server.wall()
    stamp = _stamp(server, now)
    steps = tuple(_steps(server, survey, stamp))
    units = tuple(_old_unit(unit) for unit in _moved_units(survey))
    adoption = Adoption(
        state=State.ADOPTING,
        release=survey.inventory.release,
        components=tuple(component.name for component in survey.components),
        by=actor(server),
        began_at=now.isoformat(timespec="seconds"),
        stamp=stamp,
        units=units,
        steps=steps,
    )
    return Plan(survey, adoption, tuple(refusals.find(survey, steps, server.paths, retry)))


def _stamp(server: Server, now: datetime) -> str:
    """Return what tells this adoption from others, also from one of the same second."""
    base = stamp = now.strftime("%Y%m%dT%H%M%SZ")
    taken = {each.stamp for each in read(server.paths)}
    number = 1
    while stamp in taken:
        number += 1
        stamp = f"{base}-{number}"
    return stamp


def _old_unit(unit: UnitFile) -> OldUnit:
    return OldUnit(
        unit.name,
        unit.component,
        str(unit.file),
        unit.running or unit.rests,  # who put that aside would have disabled it
        unit.enabled,
        {str(link): target for link, target in unit.links},
    )


def _moved_units(survey: Survey) -> list[UnitFile]:
    """Return the units that give way, in the order in which they are stopped."""
    order = {service(unit.name): unit.order for _, unit in survey.inventory.units()}
    # The worker before the API before the stream; what has no packaged namesake first.
    place = {unit.name: order.get(unit.name, 1 << 20) for unit in survey.given_way}
    return sorted(survey.given_way, key=lambda unit: (-place[unit.name], unit.name))


def _steps(server: Server, survey: Survey, stamp: str) -> Iterator[Step]:
    units = _moved_units(survey)
    kept = server.paths.adoption / "units" / stamp
    for unit in units:
        why = f"is {unit.state.active}" if not survey.absence else "systemd is not running"
        yield Step(Kind.STOP, unit.component, unit.name, "", why)
    for unit in units:
        yield Step(
            Kind.UNIT, unit.component, str(unit.file), str(kept / unit.name), _giving_way(unit)
        )
    for number, file in enumerate(sorted({line.file for line in survey.cron if line.disable})):
        lines = [line for line in survey.cron if line.file == file and line.disable]
        numbers = ",".join(str(line.number) for line in lines)
        copy = server.paths.adoption / "crontabs" / f"{stamp}-{number}-{file.name}"
        why = "; ".join(f"line {line.number} {line.reason}" for line in lines)
        yield Step(Kind.CRONTAB, "", f"{file}:{numbers}", str(copy), why)
    # From here on nobody can write to a database by the path that everybody knows: what is copied
    # afterwards is all there is.
    for component in survey.components:
        if tree := survey.tree(component.name):
            why = "nothing in it is changed"
            if tree.place != tree.real:
                why = f"the link; {tree.real} stays where it is"
            yield Step(Kind.TREE, component.name, str(tree.place), str(tree.aside), why)
    for component in survey.components:
        yield from _component_steps(server, survey, component, stamp)
    for user in sorted({tree.owner.partition(":")[0] for tree in survey.trees}):
        if user not in ("root", NAME, *members(server.paths)) and not user.isdecimal():
            why = "its own scripts and cron jobs go on to read and write the data"
            yield Step(Kind.GROUP, "", user, NAME, why)
    for component in survey.components:
        if survey.tree(component.name):
            link = server.paths.link(component.name)
            target = Path("releases", component.name, component.version)
            why = "the package's code runs, and the paths stay"
            yield Step(Kind.LINK, component.name, str(link), str(target), why)


def _giving_way(unit: UnitFile) -> str:
    hides = "hides the packaged unit" if unit.packaged else "runs what the package runs"
    links = ", ".join(str(link) for link, _ in unit.links)
    if not links:
        return f"{hides}; is not enabled" + (", nor will that be" if unit.packaged else "")
    return f"{hides}; {links} {'enables that then' if unit.packaged else 'is removed'}"


def _component_steps(
    server: Server, survey: Survey, component: Component, stamp: str
) -> Iterator[Step]:
    paths = server.paths
    tree = survey.tree(component.name)
    for database in survey.databases:
        if database.component == component.name:
            target = paths.state / component.name / database.name
            if any(target.with_name(target.name + end).exists() for end in ("", *SIDE_FILES)):
                yield _aside(component, target, stamp, "is of an earlier installation; kept")
            rows = f"{len(database.rows)} tables, {sum(database.rows.values())} rows at present"
            if database.variable:
                rows += f"; {database.variable} says where it is, and is not carried over"
            yield Step(Kind.DATABASE, component.name, str(database.file), str(target), rows)
    if tree:
        for state in component.state:
            source = (tree.real / state.path).resolve()
            if not state.artifacts and source.is_dir():
                target = paths.state / component.name / PurePosixPath(state.path)
                why = "files that are no declared database, copied; those of the release are left"
                yield Step(Kind.FILES, component.name, str(source), str(target), why)
    for found in survey.settings:
        if found.component == component.name and found.files:
            target = paths.secret_file(component.name)
            why = f"0640 root:trading: {', '.join(found.values) or 'no variable'}"
            if more := found.files[1:]:
                why += f"; with what is in {', '.join(map(str, more))}"
            yield Step(Kind.SETTINGS, component.name, found.files[0], str(target), why)
    for folder in survey.folders:
        if folder.component == component.name:
            yield from _folder_steps(component, folder, tree, stamp)


def _folder_steps(
    component: Component, folder: Folder, tree: Tree | None, stamp: str
) -> Iterator[Step]:
    same_disk = device_of(folder.source) == device_of(folder.target) and not (
        folder.target.is_mount()
    )
    inside = tree is not None and folder.source.is_relative_to(tree.real)
    used = folder.target.is_dir() and any(folder.target.iterdir())
    if used and folder.target.samefile(folder.source):
        why = "is there already; its files get the owner trading"
        yield Step(Kind.MOVE, component.name, str(folder.source), str(folder.target), why)
        return
    if not folder.artifacts and not (same_disk and inside):
        return  # old log files are read where they are
    if used:
        yield _aside(component, folder.target, stamp, "is of an earlier installation; kept")
    if same_disk and inside:
        why = f"one rename, {folder.size / 1e6:.0f} MB; its files get the owner trading"
        yield Step(Kind.MOVE, component.name, str(folder.source), str(folder.target), why)
    else:
        why = f"is on another disk: copied, {folder.size / 1e6:.0f} MB"
        yield Step(Kind.FILES, component.name, str(folder.source), str(folder.target), why)


def _aside(component: Component, target: Path, stamp: str, why: str) -> Step:
    aside = f"{target}.before-adoption-{stamp}"
    return Step(Kind.ASIDE, component.name, str(target), aside, why)
