"""What was taken over, step by step: written down before each step, kept for the way back.

``/var/lib/trading/adoption/record.json`` holds one entry for each time that something was taken
over; usually there is one. All steps of an entry are there before the first is done, so that it can
be gone on with, or reversed, wherever it was cut short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tradingctl.errors import AdoptionError
from tradingctl.files import sync_directory, write_whole
from tradingctl.paths import Paths
from tradingctl.server import Server

SCHEMA = 1


class State(StrEnum):
    """How far an adoption is."""

    ADOPTING = "adopting"
    """Steps are being done; cut short, it is gone on with or reversed."""
    ADOPTED = "adopted"
    """Every step is done; whether the packaged services are good is not known yet."""
    KEPT = "kept"
    """The packaged services were verified, or the administrator did not want that."""
    REVERSING = "reversing"
    """It is given back because it, or the installation, failed."""
    REVERSED = "reversed"
    """It was given back after a failure."""
    UNDOING = "undoing"
    """It is given back because the administrator wants it."""
    UNDONE = "undone"
    """It was given back; packages leave it alone until the administrator says otherwise."""


UNDER_WAY = (State.ADOPTING, State.REVERSING, State.UNDOING)
IN_FORCE = (State.ADOPTED, State.KEPT)


class Kind(StrEnum):
    """What a step does; the order is the one in which it is done."""

    STOP = "stop"
    UNIT = "unit"
    CRONTAB = "crontab"
    TREE = "tree"
    ASIDE = "aside"
    DATABASE = "database"
    FILES = "files"
    SETTINGS = "settings"
    MOVE = "move"
    GROUP = "group"
    LINK = "link"


@dataclass(frozen=True)
class Step:
    """One step: of which component, from where to where, and why. ``note`` is what it found."""

    kind: Kind
    component: str
    source: str
    target: str
    reason: str
    done: bool = False
    note: str = ""


@dataclass(frozen=True)
class OldUnit:
    """A unit of the administrator's as it was: ``links`` are what enabled it, with their targets.

    ``mode``, ``owner`` and ``group`` are those of its file.
    """

    name: str
    component: str
    file: str
    active: bool
    enabled: bool
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Adoption:
    """One time that something was taken over.

    ``release`` is the one whose packages did it, ``check`` the check that it failed. ``stamp``
    distinguishes what is moved aside. ``masked`` are packaged units that must not start while the
    installation by hand is in service, because that runs the same program by another name.
    ``transaction`` is when the installation began in which it happened, empty for none;
    ``dpkg_run`` distinguishes the run of dpkg.
    """

    state: State
    release: str
    components: tuple[str, ...]
    by: str
    began_at: str
    stamp: str
    units: tuple[OldUnit, ...] = ()
    steps: tuple[Step, ...] = ()
    check: str = ""
    detail: str = ""
    masked: tuple[str, ...] = ()
    transaction: str = ""
    dpkg_run: str = ""

    def of(self, kind: Kind) -> Iterator[Step]:
        """Give the steps of one kind."""
        return (step for step in self.steps if step.kind is kind)


def read(paths: Paths) -> tuple[Adoption, ...]:
    """Return everything that was taken over, oldest first; raises AdoptionError."""
    path = paths.adoption_record
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        return tuple(_adoption(each) for each in data["adoptions"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AdoptionError(
            f"{path}: cannot be read: {error}; nothing was changed",
            f"mv {path} {path}.broken && dpkg --configure -a  # the trees are in"
            f" {paths.base}/adopted, the units in {paths.adoption}/units",
        ) from error


def _adoption(data: dict[str, Any]) -> Adoption:
    return Adoption(
        **{
            **data,
            "state": State(data["state"]),
            "components": tuple(data["components"]),
            "masked": tuple(data["masked"]),
            "units": tuple(OldUnit(**each) for each in data["units"]),
            "steps": tuple(Step(**{**each, "kind": Kind(each["kind"])}) for each in data["steps"]),
        }
    )


def current(paths: Paths) -> Adoption | None:
    """Return the adoption that is to be dealt with, None when there never was one.

    That is the one that is under way, or was cut short: when several are given back one after the
    other, it need not be the latest. Otherwise it is that. Raises AdoptionError.
    """
    known = list(reversed(read(paths)))
    return next((each for each in known if each.state in UNDER_WAY), next(iter(known), None))


def append(server: Server, adoption: Adoption) -> None:
    """Write down a new one; raises AdoptionError, OSError."""
    _write(server.paths, (*read(server.paths), adoption))


def save(server: Server, adoption: Adoption) -> Adoption:
    """Replace what is written of ``adoption``, known by its stamp, and return it."""
    others = read(server.paths)
    known = tuple(adoption if each.stamp == adoption.stamp else each for each in others)
    _write(server.paths, known)
    return adoption


def set_state(server: Server, adoption: Adoption, state: State, **changed: Any) -> Adoption:
    """Write down how far it is, and return it."""
    return save(server, replace(adoption, state=state, **changed))


def finished(
    server: Server, adoption: Adoption, step: Step, note: str = "", done: bool = True
) -> Adoption:
    """Write down that a step is done, or undone, and return the adoption."""
    steps = tuple(
        replace(step, done=done, note=note) if each == step else each for each in adoption.steps
    )
    return save(server, replace(adoption, steps=steps))


def _write(paths: Paths, adoptions: tuple[Adoption, ...]) -> None:
    made = not paths.adoption.is_dir()
    # Everybody may know what was taken over; what is kept in it is for root.
    paths.adoption.mkdir(mode=0o755, parents=True, exist_ok=True)
    if made:
        sync_directory(paths.state)
    data = {"schema": SCHEMA, "adoptions": [asdict(each) for each in adoptions]}
    # In ASCII: what is taken over may have a name that is not UTF-8.
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    write_whole(paths.adoption_record, text, 0o644)


def place_of(adoption: Adoption, path: Path) -> Path:
    """Return where something of a tree is now, which may have been moved aside."""
    for step in adoption.of(Kind.TREE):
        source, target = Path(step.source), Path(step.target)
        if path.is_relative_to(source) and target.exists():
            return target / path.relative_to(source)
    return path
