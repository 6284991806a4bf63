"""Unit files of the administrator's: those that hide packaged units, and those that run a tree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tradingctl.inventory import Inventory, service
from tradingctl.paths import Paths
from tradingctl.systemd import UnitState

WANTS = (".wants", ".requires")


UNKNOWN = UnitState()


@dataclass(frozen=True)
class Content:
    """What a unit file and its drop-ins say, each key with its values in order."""

    values: tuple[tuple[str, str], ...]

    def all(self, key: str) -> list[str]:
        """Return every value of a key since it was last emptied."""
        found: list[str] = []
        for name, value in self.values:
            if name == key:
                found = [*found, value] if value else []
        return found

    def last(self, key: str) -> str:
        """Return the value of a key that counts, empty for none."""
        return (self.all(key) or [""])[-1]

    def environment(self) -> dict[str, str]:
        """Return the variables that ``Environment=`` sets."""
        found = {}
        for line in self.all("Environment"):
            for word in _words(line):
                name, equals, value = word.partition("=")
                if equals:
                    found[name] = value.replace("%%", "%")
        return found

    def specifiers(self) -> set[str]:
        """Return the names of variables whose values systemd makes of a ``%`` specifier."""
        lines = self.all("Environment")
        words = [word.partition("=") for line in lines for word in _words(line)]
        return {name for name, _, value in words if has_specifier(value)}

    def commands(self) -> list[list[str]]:
        """Return the words of the command lines that are the service."""
        return [_words(line.lstrip("@-:+!|")) for line in self.all("ExecStart")]


@dataclass(frozen=True)
class UnitFile:
    """A unit file in /etc/systemd/system.

    ``component`` is the one whose packaged unit it hides (``packaged``) or whose tree it runs.
    ``links`` are what enables it, with their targets. ``rests`` is whether the market's
    opening will start it.
    """

    name: str
    file: Path
    component: str
    packaged: bool
    content: Content
    drop_ins: tuple[Path, ...]
    links: tuple[tuple[Path, str], ...]
    state: UnitState = UNKNOWN
    rests: bool = False

    @property
    def running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state.active in ("active", "activating", "reloading", "deactivating")

    @property
    def enabled(self) -> bool:
        """Whether it starts at boot."""
        return bool(self.links)

    @property
    def folder(self) -> Path | None:
        """The directory that it runs in, None when it does not say so."""
        folder = self.content.last("WorkingDirectory").lstrip("-")
        return Path(folder) if folder.startswith("/") else None

    @property
    def environment_files(self) -> list[str]:
        """The files of variables that systemd reads for it, which may be patterns."""
        return [each.lstrip("-") for each in self.content.all("EnvironmentFile")]

    @property
    def started_by_itself(self) -> bool:
        """Whether it runs, or will without anybody's doing: at boot, by a timer, by a socket."""
        return self.running or self.enabled or bool(self.state.triggered_by)

    @property
    def programs(self) -> set[str]:
        """The words by which one knows the program that it starts."""
        found = set()
        for words in self.content.commands():
            for before, word in zip(["", *words], words, strict=False):
                if before == "-m" or word.endswith(".py") or re.fullmatch(r"[\w.]+:\w+", word):
                    found.add(Path(word).name)
        return found

    def runs_in(self, trees: Collection[Path]) -> bool:
        """Return whether it runs in one of the trees, or a program of theirs."""
        if self.folder:
            real = self.folder.resolve()
            return any(each.is_relative_to(tree) for each in (self.folder, real) for tree in trees)
        commands = "\n".join(self.content.all("ExecStart"))
        return any(_mentions(commands, tree) for tree in trees)


def parse(*texts: str) -> Content:
    """Return what a unit file, followed by its drop-ins, says in [Unit], [Service], [Install]."""
    values = []
    for text in texts:
        whole = re.sub(r"\\\n", " ", text)
        for line in whole.splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";", "[")):
                values.append((name.strip(), value.strip()))
    return Content(tuple(values))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # systemd is more forgiving, and refuses the line
        return line.split()


def has_specifier(value: str) -> bool:
    """Return whether systemd puts something in the place of a part (systemd.unit(5))."""
    return "%" in value.replace("%%", "")


def is_mask(path: Path) -> bool:
    """Return whether a unit file says that the unit must not start."""
    return path.is_symlink() and str(path.readlink()) == "/dev/null"


def find(paths: Paths, inventory: Inventory, trees: Mapping[Path, str]) -> list[UnitFile]:
    """Return the unit files that hide packaged units or name one of the trees; no masks.

    ``trees`` are the paths of each, with its component.
    """
    # What brings units alone has no tree that could be taken over.
    packaged = {
        service(unit.name): component.name
        for component, unit in inventory.units()
        if component.commit
    }
    found = []
    folder = paths.local_units
    for file in sorted(folder.glob("*.service")) if folder.is_dir() else ():
        if is_mask(file) or file.is_dir() or _is_alias(file):
            continue
        content, drop_ins = read(file, folder, file.name)
        component = packaged.get(file.name) or _component(content, trees)
        if component:
            links = tuple((link, str(link.readlink())) for link in enabling(folder, file.name))
            known = file.name in packaged
            found.append(UnitFile(file.name, file, component, known, content, drop_ins, links))
    return found


def read(file: Path, folder: Path, name: str) -> tuple[Content, tuple[Path, ...]]:
    """Return what a unit file says that is, or was, the unit ``name`` of ``folder``; its drop-ins.

    One that cannot be read says nothing.
    """
    drop_ins = _drop_ins(folder, name)
    return parse(_text(file), *map(_text, drop_ins)), drop_ins


def _is_alias(file: Path) -> bool:
    """Return whether a unit file is another name of one beside it."""
    return file.is_symlink() and file.resolve().parent == file.parent.resolve()


def masks(paths: Paths, inventory: Inventory) -> list[str]:
    """Return the packaged units that the administrator masked."""
    names = [service(unit.name) for _, unit in inventory.units()]
    masked = [name for name in names if is_mask(paths.local_units / name)]
    return [name for name in masked if not paths.adoption_mask(name).exists()]


def drop_ins_of(paths: Paths, inventory: Inventory) -> list[Path]:
    """Return the drop-ins of packaged units, which hold for whichever unit file is in force."""
    names = [service(unit.name) for _, unit in inventory.units()]
    return [each for name in names for each in _drop_ins(paths.local_units, name)]


def _drop_ins(folder: Path, name: str) -> tuple[Path, ...]:
    return tuple(sorted((folder / f"{name}.d").glob("*.conf")))


def enabling(folder: Path, name: str) -> list[Path]:
    """Return the links that enable a unit, also those that lead nowhere."""
    places = [each / name for each in sorted(folder.glob("*")) if each.name.endswith(WANTS)]
    return [link for link in places if link.is_symlink()]


def _component(content: Content, trees: Mapping[Path, str]) -> str:
    """Return the component whose tree a unit file names, empty for none."""
    text = "\n".join(value for _, value in content.values)
    return next((name for tree, name in trees.items() if _mentions(text, tree)), "")


def _mentions(text: str, tree: Path) -> bool:
    return bool(re.search(rf"{re.escape(str(tree))}(?![\w.-])", text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # a link to nothing
