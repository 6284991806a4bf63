"""Secrets where every user of the server sees them: in unit files and in arguments of processes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.doctor.holdings import SECRET_NAME, Holding
from tradingctl.inventory import Inventory
from tradingctl.server import Server

OPTION = re.compile(r"--?([A-Za-z][\w-]*)(?:[= ]+)(?![-$%/])\S+")
PROGRAM_LINE = re.compile(r"Exec[A-Z]\w*$")


def exposure_complaints(
    server: Server, inventory: Inventory, looked_for: Mapping[str, Holding]
) -> Iterator[Complaint]:
    """Give the unit files and processes that show a secret; ``looked_for`` has them by value."""
    for file, unit in _unit_files(server, inventory):
        yield from _in_unit(server, inventory, file, unit, looked_for)
    yield from _in_processes(server, looked_for)


def _unit_files(server: Server, inventory: Inventory) -> Iterator[tuple[Path, str]]:
    """Give the administrator's unit files and drop-ins that are about the services, with names."""
    ours = {unit.name.removesuffix(".service") for _, unit in inventory.units()}
    for folder in server.paths.unit_overrides:
        if folder.is_dir():
            for file in sorted([*folder.glob("*.service"), *folder.glob("*.service.d/*.conf")]):
                unit = file.parent.name[: -len(".d")] if file.suffix == ".conf" else file.name
                if not file.is_file() or file.is_symlink():
                    continue
                about = str(server.paths.shown(server.paths.base)) in _text(file)
                if unit.removesuffix(".service") in ours or about:
                    yield file, unit


def _in_unit(
    server: Server,
    inventory: Inventory,
    file: Path,
    unit: str,
    looked_for: Mapping[str, Holding],
) -> Iterator[Complaint]:
    for line in _text(file).replace("\\\n", " ").splitlines():
        key, _, value = line.strip().partition("=")
        found = []
        if key == "Environment":
            found = [name for name, text in _variables(value) if text and (
                SECRET_NAME.search(name) or text in looked_for
            )]  # fmt: skip
        elif PROGRAM_LINE.match(key):
            found = [name for name in OPTION.findall(value) if SECRET_NAME.search(_plain(name))]
            found += [h.variable for text, h in looked_for.items() if text in value]
        for name in dict.fromkeys(found):
            yield Complaint(
                Severity.HIGH, "in a unit file", server.paths.shown(file), f"{key}: {name}",
                "systemctl shows it to every user of this server",
                _unit_remedy(server, inventory, file, unit, name),
            )  # fmt: skip


def _unit_remedy(server: Server, inventory: Inventory, file: Path, unit: str, name: str) -> str:
    declared = {s.variable for each in inventory.components for s in each.secrets}
    first = f"tradingctl secret {name} && " if name in declared else ""
    shown = shlex.quote(server.paths.shown(file))
    lines = _text(file).splitlines()
    alone = [line for line in lines if re.fullmatch(rf"\s*Environment=\S*{name}=\S*\s*", line)]
    edit = f"sensible-editor {shown}"
    if alone:
        edit = f"sed -i '/^ *Environment=.*{name}=/d' {shown}"
    return f"{first}{edit} && systemctl daemon-reload && systemctl restart {unit}"


def _variables(value: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    for word in words:
        name, separator, text = word.partition("=")
        if separator:
            yield name, text


def _plain(option: str) -> str:
    return option.replace("-", "_")


def _in_processes(server: Server, looked_for: Mapping[str, Holding]) -> Iterator[Complaint]:
    """Give the processes that have a known secret among their arguments."""
    for folder in sorted(server.paths.proc.glob("[0-9]*"), key=lambda each: int(each.name)):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            group = (folder / "cgroup").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has ended
        for value, holding in looked_for.items():
            if any(value in word for word in words):
                unit = group.rpartition("/")[2]
                service = unit if unit.endswith(".service") else ""
                yield Complaint(
                    Severity.HIGH, "in arguments", f"process {folder.name} ({Path(words[0]).name})",
                    holding.variable, "ps shows it to every user of this server",
                    f"systemctl cat {service}" if service else f"systemctl status {folder.name}",
                )  # fmt: skip


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
