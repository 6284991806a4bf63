"""What there is of an installation by hand. Reads only, while everything goes on running."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import tradingctl
from tradingctl import systemd
from tradingctl.adopt import crontabs, databases, inforce, processes, trees, unitfiles
from tradingctl.adopt.crontabs import Line
from tradingctl.adopt.databases import OldDatabase, Unfound
from tradingctl.adopt.inforce import InForce
from tradingctl.adopt.processes import Running
from tradingctl.adopt.successor import Successor
from tradingctl.adopt.trees import Tree
from tradingctl.adopt.unitfiles import UnitFile
from tradingctl.backup.database import Database
from tradingctl.backup.replace import holder_pids
from tradingctl.description import Component
from tradingctl.inventory import Inventory, read_inventory, read_inventory_at, service
from tradingctl.market.resting import resting_units
from tradingctl.paths import Paths
from tradingctl.server import Server

OPEN_LOOKS = 15
OPEN_INTERVAL = 0.2  # seconds
MAY_BE_MISSING = ("EnvironmentFile", "ExecStartPre", "ExecStartPost")
"""What systemd goes on without when a ``-`` is before its path, and the unit is still the same."""


@dataclass(frozen=True)
class Folder:
    """A directory that the component writes: logs or artifacts, with what is in it in bytes."""

    component: str
    source: Path
    target: Path
    size: int
    artifacts: bool


@dataclass(frozen=True)
class Lost:
    """Files of a tree that a unit file or drop-in which stays names, and that no package has.

    ``fatal`` says that systemd does not start a packaged unit without them. ``key`` is what names
    them, ``path`` what is named there and could be named such that it may be missing, empty for
    none.
    """

    file: Path
    names: tuple[str, ...]
    fatal: bool
    key: str = ""
    path: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found.

    ``holders`` are the processes on each port, ``strays`` those that run from a tree, both by the
    component. ``openers`` are processes that keep a database open and are of no unit that gives
    way. ``staying`` are directories with data that no package writes. ``odd`` is what lies where a
    link of ours belongs and is no directory. ``absence`` is why no service can run here, empty when
    one can.
    """

    inventory: Inventory
    trees: tuple[Tree, ...] = ()
    units: tuple[UnitFile, ...] = ()
    masked: tuple[str, ...] = ()
    drop_ins: tuple[Path, ...] = ()
    databases: tuple[OldDatabase, ...] = ()
    unfound: tuple[Unfound, ...] = ()
    settings: tuple[InForce, ...] = ()
    folders: tuple[Folder, ...] = ()
    holders: Mapping[int, tuple[Running, ...]] = field(default_factory=dict)
    strays: Mapping[str, tuple[Running, ...]] = field(default_factory=dict)
    openers: tuple[Running, ...] = ()
    cron: tuple[Line, ...] = ()
    lost: tuple[Lost, ...] = ()
    staying: tuple[Path, ...] = ()
    denied: tuple[str, ...] = ()
    odd: tuple[Path, ...] = ()
    absence: str = ""

    @property
    def components(self) -> list[Component]:
        """The components of which something was laid out by hand, in start order."""
        names = {tree.component for tree in self.trees}
        names |= {unit.component for unit in self.units if unit.packaged}
        return [each for each in self.inventory.components if each.name in names]

    def tree(self, component: str) -> Tree | None:
        """Return the tree of a component."""
        return next((tree for tree in self.trees if tree.component == component), None)

    def units_of(self, component: str) -> list[UnitFile]:
        """Return the unit files of a component that give way, all of its when none does."""
        known = [unit for unit in self.units if unit.component == component]
        return [unit for unit in known if unit in self.given_way] or known

    @property
    def given_way(self) -> list[UnitFile]:
        """The units that packaged ones replace: of the same name, or holding the port of one."""
        holders = {holder.unit for found in self.holders.values() for holder in found}
        return [unit for unit in self.units if unit.packaged or unit.name in holders]


