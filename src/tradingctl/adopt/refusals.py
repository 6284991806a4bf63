"""What forbids to take over an installation by hand, each with the command to type next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl.adopt.databases import Unfound
from tradingctl.adopt.processes import Running
from tradingctl.adopt.record import Kind, Step
from tradingctl.adopt.survey import Lost, Survey
from tradingctl.adopt.trees import Tree, device_of, free_bytes, size_of
from tradingctl.adopt.unitfiles import UnitFile
from tradingctl.backup.worker_mode import SAFE, VARIABLE, shown
from tradingctl.inventory import service
from tradingctl.order_safety import refusal
from tradingctl.paths import Paths

MARGIN = 64 << 20  # bytes that stay free on each file system
MEGA = 1_000_000


@dataclass(frozen=True)
class Refusal:
    """Why it cannot be begun, and what to type."""

    reason: str
    next_command: str


def find(survey: Survey, steps: Sequence[Step], paths: Paths, retry: str) -> Iterator[Refusal]:
    """Give everything that forbids to begin; ``retry`` tries it once more. Raises OSError."""
    if survey.absence:
        yield Refusal(
            f"what was installed by hand is not taken over here: {survey.absence}",
            f"boot the system, then: {retry}",
        )
    for unit in survey.denied:
        yield Refusal(
            f"policy-rc.d forbids to start {service(unit)}: nothing would follow what is stopped",
            f"mv /usr/sbin/policy-rc.d /usr/sbin/policy-rc.d.off && {retry}",
        )
    for path in survey.odd:
        yield Refusal(
            f"{path} is no directory, and a link of the packages belongs there",
            f"mv {path} {path}.by-hand && {retry}",
        )
    yield from _trees(survey, retry)
    yield from _units(survey, retry)
    for lost in survey.lost:
        if lost.fatal:
            yield Refusal(
                f"{lost.file} stays, and the packaged unit will not start, for no package has"
                f" {', '.join(lost.names)}",
                _without(lost, retry),
            )
    yield from _processes(survey, retry)
    for settings in survey.settings:
        if settings.disputed:
            names = ", ".join(settings.disputed)
            files = shlex.join(_unit_files(survey, settings.component))
            yield Refusal(
                f"the units of {settings.component} disagree about {names}, and the packaged ones"
                " share their settings",
                f"grep -n {settings.disputed[0]} {files}  # make them agree, then: {retry}",
            )
        for each in settings.undecided:
            files = shlex.join(_unit_files(survey, settings.component))
            yield Refusal(
                f"the units of {settings.component} have a specifier in {each}; what systemd makes"
                " of it would be lost",
                f"grep -n % {files}  # write out what it stands for, then: {retry}",
            )
    yield from _orders(survey, paths, retry)
    for unfound in survey.unfound:
        yield _unfound(survey, unfound, retry)
    for database in survey.databases:
        if database.damage:
            yield Refusal(
                f"{database.file} of {database.component} is damaged: {database.damage}",
                f"sqlite3 {database.file} 'PRAGMA integrity_check'",
            )
    yield from _there_already(survey, steps, paths, retry)
    yield from _space(steps, retry)


def _without(lost: Lost, retry: str) -> str:
    """Return what makes a drop-in go without a file that no package has."""
    if not lost.path:
        return f"sensible-editor {lost.file}  # change {lost.key}=, which names it; then: {retry}"
    # That line alone: another one that says the same path may need it, such as Environment=.
    path = re.sub(r"[\\.\[*^$,]", r"\\\g<0>", lost.path)
    program = rf"\,^ *{lost.key} *= *{path},s,/,-/,"
    return f"sed -i {shlex.quote(program)} {lost.file} && {retry}"


def _unfound(survey: Survey, database: Unfound, retry: str) -> Refusal:
    """Refuse to begin with an empty database what has one somewhere."""
    found = next(each for each in survey.settings if each.component == database.component)
    named = f"by {database.variable}, {database.reason}" if database.variable else database.reason
    where = database.variable or "WorkingDirectory"
    files = shlex.join(dict.fromkeys([*found.files, *_unit_files(survey, database.component)]))
    return Refusal(
        f"which file {database.name} of {database.component} is cannot be decided: {named}",
        f"grep -n {where} {files}  # make it name the database in use, then: {retry}",
    )


def _unit_files(survey: Survey, component: str) -> list[str]:
    """Return the unit files of a component, each with its drop-ins, which count as well."""
    units = survey.units_of(component)
    return [str(file) for unit in units for file in (unit.file, *unit.drop_ins)]


def _orders(survey: Survey, paths: Paths, retry: str) -> Iterator[Refusal]:
    """Refuse a worker that sends orders on a machine where the packaged one would not start."""
    for settings in survey.settings:
        component = survey.inventory.component(settings.component)
        sending = [service(unit.name) for unit in component.units if unit.sends_orders]
        if not sending:
            continue
        by_hand = settings.worker_mode
        mode, where = settings.packaged_mode(paths)
        known = {*(unit.name for unit in survey.units), *survey.masked}
        if new := [name for name in sending if name not in known and mode != SAFE]:
            names = " ".join(new)
            yield Refusal(
                f"{names} would start in the mode {shown(mode)} by {where}, and by hand there is no"
                " such unit: taking over must not begin to send orders",
                f"systemctl mask {names} && {retry}"
                f"  # and when it is to send them: systemctl unmask {names}",
            )
        if mode not in (SAFE, by_hand):
            yield Refusal(
                f"the worker of {component.name} has the mode {shown(by_hand)} by hand, and would"
                f" have {shown(mode)} by {where}: taking over must not begin to send orders",
                f"grep -n {VARIABLE} {where} {settings.where}  # make them agree, then: {retry}",
            )
        # Without the file traderunner-common, which asks what the machine is, is not configured.
        elif paths.environment.exists() and (refused := refusal(paths, mode, where)):
            yield Refusal(refused.reason, f"{refused.next_command}; then: {retry}")


def _trees(survey: Survey, retry: str) -> Iterator[Refusal]:
    for tree in survey.trees:
        if not tree.place.is_symlink() and (
            tree.place.is_mount() or tree.place.stat().st_dev != tree.place.parent.stat().st_dev
        ):
            yield Refusal(
                f"{tree.place} is a file system of its own and cannot be moved aside",
                f"findmnt {tree.place}  # mount it elsewhere and make {tree.place} a link to it",
            )
        if tree.aside.exists() or tree.aside.is_symlink():
            yield Refusal(
                f"{tree.aside} is in the way: {tree.place} would be moved there",
                f"mv {tree.aside} {tree.aside}.old && {retry}",
            )


def _units(survey: Survey, retry: str) -> Iterator[Refusal]:
    for unit in survey.units:
        tree = survey.tree(unit.component)
        if unit.packaged:
            yield from _elsewhere(unit, tree, retry)
        elif unit not in survey.given_way and _may_be_a_service(survey, unit):
            by = f", started by {', '.join(unit.state.triggered_by)}," * bool(
                unit.state.triggered_by
            )
            yield Refusal(
                f"{unit.file}{by} runs from the tree of {unit.component} by a name that no package"
                " has; whether it does what a packaged unit will do cannot be decided",
                f"systemctl disable --now {' '.join([*unit.state.triggered_by, unit.name])} &&"
                f" {retry}",
            )


def _may_be_a_service(survey: Survey, unit: UnitFile) -> bool:
    """Return whether a unit may be a second one of those that packages bring."""
    if not unit.started_by_itself:
        return False
    # What runs once comes and goes, and finds the paths that it uses.
    once = unit.content.last("Type") == "oneshot"
    known = {word for each in survey.given_way for word in each.programs}
    return not once or bool(unit.programs & known)


def _elsewhere(unit: UnitFile, tree: Tree | None, retry: str) -> Iterator[Refusal]:
    place = Path("/opt/trading", unit.component)
    if unit.runs_in(tree.names if tree else [place]):
        return
    folder = unit.folder or "a directory that it does not name"
    target = shlex.quote(str(unit.folder)) if unit.folder else "DIRECTORY"
    link = f"ln -s {target} {place} && {retry}"
    if tree is None:
        yield Refusal(
            f"{unit.file} runs in {folder}, and there is no {place}: where its data lies cannot be"
            " decided",
            link,
        )
    else:
        yield Refusal(
            f"{unit.file} runs in {folder}, not in {place}: which of the two is in use cannot be"
            " decided",
            f"mv {place} {place}.unused && {link}",
        )


def _processes(survey: Survey, retry: str) -> Iterator[Refusal]:
    services = {service(unit.name) for _, unit in survey.inventory.units()}
    services |= {unit.name for unit in survey.given_way}
    # Of these more was said already.
    services |= {unit.name for unit in survey.units if _may_be_a_service(survey, unit)}
    told = set()
    for port, holders in survey.holders.items():
        for holder in holders:
            if holder.unit not in services:
                told.add(holder.pid)
                yield Refusal(
                    f"port {port} is held by {holder}, which is no service of the stack",
                    _end(holder, port, retry),
                )
    for component, strays in survey.strays.items():
        for stray in strays:
            if stray.unit not in services and stray.pid not in told:
                told.add(stray.pid)
                yield Refusal(
                    f"{stray} runs from the tree of {component} and is no service of it: it would"
                    " go on, with the old data",
                    _end_for_now(stray, retry),
                )
    for opener in survey.openers:
        if opener.unit not in services and opener.pid not in told:
            yield Refusal(
                f"{opener} has a database open, and would go on with the old one",
                _end_for_now(opener, retry),
            )


def _end_for_now(running: Running, retry: str) -> str:
    if running.unit:
        return f"systemctl stop {running.unit} && {retry}  # and start it again afterwards"
    return f"ps -fp {running.pid}; kill {running.pid} && {retry}"


def _end(holder: Running, port: int, retry: str) -> str:
    if holder.unit:
        return f"systemctl disable --now {holder.unit} && {retry}"
    if holder.pid:
        return f"ps -fp {holder.pid}; kill {holder.pid} && {retry}"
    return f"ss -ltnp sport = :{port}"


def _there_already(
    survey: Survey, steps: Sequence[Step], paths: Paths, retry: str
) -> Iterator[Refusal]:
    """Refuse to copy what is the original: put aside, or given back, it would be neither."""
    told: set[Path] = set()
    for step in steps:
        source, target = Path(step.source), Path(step.target)
        if step.kind not in (Kind.DATABASE, Kind.FILES) or not _same(source, target):
            continue
        own = paths.state / step.component
        name = target.relative_to(own)
        tree = survey.tree(step.component)
        here = _link(tree.place, name) if tree else None
        link = here or _link(own, name) or source
        if link in told:
            continue
        told.add(link)
        if here:
            units = [unit.name for unit in survey.units_of(step.component) if unit.running]
            next_command = _brought_back(link, units, retry)
        elif link.is_symlink():
            next_command = f"rm {link} && {retry}"
        else:
            next_command = f"findmnt -T {link}; ls -ld {link}  # move it elsewhere, then: {retry}"
        leads = f", which leads to {link.resolve()}," if link.is_symlink() else ""
        yield Refusal(
            f"{link}{leads} is where the packaged services of {step.component} get their copy of"
            " the data, and cannot be both",
            next_command,
        )


def _brought_back(link: Path, units: Sequence[str], retry: str) -> str:
    """Return what brings what a link leads to into the tree; a database with what is beside it."""
    real = link.resolve()
    moved = f"{real} {link}" if real.is_dir() else f"{real}* {link.parent}/"
    words = [f"rm {link}", f"mv {moved}"]
    if units:
        names = " ".join(units)
        words = [f"systemctl stop {names}", *words, f"systemctl start {names}"]
    return " && ".join([*words, retry])


def _link(top: Path, name: Path) -> Path | None:
    """Return what is a link on the way from ``top`` to what is called ``name`` below it."""
    way = [top / name, *(top / each for each in name.parents)]
    return next((each for each in reversed(way) if each.is_symlink()), None)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _space(steps: Sequence[Step], retry: str) -> Iterator[Refusal]:
    """Compare what is copied with what is free, file system by file system."""
    wanted: dict[int, list[tuple[Path, int, str]]] = {}
    folders = {Path(step.source) for step in steps if step.kind is Kind.FILES}
    for step in steps:
        source, target = Path(step.source), Path(step.target)
        if step.kind is Kind.DATABASE:
            size = source.stat().st_size
            back = f"{step.source}, should it be given back"
            wanted.setdefault(device_of(source), []).append((source, size, back))
            # Within a directory that is copied it is counted there.
            size = 0 if folders & set(source.parents) else size
        elif step.kind is Kind.FILES:
            size = size_of(source)
        else:
            continue
        wanted.setdefault(device_of(target), []).append((target, size, step.source))
    for together in wanted.values():
        need = sum(size for _, size, _ in together) + MARGIN
        free = free_bytes(together[0][0])
        if free < need:
            parts = "; ".join(f"{size / MEGA:.0f} MB for {name}" for _, size, name in together)
            place = next(p for p in (together[0][0], *together[0][0].parents) if p.exists())
            yield Refusal(
                f"the file system of {place} has {free / MEGA:.0f} MB free and needs"
                f" {need / MEGA:.0f} MB: {parts}; {MARGIN / MEGA:.0f} MB stay free",
                f"df -h {place}; apt-get clean; then: {retry}",
            )
