"""The settings that a hand-made component runs with, from wherever they come.

They end up in ``/etc/trading/secrets/<component>.env``, which the packaged units read last. Values
are secrets: nothing here prints one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from tradingctl.adopt import envfile
from tradingctl.adopt.trees import Tree
from tradingctl.adopt.unitfiles import UnitFile, has_specifier, parse
from tradingctl.backup import worker_mode
from tradingctl.backup.worker_mode import SAFE, VARIABLE
from tradingctl.description import Component
from tradingctl.inventory import service
from tradingctl.paths import Paths

# What is of the program that the unit starts, not of the application.
OF_THE_UNIT = re.compile(r"PATH|HOME|USER|LOGNAME|SHELL|VIRTUAL_ENV|PYTHON\w*|LD_\w+")


@dataclass(frozen=True)
class InForce:
    """The settings of one component.

    ``values`` are to be carried over. ``files`` are those that they come from, unit files among
    them. ``fixed`` are the names of those that the packaged unit sets itself to something else,
    ``left`` of those that were of the old unit, ``disputed`` of those on which two units disagree,
    ``disputed_fixed`` of those among them that the packaged unit sets itself. ``undecided`` are
    variables and files that systemd makes of a specifier such as ``%h``. ``notes`` say what else
    there is to know, without a value. ``all`` is what the processes see.
    ``prepared`` is what the component's secret file has already, which counts more.
    ``defaults`` are the names that the package's own file of settings has.
    """

    component: str
    values: Mapping[str, str]
    files: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()
    disputed_fixed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    all: Mapping[str, str] | None = None
    prepared: Mapping[str, str] = field(default_factory=dict)
    defaults: Set[str] = frozenset()

    @property
    def worker_mode(self) -> str:
        """The mode that the worker has by hand, which sends no orders when it is not set."""
        return self.values.get(VARIABLE) or SAFE

    def packaged_mode(self, paths: Paths) -> tuple[str, str]:
        """Return the mode that the packaged worker is going to have, and the files that say so."""
        secret_file = str(paths.secret_file(self.component))
        for variables, where in ((self.prepared, secret_file), (self.values, self.where)):
            if VARIABLE in variables:
                return variables[VARIABLE] or SAFE, where
        folders = (paths.settings, paths.default_settings)
        mode, name = worker_mode.written(self.component, *folders)
        return mode, str(paths.settings / name) if name else ""

    @property
    def where(self) -> str:
        """The files that the settings come from, as words of a command."""
        return " ".join(self.files)


def packaged_environment(folder: Path, component: Component) -> dict[str, str]:
    """Return the variables that the packaged units set; ``folder`` is where those lie."""
    found: dict[str, str] = {}
    for unit in component.units:
        file = folder / service(unit.name)
        if file.is_file():
            found |= parse(file.read_text(encoding="utf-8")).environment()
    return found


def prepared(paths: Paths, component: str) -> dict[str, str]:
    """Return what a component's secret file has before anything is taken over."""
    file = paths.secret_file(component)
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return envfile.systemd(text)


def defaults(component: str, *folders: Path) -> set[str]:
    """Return the variables in a component's file of settings, from the first folder that has it."""
    return set(envfile.systemd(worker_mode.text_of(f"{component}.env", folders)))


def look(
    component: Component, tree: Tree | None, units: Sequence[UnitFile], fixed: Mapping[str, str]
) -> InForce:
    """Return what a component runs with. ``fixed`` is what the packaged units set themselves."""
    notes: list[str] = []
    files: dict[str, None] = {}
    merged: dict[str, str] = {}
    disputed: dict[str, None] = {}
    undecided: set[str] = set()
    for unit in units or (None,):
        if unit is not None:
            undecided |= unit.content.specifiers()
            undecided |= {each for each in unit.environment_files if has_specifier(each)}
        for name, value in _of_unit(tree, unit, files, notes).items():
            if merged.setdefault(name, value) != value:
                disputed[name] = None
    own = {name for name in merged if OF_THE_UNIT.fullmatch(name)}
    other = {name for name in merged if name in fixed and merged[name] != fixed[name]}
    kept = {
        name: value
        for name, value in merged.items()
        if name not in own and name not in fixed and "\0" not in value
    }
    return InForce(
        component=component.name,
        values=kept,
        files=tuple(files),
        fixed=tuple(sorted(other - own)),
        left=tuple(sorted(own - fixed.keys())),
        disputed=tuple(sorted(disputed.keys() & kept.keys())),
        disputed_fixed=tuple(sorted(disputed.keys() & fixed.keys())),
        undecided=tuple(sorted(undecided - own)),
        notes=tuple(dict.fromkeys(notes)),
        all=merged,
    )


def _of_unit(
    tree: Tree | None, unit: UnitFile | None, files: dict[str, None], notes: list[str]
) -> dict[str, str]:
    """Return what the processes of one unit see: the last of these that names it counts."""
    own = tree.real / ".env" if tree else None
    named = list(_named(tree, unit)) if unit else []
    by_systemd = own is not None and any(_same(each, own) for each in named)
    found: dict[str, str] = {}
    if own is not None and own.is_file() and not by_systemd:
        # Read by the application, for which what is in its environment already counts more.
        text = _text(own, files, notes)
        found |= envfile.dotenv(text)
        if "${" in text:
            notes.append(f"{own}: what ${{...}} stands for is written out")
    if unit is None:
        return found
    own_variables = unit.content.environment()
    if any(not OF_THE_UNIT.fullmatch(name) for name in own_variables):
        files[str(unit.file)] = None
    found |= own_variables
    for file in named:
        if file.is_file():
            text = _text(file, files, notes)
            read = envfile.systemd(text)
            found |= read
            if odd := sorted(_differing(read, envfile.dotenv(text))):
                notes.append(
                    f"{file}: {', '.join(odd)}: systemd, which reads it for {unit.name}, takes it"
                    " otherwise than python-dotenv would; what systemd takes is kept"
                )
        else:
            notes.append(f"{file}, which {unit.name} reads, is no file")
    return found


def _named(tree: Tree | None, unit: UnitFile) -> Iterator[Path]:
    """Give the files that systemd reads for a unit; patterns stand for what there is of them."""
    for each in unit.environment_files:
        path = tree.place_of(Path(each)) if tree else Path(each)
        if re.search(r"[*?[]", each):
            yield from sorted(Path("/").glob(str(path).lstrip("/")))
        else:
            yield path


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _text(file: Path, files: dict[str, None], notes: list[str]) -> str:
    files[str(file)] = None
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{file} is not UTF-8; what is not is kept as it can be")
        return raw.decode("utf-8", "replace")


def text_of(found: InForce) -> str:
    """Return the secret file's text."""
    lines = [
        f"# Secrets and local overrides of {found.component}. Read after"
        f" /etc/trading/{found.component}.env.",
        "# Taken over from the installation by hand:",
        *(f"#   {each}" for each in found.files),
    ]
    lines += [envfile.assignment(name, value) for name, value in found.values.items()]
    return "\n".join(lines) + "\n"


def and_earlier(earlier: str) -> str:
    """Return what follows it when the administrator has prepared the file: that counts more."""
    text = "\n".join(line for line in earlier.splitlines() if line.strip())
    return f"# What was here before, and counts more:\n{text}\n" if text else ""