def survey(server: Server, inventory: Inventory, packages: Path | None = None) -> Survey:
    """Return what there is, of the components of ``inventory``.

    ``packages`` is the root of unpacked packages when these are not installed. Raises
    ProgramFailedError, OSError.
    """
    paths = server.paths
    found_trees = trees.find(server, inventory)
    names = {place: tree.component for tree in found_trees for place in tree.names}
    units = unitfiles.find(paths, inventory, names)
    absence = systemd.absence(server)
    if units and not absence:
        states = systemd.show(server.runner, [unit.name for unit in units])
        rest = {service(name) for name in resting_units(server)}
        units = [
            replace(unit, state=states[unit.name], rests=unit.enabled and unit.name in rest)
            for unit in units
        ]
    packaged_units, packaged_settings = paths.units, paths.default_settings
    if packages:
        packaged_settings = packages / "usr/share/trading/settings"
        places = [packages / each / "systemd/system" for each in ("lib", "usr/lib")]
        packaged_units = next((each for each in places if each.is_dir()), places[0])
    found = Survey(
        inventory,
        tuple(found_trees),
        tuple(units),
        tuple(unitfiles.masks(paths, inventory)),
        tuple(unitfiles.drop_ins_of(paths, inventory)),
        holders=_holders(paths, inventory),
        absence=absence,
        odd=tuple(trees.no_trees(server, inventory)),
    )
    settings: list[InForce] = []
    declared: list[OldDatabase | Unfound] = []
    folders: list[Folder] = []
    for component in found.components:
        tree = found.tree(component.name)
        fixed = inforce.packaged_environment(packaged_units, component)
        own = found.units_of(component.name)
        there = inforce.look(component, tree, own, fixed)
        there = replace(
            there,
            prepared=inforce.prepared(paths, component.name),
            defaults=inforce.defaults(component.name, paths.settings, packaged_settings),
        )
        settings.append(there)
        if tree:
            run_in = {unit.folder for unit in own if unit.folder}
            declared += databases.find(component, tree, run_in, there, fixed)
            folders += _folders(paths, component, tree)
    shipped = {
        each.name: packages / "usr/lib/trading" / each.name
        if packages
        else paths.shipped(each.name)
        for each in inventory.components
    }
    successors = [
        Successor(tree, inventory.component(tree.component), shipped[tree.component])
        for tree in found_trees
    ]
    moved = [unit.name for unit in units if not unit.packaged]
    old_databases = tuple(each for each in declared if isinstance(each, OldDatabase))
    return replace(
        found,
        settings=tuple(settings),
        databases=old_databases,
        openers=tuple(_openers(server, found, old_databases)),
        unfound=tuple(each for each in declared if isinstance(each, Unfound)),
        folders=tuple(folders),
        strays={
            tree.component: tuple(processes.from_tree(paths.proc, tree.real))
            for tree in found_trees
        },
        cron=tuple(crontabs.find(paths, inventory, units, moved, successors)),
        lost=tuple(_lost(found, successors)),
        staying=tuple(path for each in successors for path in each.written_elsewhere()),
        denied=tuple(
            unit.name for _, unit in inventory.units() if systemd.denied(server, unit.name)
        ),
    )


def _folders(paths: Paths, component: Component, tree: Tree) -> Iterator[Folder]:
    """Give the directories that move as a whole; what else is written is copied."""
    for state in component.state:
        source = tree.real / state.path
        if state.artifacts and source.is_dir():
            target = paths.state / component.name / state.path
            yield Folder(
                component.name, source.resolve(), target, trees.size_of(source.resolve()), True
            )
    for name in component.logs:
        source = tree.real / name
        if source.is_dir():
            target = paths.logs / component.name
            yield Folder(
                component.name, source.resolve(), target, trees.size_of(source.resolve()), False
            )


def _openers(
    server: Server, found: Survey, old_databases: Collection[OldDatabase]
) -> list[Running]:
    """Return who has a database open for long; a script that opens one for each row has not."""
    known = {unit.name for unit in found.given_way}
    live = [Database(each.component, each.name, each.file) for each in old_databases]

    def opened() -> set[str]:
        pids = holder_pids(server.paths, live)
        return {
            pid for pid in pids if processes.of_number(server.paths.proc, pid).unit not in known
        }

    still = opened()
    for _ in range(OPEN_LOOKS):
        if not still:
            break
        server.clock.sleep(OPEN_INTERVAL)
        still &= opened()
    return [processes.of_number(server.paths.proc, pid) for pid in sorted(still, key=int)]


def _lost(found: Survey, successors: Collection[Successor]) -> Iterator[Lost]:
    for file in found.drop_ins:
        said = unitfiles.parse(file.read_text(encoding="utf-8", errors="replace"))
        for key, value in said.values:
            if names := [name for each in successors for name in each.lost(value)]:
                fatal = key != "Environment" and not value.startswith("-")
                first = value.split()[0]
                known = key in MAY_BE_MISSING and any(each.lost(first) for each in successors)
                path = first if known and first.startswith("/") else ""
                yield Lost(file, tuple(names), fatal, key, path)
    for unit in found.units:
        if unit not in found.given_way:
            text = "\n".join(value for _, value in unit.content.values)
            if names := [
                name
                for each in successors
                for name in each.lost(text, unit.runs_in(each.tree.names))
            ]:
                yield Lost(unit.file, tuple(names), fatal=False)


def _holders(paths: Paths, inventory: Inventory) -> dict[int, tuple[Running, ...]]:
    ports = [unit.port for _, unit in inventory.units() if unit.port]
    found = {port: tuple(processes.on_port(paths.proc, port)) for port in ports}
    return {port: holders for port, holders in found.items() if holders}


def unpacked_packages() -> Path | None:
    """Return the root that the packages were unpacked into which this program came from.

    None when it is installed, or when no description lies beside it.
    """
    # usr/share/traderunner-common/tradingctl/__init__.py
    root = Path(tradingctl.__file__).resolve().parents[4]
    found = (root / "usr/share/trading/components").is_dir()
    return root if found and root != Path("/") else None


def inventory_of(server: Server, packages: Path | None) -> Inventory:
    """Return the installed components, or those of unpacked packages. Raises TradingError."""
    if packages is None:
        return read_inventory(server.paths)
    here = packages / "usr/share/trading"
    return read_inventory_at(here / "components", here / "stack.json")
