"""A server on which releases are installed, fail and are gone back from: a model of apt and dpkg.

Release N is the package of the stack and those of its components, all of version N. Whether its
services are healthy is for the test to say; all the rest is the product's own work.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import (
    FakeSystem,
    Machine,
    comparable,
    stream,
    stream_unit,
    unit_state,
)

from tradingctl.cli import main
from tradingctl.deploy import transaction
from tradingctl.deploy.admission import Arrival
from tradingctl.deploy.history import Event, read_events
from tradingctl.deploy.lock import HELD
from tradingctl.deploy.transaction import Transaction
from tradingctl.description import Component, Stack, parse_stack
from tradingctl.errors import UntrustedError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.process import NOTHING, Outcome
from tradingctl.server import Server
from tradingctl.verdict import Finding, Result, UnitVerdict, Verification

STACK = "traderunner-stack"
STREAM = "marketdata-stream"
BOARD = "board"
CHECK = f"{STREAM}.service: health: got 500"
ARCHIVES = "var/cache/apt/archives"


class PowerCutError(BaseException):
    """Nothing after this happens, not even what clears away."""


@dataclass
class Dpkg(FakeSystem):
    """dpkg with its programs, and apt's. ``fails`` and ``cuts`` name steps: ``unpack board=2``.

    A step that fails is one for which dpkg says so; at a cut everything ends, as at a power cut.
    ``offered`` are the releases in the archive, newest first.
    """

    machine: Machine = field(init=False)
    fails: set[str] = field(default_factory=set)
    cuts: set[str] = field(default_factory=set)
    offered: tuple[str, ...] = ()
    candidate: str = ""

    def run(
        self,
        command: Sequence[str],
        timeout: float = 60.0,
        extra: Mapping[str, str] = NOTHING,
    ) -> Outcome:
        """Answer as the program would, those of packages after they have done it."""
        said = super().run(command, timeout, extra)
        known = ("dpkg", "dpkg-deb", "apt-cache", "apt-get", "tradingctl")
        if said.code != 0 or command[0] not in known:
            return said
        words = [word for word in command[1:] if not word.startswith("--force-")]
        code, output = self._answer(command[0], words, extra)
        return Outcome(tuple(command), code, output)

    def _answer(
        self, program: str, words: Sequence[str], variables: Mapping[str, str]
    ) -> tuple[int, str]:
        match (program, *words):
            case ("dpkg", "--install", *files):
                return self._install([Path(file) for file in files], variables)
            case ("dpkg", "--remove", *packages):
                return self._remove(packages, "--force-remove-reinstreq" in self.commands[-1])
            case ("dpkg", "--configure", "--pending"):
                return self._configure(variables)
            case ("dpkg", "--compare-versions", one, "gt", other):
                return (0 if comparable(one) > comparable(other) else 1), ""
            case ("tradingctl", *_):
                return main(words, self._server(variables)), ""
            case ("dpkg-deb", "--field", file, *fields):
                return _fields(Path(file), fields)
            case ("dpkg-deb", "--extract", file, folder):
                return _extract(Path(file), Path(folder))
            case ("apt-cache", "madison", package):
                return 0, "".join(f" {package} | {each} | archive\n" for each in self.offered)
            case ("apt-cache", "policy", package):
                return 0, f"{package}:\n  Installed: 1\n  Candidate: {self.candidate}\n"
            case ("apt-cache", "show", named):
                version = named.partition("=")[2]
                return 0, f"Package: {STACK}\nDepends: {STREAM} (= {version}), adduser\n"
            case ("apt-get", *_, "install", stack, _) if "--simulate" in words:
                version = stack.partition("=")[2]
                return 0, f"Inst {STREAM} [1] ({version} archive)\nRemv {BOARD} [1]\nConf x\n"
        return 0, ""

    def _step(self, step: str, deb: Mapping[str, str]) -> bool:
        name = f"{step} {deb['Package']}={deb['Version']}"
        if name in self.cuts:
            raise PowerCutError(name)
        return name not in self.fails

    def _install(self, files: Sequence[Path], variables: Mapping[str, str]) -> tuple[int, str]:
        failed = ""
        for file in files:
            deb = _read(file)
            package, version = deb["Package"], deb["Version"]
            asked = main(["hook", "unpack", package, version], self._server(variables))
            if asked != 0 or not self._step("preinst", deb):
                failed = f"preinst of {package} failed"
                continue
            before = self.packages.get(package)
            self.packages[package] = ("iHR", version)
            if not self._step("unpack", deb):
                failed = f"{package} cannot be unpacked"
                self.packages.pop(package)
                self.packages |= {package: before} if before else {}
                continue
            self._unpack(deb)
        code, said = self._configure(variables)
        return (1, failed or said) if failed or code else (0, "")

    def _unpack(self, deb: Mapping[str, str]) -> None:
        package, version = deb["Package"], deb["Version"]
        for path, text in json.loads(deb["files"]).items():
            self.machine.write(path, text)
        if package != STACK:
            self.machine.ship(package, {"app.py": version})
        self.packages[package] = ("iU ", version)

    def _configure(self, variables: Mapping[str, str]) -> tuple[int, str]:
        failed = ""
        # The stack depends on all the others.
        for package in sorted(self.packages, key=lambda name: (name == STACK, name)):
            status, version = self.packages[package]
            if status not in ("iU ", "iF "):
                continue
            if package == STACK and not self._depends():
                failed = failed or f"dependencies of {package} are not met"
                continue
            self.packages[package] = ("iF ", version)
            deb = {"Package": package, "Version": version}
            if failed or not self._step("configure", deb) or not self._postinst(package, variables):
                failed = failed or f"postinst of {package} failed"
                continue
            self._step("note", deb)
            self.packages[package] = ("ii ", version)
        return (1, failed) if failed else (0, "")

    def _depends(self) -> bool:
        needed = parse_stack(self.machine.paths.stack.read_text(encoding="utf-8"), "").packages
        return all(self.packages.get(name) == ("ii ", each) for name, each in needed.items())

    def _postinst(self, package: str, variables: Mapping[str, str]) -> bool:
        if package == STACK:
            return main(["gate"], self._server(variables)) == 0
        generations = Generations(self.machine.paths, package)
        version = self.packages[package][1]
        with generations.locked():
            if staged := generations.stage(version):
                generations.install(staged, version)
            generations.flip(version)
        return True

    def _remove(self, packages: Sequence[str], broken_as_well: bool) -> tuple[int, str]:
        for package in packages:
            if self.packages[package][0].endswith("R") and not broken_as_well:
                return 1, f"{package} is in a very bad inconsistent state"
            self.packages[package] = ("rc ", self.packages[package][1])
            file = self.machine.paths.components / f"{package}.json"
            (self.machine.paths.stack if package == STACK else file).unlink(missing_ok=True)
        return 0, ""

    def _server(self, variables: Mapping[str, str]) -> Server:
        environ = {**self.machine.environ, **variables}
        return replace(self.machine.server, environ=environ)


def _read(file: Path) -> dict[str, str]:
    data: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return data


def _fields(file: Path, names: Sequence[str]) -> tuple[int, str]:
    try:
        deb = _read(file)
    except (OSError, ValueError):
        return 2, f"dpkg-deb: error: '{file}' is not a Debian format archive"
    return 0, "".join(f"{name}: {deb[name]}\n" for name in names)


def _extract(file: Path, folder: Path) -> tuple[int, str]:
    for path, text in json.loads(_read(file)["files"]).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return 0, ""


@dataclass
class World:
    """The server, with release 1 in the archive and nothing installed.

    ``bad`` are the releases that do not verify, ``asked`` those that were verified, in order.
    ``worded`` are those whose descriptions have a key that the others do not know. ``skip`` is a
    reason for which nothing can be verified.
    """

    machine: Machine
    dpkg: Dpkg
    monkeypatch: pytest.MonkeyPatch
    bad: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    worded: set[str] = field(default_factory=set)
    skip: str = ""
    refusal: Exception | None = None
    """What the backup before an upgrade raises."""
    backed_up: list[Component] = field(default_factory=list)
    """The components whose databases were backed up last."""
    verified_at: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    senders: bool = False
    """Whether the services of what is published send orders."""
    unsigned: str = ""
    """Why what arrives is not to be trusted; packages of the model have no signatures."""

    def __post_init__(self) -> None:
        self.dpkg.machine = self.machine
        self.dpkg.units = {name: [unit_state(name)] for name in (STREAM, BOARD)}
        self.machine.write("var/lib/dpkg/lock-frontend", "")
        self.machine.write("var/lib/dpkg/lock", "")
        world = self

        class Later(datetime):
            """Each release is verified an hour after the one before."""

            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                world.verified_at += timedelta(hours=1)
                return world.verified_at

        patch = self.monkeypatch.setattr
        patch("tradingctl.deploy.lastgood.datetime", Later)
        patch("tradingctl.deploy.gate.verify", self._verify)
        patch("tradingctl.deploy.rollback.verify", self._verify)
        patch("tradingctl.deploy.incoming.take", self._backup)
        patch("tradingctl.deploy.incoming.require_signed", self._admit)
        patch("os.sync", lambda: None)  # seconds on a busy machine
        patch("os.fsync", lambda _: None)

    @property
    def server(self) -> Server:
        """The server as the commands take it."""
        return self.machine.server

    def _verify(
        self, server: Server, inventory: Inventory, **passed_over: Collection[str]
    ) -> Verification:
        self.asked.append(inventory.release)
        if self.skip:
            return Verification(inventory.release, reason=self.skip)
        failed = inventory.release in self.bad
        finding = Finding("health", "200", "500", f"journalctl -u {STREAM}")
        verdicts = tuple(
            UnitVerdict(
                unit=unit.name,
                component=component.name,
                port=unit.port,
                commit=component.commit,
                required=True,
                result=Result.FAILED if failed else Result.OK,
                findings=(finding,) if failed else (),
            )
            for component, unit in inventory.units()
        )
        return Verification(inventory.release, verdicts)

    def _admit(
        self, server: Server, arrivals: Sequence[Arrival], stack: str, ours: Collection[str]
    ) -> None:
        if self.unsigned:
            raise UntrustedError(self.unsigned)

    def _backup(self, server: Server, inventory: Inventory, kind: str, release: str) -> None:
        if self.refusal:
            raise self.refusal
        self.backed_up = list(inventory.components)

    def publish(self, release: str, *components: str) -> dict[str, Path]:
        """Put a release's packages where apt keeps what it downloads; return them by name.

        It has the stream component, or those that are named; ``NAME=VERSION`` is one that did not
        change since.
        """
        packages = {}
        for each in components or (STREAM,):
            name, _, version = each.partition("=")
            packages[name] = version or release
        stack = Stack(STACK, release, release, packages)
        found = {
            name: self._deb(name, version, f"usr/share/trading/components/{name}.json",
                            self._description(name, version))
            for name, version in packages.items()
        }  # fmt: skip
        text = stack.to_json()
        found[STACK] = self._deb(STACK, release, "usr/share/trading/stack.json", text)
        return found

    def _description(self, name: str, version: str) -> str:
        units = (stream_unit(name=name, sends_orders=self.senders),)
        text = stream(name=name, package=name, version=version, release=version,
                      units=units, secrets=()).to_json()  # fmt: skip
        return json.dumps({**json.loads(text), "new": True}) if version in self.worded else text

    def _deb(self, package: str, version: str, path: str, text: str) -> Path:
        fields = {"Package": package, "Version": version, "Architecture": "all"}
        deb = {**fields, "Installed-Size": "1", "files": json.dumps({path: text})}
        return self.machine.write(f"{ARCHIVES}/{package}_{version}_all.deb", json.dumps(deb))

    def tradingctl(self, *words: str, **environ: str) -> int:
        """Run a command as the administrator, or what calls it, does; return its exit code."""
        server = replace(self.server, environ={**self.machine.environ, **environ})
        return main(words, server)

    def apt(self, release: str, *components: str) -> int:
        """Install a release as apt does, hooks and all; 100 is apt's exit code for any failure."""
        coming = self._changed(self.publish(release, *components))
        if not self._hook("pre-install", protocol(coming)):
            return 100
        done = self.dpkg.run(["dpkg", "--install", *map(str, coming.values())],
                             extra={HELD: "true"})  # fmt: skip
        return 0 if self._hook("post-invoke") and done.code == 0 else 100

    def _changed(self, debs: Mapping[str, Path]) -> dict[str, Path]:
        """Return what is not installed in that version: apt leaves the rest alone."""
        return {
            name: path
            for name, path in debs.items()
            if self.dpkg.packages.get(name) != ("ii ", _read(path)["Version"])
        }

    def _hook(self, name: str, text: str = "") -> bool:
        # As in /etc/apt/apt.conf.d/80traderunner: not there before it is installed.
        folder = self.machine.paths.components
        present = any(folder.glob("*.json")) if name == "pre-install" else self.record.exists()
        if not present:
            return True
        self.monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return self.tradingctl("hook", name, **{HELD: "true"}) == 0

    def dpkg_install(self, *files: Path) -> int:
        """Install package files as ``dpkg -i`` does, which calls no hook of apt."""
        self.started_by("dpkg", "-i", *map(str, files))
        return self.dpkg.run(["dpkg", "--install", *map(str, files)]).code

    def remove(self, *packages: str) -> None:
        """Remove packages as ``dpkg --remove`` does."""
        self.dpkg.run(["dpkg", "--remove", *packages])

    def boot(self) -> int:
        """Let what is started at boot have its turn; return the exit code of the last."""
        self.tradingctl("hook", "boot")
        return self.tradingctl("recover")

    def started_by(self, *commands: str) -> None:
        """Let this program be started by a program with these words in its command line."""
        ancestors(self.machine, list(commands))

    def installed(self) -> dict[str, str]:
        """Return the packages as dpkg has them: state and version."""
        return {name: f"{state}{version}" for name, (state, version) in self.dpkg.packages.items()}

    @property
    def active(self) -> str:
        """The version of the stream component that the link points to."""
        return Generations(self.machine.paths, STREAM).active

    @property
    def record(self) -> Path:
        """The record of the transaction."""
        return transaction.record_path(self.machine.paths)

    @property
    def pending(self) -> Transaction | None:
        """The transaction that has not ended."""
        return transaction.current(self.machine.paths)

    def events(self) -> list[Event]:
        """Return what was recorded, oldest first."""
        return list(read_events(self.server))

    def words(self) -> list[str]:
        """Return the recorded events, each as its word and its release."""
        return [f"{each.event} {each.release}" for each in self.events()]

    def said(self) -> str:
        """Return what was said since the last time, on both outputs."""
        text = self.machine.out.getvalue() + self.machine.err.getvalue()
        for stream_ in (self.machine.out, self.machine.err):
            stream_.seek(0)
            stream_.truncate()
        return text

    def files(self) -> dict[str, bytes]:
        """Return every file that is there, but the log, with its content."""
        log = self.machine.paths.deploy_log
        return {str(path): path.read_bytes() for path in _files(self.machine.root) if path != log}


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


def protocol(debs: Mapping[str, Path], *more: str) -> str:
    """Return what apt tells about a transaction, in version 3 of its protocol."""
    lines = [f"{name} 1 all none < 2 all none {path}" for name, path in debs.items()]
    return "\n".join(["VERSION 3", "APT::Architecture=amd64", "", *lines, *more]) + "\n"


def ancestors(machine: Machine, *commands: list[str]) -> None:
    """Let this process be a child of the first command, that one of the next, and so on."""
    folder = machine.root / "proc/self"
    for number, words in enumerate(commands, 100):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stat").write_text(f"7 (a) b) S {number} 7 7", encoding="utf-8")
        folder = machine.root / "proc" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        script = words[1:] if words[0].startswith("python") else words
        name = next(Path(word).name for word in script if not word.startswith("-"))
        (folder / "comm").write_text(name[:15] + "\n", encoding="utf-8")
        (folder / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
        (folder / "cwd").unlink(missing_ok=True)
        (folder / "cwd").symlink_to(machine.root)
    (folder / "stat").write_text("1 (init) S 0 1 1", encoding="utf-8")
