"""The settings in /etc/trading: each follows the release until the administrator edits it.

Packages ship the defaults below ``/usr/share/trading/settings``. ucf keeps the record of which
default a file was made from, so that an edited one is known; a file that was edited or deleted is
the administrator's, is never written to, and the release's new default is put beside it as
``NAME.ucf-dist``. Nothing is asked, whoever installs and however.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tradingctl.errors import ProgramFailedError, TradingError
from tradingctl.files import write_whole
from tradingctl.paths import Paths
from tradingctl.server import Server

BESIDE = ".ucf-dist"
# What ucf and dpkg leave beside a file when they were asked, or told to keep or to replace it.
NEW_DEFAULTS = (BESIDE, ".ucf-new", ".dpkg-dist", ".dpkg-new")
EARLIER_FILES = (".ucf-old", ".dpkg-old")

Action = Literal["follow", "record", "keep", "nothing"]


@dataclass(frozen=True)
class Step:
    """What is done about one file, and why.

    ``follow`` writes the default, ``record`` only tells ucf that the file is the default now,
    ``keep`` leaves the file to the administrator. ``owner`` is the package that ucf has recorded.
    """

    default: Path
    file: Path
    action: Action
    reason: str
    owner: str = ""


@dataclass(frozen=True)
class Difference:
    """A file of settings that is not the release's, what that is, and what to type."""

    file: str
    beside: str
    text: str
    next_command: str


def plan(server: Server, names: Sequence[str]) -> list[Step]:
    """Return what is to be done so that the settings ``names`` are in place; changes nothing.

    Raises TradingError if a default is missing, ProgramFailedError if ucf's record cannot be read.
    """
    return [_step(server, name) for name in names]


def apply(server: Server, package: str, steps: Sequence[Step]) -> None:
    """Do the steps and record ``package`` as the owner. Raises ProgramFailedError, OSError."""
    for step in steps:
        shown = server.paths.shown(step.file)
        if step.action == "follow":
            _write(step)
            server.warn(f"settings: {shown} follows the release: {step.reason}")
        if step.action != "nothing":
            _record(server, package, step)
        elif step.owner not in ("", package):
            _own(server, package, step)
        _clear(server, step)


def _step(server: Server, name: str) -> Step:
    paths = server.paths
    default, file = paths.default_setting(name), paths.setting(name)
    shown = paths.shown(file)
    if not default.is_file():
        raise TradingError(f"{paths.shown(default)} is missing", "dpkg -V")
    if file.is_symlink():
        return Step(default, file, "keep", f"{shown} is a link of the administrator's")
    owner, known, edited = _recorded(server, file)
    if not file.exists():
        if known:
            return Step(default, file, "nothing", f"the administrator deleted {shown}", owner)
        return Step(default, file, "follow", "it is new")
    if file.read_bytes() == default.read_bytes():
        same = "it is what the release brings"
        return Step(default, file, "nothing" if known and not edited else "record", same, owner)
    if known and not edited:
        return Step(default, file, "follow", "nobody edited it")
    return Step(default, file, "keep", f"{shown} is the administrator's")


def _recorded(server: Server, file: Path) -> tuple[str, bool, bool]:
    """Return whose ``file`` is, whether ucf knows it, and whether it is not as it was made."""
    command = ["ucfq", "--with-colons", server.paths.shown(file)]
    outcome = server.runner.run(command)
    fields = outcome.output.strip().split(":")
    if outcome.code or len(fields) != 4:
        raise ProgramFailedError(f"ucfq says: {outcome.said}", "apt-get install --reinstall ucf")
    _, package, _, modified = fields
    return package, bool(package or modified), modified == "Yes"


def _write(step: Step) -> None:
    # Not by ucf: it copies over the file, and what a power loss leaves of that it takes for edited.
    text = step.default.read_text(encoding="utf-8")
    if step.file.exists():
        status = step.file.stat()
        write_whole(step.file, text, status.st_mode & 0o7777, status.st_uid, status.st_gid)
    else:
        write_whole(step.file, text, 0o644)


def _record(server: Server, package: str, step: Step) -> None:
    """Tell ucf which default the file was made from; it puts the default beside one that is kept.

    ucf with UCF_FORCE_CONFFOLD keeps files that nobody edited too, and without it asks about
    edited ones: so it is told for each file.
    """
    shown = server.paths.shown(step.file)
    force = ["UCF_FORCE_CONFFOLD=1"] if step.action == "keep" else []
    command = ["env", "DEBIAN_FRONTEND=noninteractive", *force, "ucf", "--debconf-ok"]
    outcome = server.runner.run([*command, server.paths.shown(step.default), shown])
    if outcome.code:
        # Such as an ucf.conf that contradicts: the file itself is as it ought to be.
        server.warn(f"warning: ucf does not record {shown}: {outcome.said}")
    _own(server, package, step)


def _own(server: Server, package: str, step: Step) -> None:
    """Record whose the file is, also where another package had it until this release."""
    shown = server.paths.shown(step.file)
    outcome = server.runner.run(["ucfr", "--force", package, shown])
    if outcome.code:
        server.warn(f"warning: ucfr does not record {shown}: {outcome.said}")


def _clear(server: Server, step: Step) -> None:
    """Remove the default beside a file that is no different; say where it lies otherwise."""
    beside = step.file.with_name(step.file.name + BESIDE)
    if not beside.exists():
        return
    if step.file.exists() and step.file.read_bytes() == step.default.read_bytes():
        beside.unlink()
    elif step.action == "keep":
        server.warn(
            f"settings: {step.reason} and stays; the release's default lies in"
            f" {server.paths.shown(beside)}"
        )


def differences(paths: Paths) -> list[Difference]:
    """Return what lies beside the administrator's settings and differs, and what he deleted."""
    found = []
    if paths.settings.is_dir():
        for beside in sorted(paths.settings.iterdir()):
            for suffix in (*NEW_DEFAULTS, *EARLIER_FILES):
                if beside.name.endswith(suffix):
                    file = beside.with_name(beside.name.removesuffix(suffix))
                    found += _difference(paths, file, beside, suffix)
    if paths.default_settings.is_dir():
        for default in sorted(paths.default_settings.iterdir()):
            file = paths.setting(default.name)
            if not file.exists():
                shown, origin = paths.shown(file), paths.shown(default)
                text = f"{shown} does not exist; the release's default is {origin}"
                found.append(Difference(shown, origin, text, f"cp {origin} {shown}"))
    return found


def _difference(paths: Paths, file: Path, beside: Path, suffix: str) -> list[Difference]:
    with contextlib.suppress(OSError):
        if file.read_bytes() == beside.read_bytes():
            return []
    if not file.exists():
        return []
    shown, other = paths.shown(file), paths.shown(beside)
    if suffix in NEW_DEFAULTS:
        text = f"{shown} is the administrator's; the release's new default lies in {beside.name}"
    else:
        text = f"{shown} was replaced; the administrator's earlier one lies in {beside.name}"
    # What ends the note.
    text += ", to be removed when merged"
    return [Difference(shown, other, text, f"diff -u {shown} {other}")]
