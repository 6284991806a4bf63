"""A server in a temporary directory: its packages, its processes, its systemd and its clock."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tradingctl.description import Check, Component, Secret, Stack, State, Unit
from tradingctl.paths import Paths
from tradingctl.process import NOTHING, Outcome
from tradingctl.server import Server
from tradingctl.systemd import PROPERTIES

COMMIT = "7817388" + "a" * 33
VERSION = "2026.11.23.1+g7817388-1~deb12"
PORT = 8090
BOOTED = 10_000.0  # what the clock says at first


class Unheard(io.StringIO):
    """A stream to which nothing can be written: by default a pipe that nobody reads any more."""

    def __init__(self, error: int = errno.EPIPE) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        """Fail."""
        raise OSError(self.error, os.strerror(self.error))


class FakeClock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.time = BOOTED
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        self.slept.append(seconds)
        self.time += seconds


def unit_state(name: str, **changed: str) -> dict[str, str]:
    """Return the properties of a unit that has been up for 100 s, with some ``changed``."""
    said = dict.fromkeys(PROPERTIES, "")
    said.update(
        LoadState="loaded",
        ActiveState="active",
        SubState="running",
        FragmentPath=f"/lib/systemd/system/{name}.service",
        MainPID="4711",
        NRestarts="0",
        ControlGroup=f"/system.slice/{name}.service",
        UnitFileState="enabled",
        ActiveEnterTimestampMonotonic=str(int((BOOTED - 100) * 1e6)),
        User="trading",
        Result="success",
        ExecMainStatus="0",
        InvocationID="c0ffee",
    )
    said.update(changed)
    return said


@dataclass
class FakeSystem:
    """The programs of the server. ``units`` gives successive states, the last one stays.

    A unit that was stopped is inactive until it is started, unless it is in ``stubborn``.
    """

    units: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    packages: dict[str, tuple[str, str]] = field(default_factory=dict)
    journal: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    variables: list[dict[str, str]] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    asked: int = 0
    running: str = "running"
    fed: bytes = b""

    def run(
        self,
        command: Sequence[str],
        timeout: float = 60.0,
        extra: Mapping[str, str] = NOTHING,
    ) -> Outcome:
        """Answer as the program would."""
        self.commands.append(list(command))
        self.variables.append(dict(extra))
        line = " ".join(command)
        for start, code in self.codes.items():
            if line.startswith(start):
                return Outcome(tuple(command), code, "", f"{command[0]} refused")
        names = {word.removesuffix(".service") for word in command[2:]}
        if line.startswith("deb-systemd-invoke stop"):
            self.stopped |= names - self.stubborn
        elif line.startswith(("systemctl start", "systemctl restart")):
            self.stopped -= names
        if line.startswith("systemctl show"):
            return Outcome(tuple(command), 0, self._show(command[command.index("--") + 1 :]))
        if command[0] == "dpkg-query":
            known = [name for name in command[4:] if name in self.packages]
            text = "".join("\t".join((name, *self.packages[name])) + "\n" for name in known)
            return Outcome(tuple(command), 0 if len(known) == len(command[4:]) else 1, text)
        if command[:2] == ["dpkg", "--compare-versions"]:
            return Outcome(
                tuple(command), 0 if comparable(command[2]) > comparable(command[4]) else 1
            )
        if line == "systemctl is-system-running":
            return Outcome(tuple(command), 0 if self.running == "running" else 1, self.running)
        if command[0] == "systemd-detect-virt":
            return Outcome(tuple(command), 1)
        if command[0] == "journalctl":
            return Outcome(tuple(command), 0, self.journal.get(command[-1], ""))
        return Outcome(tuple(command), 0)

    def follow(self, command: Sequence[str], extra: Mapping[str, str] = NOTHING) -> int:
        """Answer as the program would."""
        return self.run(command, extra=extra).code

    def feed(self, command: Sequence[str], chunks: Iterable[bytes]) -> Outcome:
        """Answer as the program would, after reading everything."""
        self.fed = b"".join(chunks)
        return self.run(command)

    def _show(self, names: Sequence[str]) -> str:
        blocks = []
        for name in names:
            states = self.units.get(name.removesuffix(".service"))
            found = (
                states[min(self.asked, len(states) - 1)] if states else {"LoadState": "not-found"}
            )
            if name.removesuffix(".service") in self.stopped:
                found = {**found, "ActiveState": "inactive"}
            blocks.append("".join(f"{key}={value}\n" for key, value in found.items()))
        self.asked += 1
        return "\n".join(blocks)

    def ran(self, start: str) -> list[str]:
        """Return the command lines that begin with ``start``."""
        lines = [" ".join(command) for command in self.commands]
        return [line for line in lines if line.startswith(start)]


def comparable(version: str) -> list[int]:
    """Return what a version of the tests is compared by; a suffix as ~deb12 makes no difference."""
    return [int(part) for part in version.partition("~")[0].split(".")]


def stream_unit(**changed: object) -> Unit:
    """Return the unit most tests are about."""
    unit = Unit(name="marketdata-stream", order=10, port=PORT, deadline=5.0, stability=3.0)
    return replace(unit, **changed)  # type: ignore[arg-type]


def stream(**changed: object) -> Component:
    """Return the component most tests are about."""
    component = Component(
        name="marketdata-stream",
        package="marketdata-stream",
        version=VERSION,
        release="2026.11.23.1",
        repository="https://example.org/marketdata-stream.git",
        commit=COMMIT,
        units=(stream_unit(),),
        state=(State("data", databases=("ticks.db",), tracked=True),),
        secrets=(Secret("DASHBOARD_PASS"),),
    )
    return replace(component, **changed)  # type: ignore[arg-type]


@dataclass
class Machine:
    """A temporary server on which the stream component is installed, active and healthy."""

    root: Path
    system: FakeSystem = field(default_factory=FakeSystem)
    clock: FakeClock = field(default_factory=FakeClock)
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)
    environ: dict[str, str] = field(default_factory=dict)
    euid: int = 0
    today: datetime = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

    def __post_init__(self) -> None:
        # The services' account is the one that runs the tests, so that root is not needed.
        own = f"trading:x:{os.getuid()}:{os.getgid()}::/var/lib/trading:/usr/sbin/nologin\n"
        self.write("etc/passwd", own)
        self.write("etc/group", f"trading:x:{os.getgid()}:\n")
        (self.root / "run/systemd/system").mkdir(parents=True)

    @property
    def paths(self) -> Paths:
        """The paths of the server."""
        return Paths(self.root)

    @property
    def server(self) -> Server:
        """The server as the commands take it."""
        return Server(
            self.paths,
            self.system,
            self.environ,
            self.euid,
            self.out,
            self.err,
            self.clock,
            wall=lambda: self.today,
        )

    def write(self, relative: str, text: str) -> Path:
        """Write a file below the root."""
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def describe(self, *components: Component, stack: Stack | None = None) -> None:
        """Install the descriptions, as dpkg knows the packages and systemd the units."""
        for component in components:
            self.write(
                f"usr/share/trading/components/{component.package}.json", component.to_json()
            )
            self.system.packages[component.package] = ("ii ", component.version)
            for unit in component.units:
                self.system.units.setdefault(unit.name, [unit_state(unit.name)])
        if stack:
            self.write("usr/share/trading/stack.json", stack.to_json())

    def ship(self, name: str, files: dict[str, str], commit: str = COMMIT) -> Path:
        """Put files where dpkg would, each as a new inode."""
        tree = self.paths.shipped(name)
        files = {"RELEASE.json": json.dumps({"commit": commit}), **files}
        for relative, text in files.items():
            (tree / relative).unlink(missing_ok=True)
            self.write(f"usr/lib/trading/{name}/{relative}", text)
        return tree

    def link(self, name: str, version: str) -> Path:
        """Make an empty generation the active one."""
        generation = self.paths.generation(name, version)
        generation.mkdir(parents=True, exist_ok=True)
        link = self.paths.link(name)
        link.unlink(missing_ok=True)
        link.symlink_to(Path("releases", name, version))
        return generation

    def process(self, pid: int, cwd: Path | str, cgroup: str, inodes: Sequence[str] = ()) -> None:
        """Make a process that holds the sockets ``inodes``."""
        folder = self.root / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "cwd").symlink_to(cwd)
        (folder / "cgroup").write_text(f"0::{cgroup}\n", encoding="utf-8")
        (folder / "cmdline").write_bytes(f"python{pid}\0-m\0app\0".encode())
        for number, inode in enumerate(inodes):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")

    def listen(self, *sockets: tuple[str, int, str]) -> None:
        """Make the kernel's table of listening sockets: address, port and inode of each."""
        lines = ["  sl  local_address rem_address   st"]
        lines += [
            f"   0: {address}:{port:04X} 00000000:0000 0A 0:0 00:0 0 1000 0 {inode} 1"
            for address, port, inode in sockets
        ]
        self.write("proc/net/tcp", "\n".join(lines) + "\n")

    def healthy(self, component: Component) -> Path:
        """Install the component such that nothing is to be said against it."""
        self.describe(component)
        generation = self.link(component.name, component.version)
        self.process(4711, generation, f"/system.slice/{component.name}.service", ["101"])
        self.listen(("00000000", PORT, "101"))
        return generation


@dataclass
class Reply:
    """What the web server below answers; a list of status codes is answered one after another."""

    status: int | list[int] = 200
    body: object = field(default_factory=lambda: {"status": "ok", "commit": COMMIT})
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """Serve ``reply`` on a free port of the loopback address; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            codes = reply.status if isinstance(reply.status, list) else [reply.status]
            status = codes[min(reply.asked, len(codes) - 1)]
            reply.asked += 1
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def health(url: str, **changed: object) -> Check:
    """Return a check of ``url`` that also asks for the commit."""
    check = Check(name="health", url=url, commit_json="commit")
    return replace(check, **changed)  # type: ignore[arg-type]
