"""Which processes hold the services' ports, and which run from a tree without being a service."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl.deploy.actor import ancestors
from tradingctl.sockets import cgroup_of, holders_of

INTERPRETERS = ("python", "gunicorn", "uvicorn", "streamlit", "flask")


@dataclass(frozen=True)
class Running:
    """A process: the unit it belongs to (empty for none), and its program without arguments."""

    pid: int
    unit: str
    program: str

    def __str__(self) -> str:
        where = f" of {self.unit}" if self.unit else ""
        return f"process {self.pid} ({self.program}){where}" if self.pid else self.program


def on_port(proc: Path, port: int) -> list[Running]:
    """Return who listens on a port; one of which the kernel does not say who has the number 0."""
    pids = holders_of(proc, port)
    if pids is None:
        return []
    found = [_running(proc / str(pid)) for pid in pids]
    return found or [Running(0, "", "a process that is not visible here")]


def of_number(proc: Path, pid: str) -> Running:
    """Return a process by its number."""
    return _running(proc / pid)


def from_tree(proc: Path, tree: Path) -> Iterator[Running]:
    """Give the processes of Python that run from a tree, without the ones that started us."""
    ours = {folder.name for folder in ancestors(proc)}
    for folder in sorted(proc.glob("[0-9]*"), key=lambda each: int(each.name)):
        words = _words(folder)
        if not words or folder.name in ours:
            continue
        try:
            program = (folder / "exe").readlink().name
            place = (folder / "cwd").readlink()
        except OSError:
            continue  # a thread of the kernel, or it has ended
        if program.startswith(INTERPRETERS) and _of_tree(words, place, tree):
            yield _running(folder)


def _of_tree(words: Collection[str], place: Path, tree: Path) -> bool:
    if place.is_relative_to(tree):
        return True
    names = [word for word in words if word.startswith("/")]
    return any(Path(os.path.normpath(name)).is_relative_to(tree) for name in names)


def _running(folder: Path) -> Running:
    # In a container the groups of the machine around it come first.
    _, found, rest = cgroup_of(folder).rpartition("system.slice/")
    part = next((each for each in rest.split("/") if each.endswith(".service")), "")
    # What an account's own service manager runs is no service of the system.
    unit = part if found and "user.slice" not in rest else ""
    words = _words(folder)
    # Arguments may hold secrets; the name of a script does not.
    script = [word for word in words[1:3] if word.endswith(".py")]
    return Running(int(folder.name), unit, " ".join([*(words[:1] or ["?"]), *script[:1]]))


def _words(folder: Path) -> list[str]:
    try:
        text = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return text.rstrip("\0").split("\0") if text else []
