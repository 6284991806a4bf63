"""Who listens on a TCP port, and which unit that process belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"
# Addresses as /proc/net/tcp has them: any, 127.0.0.0/8, and ::ffff:127.0.0.0/104.
ANY = ("00000000", "0" * 32)
LOOPBACK6 = "00000000000000000000000001000000"
MAPPED_LOOPBACK = "0000000000000000FFFF0000"


@dataclass(frozen=True)
class Process:
    """A process that holds a socket."""

    pid: int
    command: str
    cgroup: str


@dataclass(frozen=True)
class Ownership:
    """Who listens on a port: nobody (``listening`` false), the unit, or the ``foreign`` process.

    ``hidden`` says that the kernel does not let this user see whose a socket is.
    """

    listening: bool
    foreign: Process | None = None
    hidden: bool = False


def owner_of(proc: Path, port: int, main_pid: int, cgroup: str) -> Ownership:
    """Return who listens on ``port``, seen from the unit of ``main_pid`` and ``cgroup``."""
    inodes = _listening(proc, port)
    if not inodes:
        return Ownership(listening=False)
    if main_pid and inodes <= _inodes_of(proc / str(main_pid))[0]:
        return Ownership(listening=True)
    hidden = False
    for folder in _processes(proc):
        held, unreadable = _inodes_of(folder)
        hidden = hidden or unreadable
        if not held & inodes:
            continue
        process = Process(int(folder.name), _command(folder), cgroup_of(folder))
        if not _within(process.cgroup, cgroup):
            return Ownership(listening=True, foreign=process)
        inodes -= held
        if not inodes:
            return Ownership(listening=True)
    # Without root, the sockets whose holder was not found are those of other users. With root they
    # are of another process namespace, which is to say not of the unit.
    if hidden:
        return Ownership(listening=True, hidden=True)
    return Ownership(listening=True, foreign=Process(0, "a process that is not visible here", ""))


def holders_of(proc: Path, port: int) -> list[int] | None:
    """Return the processes that listen on ``port``, as far as they can be seen; None for nobody."""
    inodes = _listening(proc, port)
    if not inodes:
        return None
    folders = sorted(_processes(proc), key=lambda each: int(each.name))
    return [int(each.name) for each in folders if _inodes_of(each)[0] & inodes]


def _listening(proc: Path, port: int) -> set[str]:
    """Return the inodes of the sockets that take connections to the port on this machine."""
    local: set[str] = set()
    other: set[str] = set()
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, hexadecimal = fields[1].rpartition(":")
            if fields[3] == LISTEN and int(hexadecimal, 16) == port:
                (local if _is_local(address) else other).add(fields[9])
    # A stranger on another address does not take what is sent to the loopback address.
    return local or other


def _is_local(address: str) -> bool:
    if address in ANY or address == LOOPBACK6:
        return True
    mapped = address.startswith(MAPPED_LOOPBACK)
    return address.endswith("7F") and (len(address) == 8 or mapped)


def _processes(proc: Path) -> Iterator[Path]:
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            yield folder


def _inodes_of(folder: Path) -> tuple[set[str], bool]:
    """Return the sockets of a process, and whether they cannot be read."""
    found = set()
    try:
        for descriptor in (folder / "fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except PermissionError:
        return set(), True
    except OSError:
        return set(), False  # it ended meanwhile
    return found, False


def _command(folder: Path) -> str:
    try:
        text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return "?"
    return text.strip()[:120] or "?"


def cgroup_of(folder: Path) -> str:
    """Return the group that systemd put the process in."""
    try:
        lines = (folder / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd") and path != "/":
            return path
    return ""


def _within(cgroup: str, unit: str) -> bool:
    return bool(unit) and (cgroup == unit or cgroup.startswith(unit + "/"))
