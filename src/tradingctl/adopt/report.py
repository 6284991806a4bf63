"""What was found and what is going to be done, for people. Names of variables, never values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tradingctl.adopt.plan import Plan
from tradingctl.adopt.record import UNDER_WAY, Adoption, Kind
from tradingctl.adopt.survey import Survey
from tradingctl.adopt.trees import free_bytes, owner_of
from tradingctl.backup.worker_mode import SAFE, shown
from tradingctl.paths import Paths

WORDS = {
    Kind.STOP: "stop",
    Kind.UNIT: "move",
    Kind.CRONTAB: "edit",
    Kind.ASIDE: "move",
    Kind.DATABASE: "copy",
    Kind.FILES: "copy",
    Kind.SETTINGS: "copy",
    Kind.MOVE: "move",
    Kind.GROUP: "add",
    Kind.TREE: "move",
    Kind.LINK: "link",
}


def plan_text(paths: Paths, plan: Plan) -> str:
    """Return the plan with everything that it rests on."""
    lines = ["FOUND", *(f"  {line}" for line in _found(paths, plan.survey))]
    lines += ["", "TO BE DONE, in this order"]
    for step in plan.adoption.steps:
        lines.append(f"  {WORDS[step.kind]:<5} {step.source}")
        target = f"-> {step.target}, " if step.target else ""
        lines.append(f"          {target}{step.reason}")
    notes = list(_notes(paths, plan))
    lines += ["", "TO KNOW, nothing is done about it", *(f"  {line}" for line in notes)]
    if plan.refusals:
        lines += ["", "IN THE WAY, so nothing is done at all"]
        for refusal in plan.refusals:
            lines += [f"  {refusal.reason}", f"    next: {refusal.next_command}"]
    return "\n".join(lines)


def _found(paths: Paths, survey: Survey) -> Iterator[str]:
    for tree in survey.trees:
        place = f"{tree.place} -> {tree.real}" if tree.place != tree.real else str(tree.place)
        yield f"tree {place}, of {tree.owner}: {tree.code}"
    for unit in survey.units:
        state = f"{unit.state.active}, {'enabled' if unit.enabled else 'not enabled'}"
        account = unit.content.last("User") or "root"
        yield f"unit {unit.file}: {state}, as {account}"
    for database in survey.databases:
        counted = ", ".join(f"{name} {rows}" for name, rows in database.rows.items())
        state = f"DAMAGED: {database.damage}" if database.damage else f"intact, rows: {counted}"
        yield f"database {database.file}, {database.size / 1e6:.1f} MB: {state}"
    for settings in survey.settings:
        for file in settings.files:
            mode = Path(file).stat().st_mode & 0o777
            yield f"settings {file}, {mode:04o} {owner_of(Path(file))}"
        if settings.values:
            yield f"  variables: {', '.join(settings.values)}"
    for folder in survey.folders:
        what = "artifacts" if folder.artifacts else "logs"
        yield f"{what} {folder.source}, {folder.size / 1e6:.1f} MB"
    for port, holders in survey.holders.items():
        yield f"port {port}: {', '.join(map(str, holders))}"
    for directory in (paths.base, paths.state, paths.logs):
        yield f"free at {directory}: {free_bytes(directory) / 1e6:.0f} MB"


def _notes(paths: Paths, plan: Plan) -> Iterator[str]:
    survey = plan.survey
    for settings in survey.settings:
        own = f"/etc/trading/{settings.component}.env"
        if names := sorted(settings.values.keys() & settings.defaults):
            yield f"of {own} these are overridden by what is taken over: {', '.join(names)}"
        known = {*settings.values, *(settings.all or {}), *settings.prepared}
        if names := sorted(settings.defaults - known):
            yield (
                f"of {own} these are new, for by hand nothing sets them: {', '.join(names)}; where"
                " the application has another default, that was in force"
            )
        if names := sorted(settings.prepared):
            secret_file = paths.secret_file(settings.component)
            yield (
                f"{secret_file} is there already, and counts more than what is taken over:"
                f" {', '.join(names)}"
            )
        component = survey.inventory.component(settings.component)
        if any(unit.sends_orders for unit in component.units):
            mode, where = settings.packaged_mode(paths)
            if mode == settings.worker_mode:
                yield f"the worker's mode stays {shown(mode)}"
            else:
                old = shown(settings.worker_mode)
                yield f"the worker's mode becomes {shown(mode)}, by {where}; by hand it is {old}"
            if mode != SAFE and not paths.environment.exists():
                yield (
                    "that mode is for production: unless .env has TRADING_ENVIRONMENT=production,"
                    " say so before the installation: echo 'traderunner-common"
                    " traderunner-common/environment select production' | debconf-set-selections"
                )
        if settings.fixed:
            names = sorted(settings.fixed)
            yield (
                f"not carried over, for the packaged units of {settings.component} set them"
                f" themselves: {', '.join(names)}"
            )
        if settings.left:
            yield f"not carried over, of the old units alone: {', '.join(settings.left)}"
        yield from settings.notes
    moved = {step.source for step in plan.adoption.steps}
    for folder in survey.folders:
        if str(folder.source) not in moved:
            yield f"{folder.source} stays with the tree: the packaged services begin a new one"
    for unit in survey.masked:
        yield f"{unit} is masked by the administrator, and stays so"
    for file in survey.drop_ins:
        yield f"drop-in {file} is kept, and holds for the packaged unit too"
    for unit_file in survey.units:
        name = unit_file.name
        if unit_file.packaged and not unit_file.running:
            rests = f"{name} rests until the market opens, and so does the packaged one"
            start = f"the packaged one is not started: systemctl start {name}"
            yield rests if unit_file.rests else f"{name} does not run, so {start}"
        if unit_file.packaged and not unit_file.enabled:
            yield f"{name} is not enabled, so the packaged one is not either"
        if not unit_file.packaged:
            yield f"{unit_file.file} names the tree of {unit_file.component}"
    for path in survey.staying:
        yield f"{path} stays with the tree: the packaged services do not write it"
    for lost in survey.lost:
        yield f"{lost.file} names what no package has: {', '.join(lost.names)}"
    for line in survey.cron:
        yield f"{line.file}:{line.number}: {line.reason}" + "; put out of use" * line.disable
    for tree in survey.trees:
        yield (
            f"the code of {tree.component} will be the package's; what was changed by hand is only"
            f" in {tree.aside}. Data below {tree.place} is then of trading:trading: whoever"
            " reads or writes it has to be root or in the group"
        )


def undo_text(adoption: Adoption, resting: Collection[str], notes: Iterable[str]) -> str:
    """Return what an undo is going to do, and ``notes``, what there is to know about it.

    Units that are ``resting`` are started when the market opens.
    """
    names = [unit.name for unit in adoption.units if unit.active and unit.name not in resting]
    lines = [*_undo_lines(adoption), f"start {', '.join(names) or 'nothing'}"]
    lines += [f"note  {each} rests until the market opens, and is started then" for each in resting]
    lines += [f"note  {each}" for each in notes]
    what = "UNDONE, what was taken over"
    if adoption.state in UNDER_WAY:
        what = f"PUT BACK, what is under way or was cut short ({adoption.state}), begun"
    heading = f"TO BE {what} on {adoption.began_at} by {adoption.by}"
    return "\n".join([heading, *(f"  {line}" for line in lines)])


def _undo_lines(adoption: Adoption) -> Iterator[str]:
    if adoption.state in UNDER_WAY:
        yield "everything that was done of it is reversed"
        return
    yield f"stop  the packaged units of {', '.join(adoption.components)}"
    for step in reversed(adoption.steps):
        if step.kind in (Kind.UNIT, Kind.TREE, Kind.MOVE):
            yield f"move  {step.target} -> {step.source}"
        elif step.kind is Kind.LINK:
            yield f"remove {step.source}, the link; the package's code stays"
        elif step.kind is Kind.DATABASE:
            yield f"copy  {step.target} -> {step.source}"
            yield "        with what was written since; the old one is kept beside it"
        elif step.kind is Kind.FILES:
            yield f"copy  {step.target} -> {step.source}, what was changed since"
        elif step.kind is Kind.SETTINGS:
            yield f"move  {step.target} aside; the old settings are used again"
        elif step.kind is Kind.CRONTAB:
            yield f"edit  {step.source.rpartition(':')[0]}, its lines are used again"
        elif step.kind is Kind.GROUP:
            yield f"remove {step.source} from group {step.target}"
