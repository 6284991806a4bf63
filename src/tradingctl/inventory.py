"""What is installed: the descriptions that the packages brought, and what dpkg says of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tradingctl.description import (
    Component,
    DescriptionError,
    Stack,
    Unit,
    parse_component,
    parse_stack,
)
from tradingctl.errors import NothingInstalledError, ProgramFailedError, TradingError
from tradingctl.paths import Paths
from tradingctl.process import Runner

STACK = "traderunner-stack"

Described = TypeVar("Described", Component, Stack)


@dataclass(frozen=True)
class Inventory:
    """The installed components in the order in which they start, and the stack if there is one."""

    components: tuple[Component, ...]
    stack: Stack | None

    @property
    def release(self) -> str:
        """The release, as the stack has it, else the newest of the components."""
        if self.stack:
            return self.stack.release
        return max((component.release for component in self.components), key=_numbers)

    def units(self) -> Iterator[tuple[Component, Unit]]:
        """Give every unit with its component, in start order."""
        pairs = [(component, unit) for component in self.components for unit in component.units]
        yield from sorted(pairs, key=lambda pair: (pair[1].order, pair[1].name))

    def component(self, name: str) -> Component:
        """Return the component (or package) ``name``; raise TradingError when there is none."""
        for component in self.components:
            if name in (component.name, component.package):
                return component
        known = ", ".join(component.name for component in self.components)
        raise TradingError(
            f"no component {name!r} is installed; there are: {known}", "tradingctl status"
        )

    def select(self, names: Sequence[str]) -> list[tuple[Component, Unit]]:
        """Return the units meant by names of components, packages or units; all for no names."""
        pairs = list(self.units())
        for name in names:
            if not any(name in _names_of(*pair) for pair in pairs):
                known = ", ".join(sorted({pair[1].name for pair in pairs}))
                raise TradingError(
                    f"no component or unit {name!r}; there are: {known}", "tradingctl status"
                )
        return [
            pair for pair in pairs if not names or any(name in _names_of(*pair) for name in names)
        ]

    def unit(self, name: str) -> tuple[Component, Unit]:
        """Return the unit ``name`` with its component; raise TradingError when there is none."""
        for component, unit in self.units():
            if service(name) == service(unit.name):
                return component, unit
        known = ", ".join(unit.name for _, unit in self.units())
        raise TradingError(
            f"no unit {name!r} is installed; there are: {known}", "tradingctl status"
        )


def _names_of(component: Component, unit: Unit) -> tuple[str, ...]:
    return (component.name, component.package, unit.name, service(unit.name))


def service(name: str) -> str:
    """Return a unit's name as systemd has it."""
    return name if name.endswith((".service", ".timer")) else f"{name}.service"


def read_inventory(paths: Paths) -> Inventory:
    """Return what is installed.

    Raises NothingInstalledError, and TradingError naming the file and the key that is wrong.
    """
    _description_files(paths)
    return read_inventory_at(paths.components, paths.stack)


def read_inventory_at(components_folder: Path, stack_file: Path) -> Inventory:
    """Return what the descriptions in a folder and the stack's file say; raises TradingError."""
    files = sorted(components_folder.glob("*.json"))
    components = [_read(file, file.stem, parse_component) for file in files]
    stack = _read(stack_file, STACK, parse_stack) if stack_file.is_file() else None
    components.sort(key=lambda each: (min((u.order for u in each.units), default=0), each.name))
    return Inventory(tuple(components), stack)


def _read(file: Path, package: str, parse: Callable[[str, str], Described]) -> Described:
    try:
        return parse(_text(file), str(file))
    except DescriptionError as error:
        raise TradingError(
            f"bad description: {error}", f"apt-get install --reinstall {package}"
        ) from error


def read_inventory_of(paths: Paths, name: str) -> Inventory:
    """Return an inventory of the component alone that has the unit ``name``.

    What is wrong with the descriptions of others does not keep a service from starting. Raises as
    ``read_inventory`` does, if none of those that can be read has the unit.
    """
    for file in _description_files(paths):
        with contextlib.suppress(DescriptionError):
            component = parse_component(_text(file), str(file))
            if service(name) in [service(unit.name) for unit in component.units]:
                return Inventory((component,), None)
    return read_inventory(paths)


def _numbers(release: str) -> list[int]:
    # Text would put the tenth release of a day before the second.
    return [int(number) for number in re.findall("[0-9]+", release)]


def _description_files(paths: Paths) -> list[Path]:
    files = sorted(paths.components.glob("*.json")) if paths.components.is_dir() else []
    if not files:
        raise NothingInstalledError(
            f"no component is installed (no file in {paths.shown(paths.components)})",
            f"apt-get install {STACK}",
        )
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(f"{file}: {error}") from error


@dataclass(frozen=True)
class PackageState:
    """What dpkg says of a package: its three-letter state (dpkg-query(1)) and its version."""

    status: str
    version: str

    @property
    def unpacked(self) -> bool:
        """Whether its files are installed, configured or not."""
        return self.status[1:2] not in ("n", "c", "")

    @property
    def complete(self) -> bool:
        """Whether it is installed and configured, and no error is noted."""
        return self.status[1:] == "i "


def package_states(runner: Runner, packages: Sequence[str]) -> dict[str, PackageState]:
    """Return the state of each package that dpkg knows.

    Raises ProgramFailedError when dpkg-query cannot say anything.
    """
    wanted = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
    # Exit code 1 only says that one of the packages is unknown.
    outcome = runner.run(["dpkg-query", "-W", "-f", wanted, *packages])
    if outcome.code > 1:
        raise ProgramFailedError(f"dpkg-query says: {outcome.said}", "dpkg --audit")
    states = {}
    for line in outcome.output.splitlines():
        package, status, version = line.split("\t")
        states[package] = PackageState(status, version)
    return states


def installed_versions(runner: Runner, packages: Sequence[str]) -> dict[str, str]:
    """Return the version of each package whose files are installed; raises as above."""
    states = package_states(runner, packages)
    return {name: state.version for name, state in states.items() if state.unpacked}
