"""The settings that come into force again with an installation by hand, and what they do.

They are read from the trees and unit files put aside, as systemd and the applications will. Names
of variables are told, and the worker's mode; never another value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl import systemd
from tradingctl.adopt import envfile, inforce, unitfiles
from tradingctl.adopt.record import Adoption, Kind, OldUnit, place_of
from tradingctl.adopt.trees import Tree
from tradingctl.adopt.unitfiles import Content, UnitFile
from tradingctl.backup import worker_mode
from tradingctl.backup.worker_mode import SAFE, VARIABLE
from tradingctl.description import Component
from tradingctl.inventory import Inventory, service
from tradingctl.order_safety import running_mode
from tradingctl.server import Server


@dataclass(frozen=True)
class Sender:
    """A unit that will run in a mode in which it sends orders.

    ``mode`` is fit to be shown. ``now`` is the mode in which the packaged one runs: None if it does
    not run, or there is none, empty if that cannot be known.
    """

    unit: str
    mode: str
    now: str | None

    @property
    def as_now(self) -> bool:
        """Whether it does what the packaged one does at this moment."""
        return self.mode == self.now

    def __str__(self) -> str:
        now = f"; the packaged one runs with {self.now} now"
        if self.as_now:
            now = ", as now"
        elif self.now is None:
            now = "; nothing sends orders now"
        elif not self.now:
            now = "; in which mode the packaged one runs now cannot be known"
        return f"{self.unit} SENDS ORDERS: it starts with {VARIABLE}={self.mode}{now}"


def senders(server: Server, inventory: Inventory, adoption: Adoption) -> list[Sender]:
    """Return the units that are started, now or at boot, and will send orders. Raises OSError."""
    found = []
    for old in adoption.units:
        packaged = _sending(inventory, adoption, old)
        if packaged is not None and (old.active or old.enabled):
            values = _in_force(server, inventory, adoption, old.component, [old]).all or {}
            mode = values.get(VARIABLE, "")
            if mode not in ("", SAFE):
                now = _mode_now(server, packaged)
                found.append(Sender(old.name, worker_mode.shown(mode), now))
    return found


def _sending(inventory: Inventory, adoption: Adoption, old: OldUnit) -> str | None:
    """Return the packaged unit that sends what ``old`` may send, None where it sends nothing.

    One with a name of its own may be the worker where nothing has the worker's name.
    """
    units = {service(unit.name): (component, unit) for component, unit in inventory.units()}
    if old.name in units:
        return old.name if units[old.name][1].sends_orders else None
    own = [
        name
        for name, (component, unit) in units.items()
        if unit.sends_orders and component.name == old.component
    ]
    if any(each.name in own for each in adoption.units):
        return None
    return next(iter(own), old.name)  # of a package that was removed nothing is known


def _mode_now(server: Server, name: str) -> str | None:
    if not (server.paths.units / name).exists() or systemd.absence(server):
        return None
    state = systemd.show(server.runner, [name])[name]
    if state.active != "active":
        return None
    # Of the process: a file may have been edited since it was started.
    mode = running_mode(server, state)
    return mode if worker_mode.WORD.fullmatch(mode) else ""


def notes(server: Server, inventory: Inventory, adoption: Adoption) -> Iterator[str]:
    """Give what there is to know before it is given back. Raises OSError."""
    for sender in senders(server, inventory, adoption):
        yield str(sender)
    for name in adoption.components:
        own = [unit for unit in adoption.units if unit.component == name]
        before = _in_force(server, inventory, adoption, name, own).values
        file = server.paths.secret_file(name)
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        now = envfile.systemd(text)
        odd = sorted(each for each in {*before, *now} if before.get(each) != now.get(each))
        if odd:
            names = ", ".join(odd)
            yield f"of {name} these are again as they were by hand, and differ now: {names}"


def _in_force(
    server: Server,
    inventory: Inventory,
    adoption: Adoption,
    name: str,
    units: Sequence[OldUnit],
) -> inforce.InForce:
    """Return what units of a component, or its application, will run with."""
    # One whose package was removed since has no units of its own.
    removed = Component(name, name, version="", release="", repository="", commit="")
    component = next((each for each in inventory.components if each.name == name), removed)
    fixed = inforce.packaged_environment(server.paths.units, component)
    places = [Path(step.source) for step in adoption.of(Kind.TREE) if step.component == name]
    trees = [Tree(name, each, place_of(adoption, each).resolve(), "", "") for each in places]
    files = [_unit_file(server, adoption, unit) for unit in units]
    return inforce.look(component, trees[0] if trees else None, files, fixed)


def _unit_file(server: Server, adoption: Adoption, old: OldUnit) -> UnitFile:
    kept = [Path(step.target) for step in adoption.of(Kind.UNIT) if step.source == old.file]
    file = next((each for each in kept if os.path.lexists(each)), Path(old.file))
    there, drop_ins = unitfiles.read(file, server.paths.local_units, old.name)
    content = Content(tuple((key, _placed(adoption, key, value)) for key, value in there.values))
    return UnitFile(old.name, file, old.component, True, content, drop_ins, ())


def _placed(adoption: Adoption, key: str, value: str) -> str:
    """Return a value such that a file of variables is named by where it lies now."""
    if key != "EnvironmentFile" or not value:  # without a value it forgets those before
        return value
    path = Path(value.lstrip("-"))
    for step in adoption.of(Kind.TREE):
        # The directory above may be a link; the record has where it leads.
        known = Path("/opt/trading", step.component)
        if path.is_relative_to(known):
            path = Path(step.source) / path.relative_to(known)
    return str(place_of(adoption, path))
