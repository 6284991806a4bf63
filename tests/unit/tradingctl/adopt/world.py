"""A server that was laid out by hand, with a systemd that starts and stops units."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import COMMIT, FakeSystem, Machine, unit_state

from tradingctl.adopt import apply
from tradingctl.adopt.record import Adoption, current
from tradingctl.backup import worker_mode
from tradingctl.cli import main
from tradingctl.description import Component, Secret, State, Unit
from tradingctl.process import NOTHING, Outcome

API = "automatictrader-api"
BOARD = "traderunner"
WORKER = "automatictrader-worker"
DASHBOARD = "trading-dashboard-v2"
SECRET = "token-by-hand"
VERSION = "1~deb12"


class KilledError(BaseException):
    """The program ends here and now."""


@dataclass
class Systemd(FakeSystem):
    """A systemd whose units run until they are stopped. ``stubborn`` ones do not stop."""

    machine: Machine = field(init=False)
    alive: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    killed_before: str = ""

    def run(
        self,
        command: Sequence[str],
        timeout: float = 60.0,
        extra: Mapping[str, str] = NOTHING,
    ) -> Outcome:
        """Answer as the program would, after it has done it."""
        line = " ".join(command)
        if self.killed_before and line.startswith(self.killed_before):
            raise KilledError(line)
        said = super().run(command, timeout, extra)
        words = [word for word in command if not word.startswith("-")]
        if said.code == 0 and words[0] in ("systemctl", "deb-systemd-invoke"):
            if words[1] == "stop":
                self.alive -= set(words[2:]) - self.stubborn
            elif words[1] == "start":
                self.alive |= set(words[2:])
                if f"{WORKER}.service" in words:
                    self._give_mode()
        if words[0] == "usermod":
            group = self.machine.root / "etc/group"
            group.write_text(group.read_text(encoding="utf-8").strip() + f"{words[-1]}\n")
        return said

    def _give_mode(self) -> None:
        """Give the worker's process the mode that the files say at this moment."""
        mode = worker_mode.mode(API, self.machine.paths.settings)
        self.machine.write("proc/4711/environ", f"LANG=C\0AT_WORKER_MODE={mode}\0")

    def _show(self, names: Sequence[str]) -> str:
        return "\n".join(
            "".join(f"{key}={value}\n" for key, value in self._state(name).items())
            for name in names
        )

    def _state(self, name: str) -> dict[str, str]:
        local = self.machine.paths.local_units / name
        packaged = self.machine.paths.units / name
        if local.is_symlink() and str(local.readlink()) == "/dev/null":
            return unit_state(name, LoadState="masked", ActiveState="inactive")
        if not local.exists() and (self.machine.paths.runtime_units / name).is_symlink():
            return unit_state(name, LoadState="masked", ActiveState="inactive")
        if not local.exists() and not packaged.exists():
            return {"LoadState": "not-found", "ActiveState": "inactive"}
        timer = local.with_suffix(".timer")
        wants = self.machine.paths.local_units / "multi-user.target.wants" / name
        return unit_state(
            name.removesuffix(".service"),
            ActiveState="active" if name in self.alive else "inactive",
            FragmentPath=str(local if local.exists() else f"/lib/systemd/system/{name}"),
            UnitFileState="enabled" if wants.is_symlink() else "disabled",
            TriggeredBy=timer.name if timer.exists() else "",
        )


def api(version: str = VERSION) -> Component:
    """Return the component with a database, which two units share."""
    return Component(
        name=API,
        package=API,
        version=version,
        release=version.partition("~")[0],
        repository="https://example.org/api.git",
        commit=COMMIT,
        units=(Unit(API, 20, 8080), Unit(WORKER, 30, sends_orders=True)),
        state=(State("data", databases=("automatictrader.db",)),),
    )


def board(version: str = VERSION) -> Component:
    """Return the component with logs and artifacts, and files of its own among the data."""
    return Component(
        name=BOARD,
        package=BOARD,
        version=version,
        release=version.partition("~")[0],
        repository="https://example.org/board.git",
        commit=COMMIT,
        units=(Unit(DASHBOARD, 40, 9001),),
        state=(State("data", tracked=True), State("artifacts", artifacts=True)),
        logs=("logs",),
        secrets=(Secret("DASHBOARD_PASS"),),
    )


@dataclass
class World:
    """The server; ``systemd`` is its systemd."""

    machine: Machine
    systemd: Systemd

    @classmethod
    def laid_out(cls, root: Path) -> World:
        """Give a server on which everything runs as it was laid out by hand."""
        systemd = Systemd()
        machine = Machine(root, system=systemd)
        systemd.machine = machine
        # Not the group of the account that runs the tests, so that owners can be told apart.
        machine.paths.dpkg.mkdir(parents=True)
        world = cls(machine, systemd)
        world._by_hand(API, {"app.py": "by hand", ".env": ""}, (API, WORKER))
        world.dot_env(API, f"export AT_BEARER_TOKEN={SECRET} # mine\nAT_WORKER_MODE=paper-send\n")
        world._by_hand(
            BOARD,
            {
                "data/watchlist.csv": "HOOD\n",
                "data/samples/shipped.csv": "shipped\n",
                "artifacts/report.html": "no trades\n",
                "logs/dashboard.log": "started\n",
            },
            (DASHBOARD,),
        )
        world.insert(1)
        world.say("production")
        return world

    def say(self, environment: str) -> None:
        """Write down what the machine is."""
        self.machine.write("etc/trading/environment", f"TRADING_ENVIRONMENT={environment}\n")

    def _by_hand(self, name: str, files: Mapping[str, str], units: Sequence[str]) -> None:
        for path, text in files.items():
            self.machine.write(f"opt/trading/{name}/{path}", text)
        for unit in units:
            self.unit(f"{unit}.service", name, f"{unit}.py")

    def unit(
        self, file: str, tree: str, program: str, more: str = "", enabled: bool = True
    ) -> None:
        """Write a unit by hand, which runs."""
        folder = self.machine.paths.base / tree
        self.machine.write(
            f"etc/systemd/system/{file}",
            f"[Service]\nWorkingDirectory={folder}\nExecStart={folder}/.venv/bin/python {program}\n"
            f"EnvironmentFile=-{folder}/.env.local\n{more}[Install]\nWantedBy=multi-user.target\n",
        )
        self.systemd.alive.add(file)
        if enabled:
            wants = self.machine.paths.local_units / "multi-user.target.wants" / file
            wants.parent.mkdir(exist_ok=True)
            wants.symlink_to(f"/etc/systemd/system/{file}")

    def forget(self, unit: str) -> None:
        """Remove a unit by hand, and what enables it."""
        file = self.machine.paths.local_units / f"{unit}.service"
        for each in (file, *self.machine.paths.local_units.glob(f"*/{unit}.service")):
            each.unlink()
        self.systemd.alive.discard(f"{unit}.service")

    def rename_api(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lay out the API by a name that no package has; it is known by its port."""
        self.forget(API)
        self.unit("api.service", API, "app.py")
        self.machine.process(5000, "/srv", "/system.slice/api.service", ["77"])
        self.machine.listen(("0100007F", 8080, "77"))
        # The process of the tests does not end when its unit is stopped.
        monkeypatch.setattr(apply, "_require_quiet", lambda *_, **__: None)

    def dot_env(self, tree: str, text: str) -> None:
        """Write the .env of a tree."""
        self.machine.write(f"opt/trading/{tree}/.env", text).chmod(0o600)

    @property
    def old_database(self) -> Path:
        """The database by the path that everybody knows."""
        return self.machine.paths.base / API / "data/automatictrader.db"

    def insert(self, rows: int, file: Path | None = None) -> None:
        """Add rows to the database, in its log if somebody has it open."""
        file = file or self.old_database
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS intents (x)")
            for _ in range(rows):
                connection.execute("INSERT INTO intents VALUES (1)")

    def count(self, file: Path | None = None) -> int:
        """Return how many rows there are."""
        with closing(sqlite3.connect(file or self.old_database)) as connection:
            return int(connection.execute("SELECT count(*) FROM intents").fetchone()[0])

    def unpack(self, *components: Component) -> None:
        """Do what dpkg does before it configures packages."""
        for component in components or (api(), board()):
            self.machine.describe(component)
            self.machine.ship(
                component.name,
                {"app.py": "packaged", ".tracked/data/samples/shipped.csv": "shipped\n"},
            )
            for unit in component.units:
                self.machine.write(
                    f"lib/systemd/system/{unit.name}.service",
                    "[Service]\nEnvironment=AT_DB_PATH=/opt/trading/"
                    f"{component.name}/data/automatictrader.db\n",
                )

    def run(self, *words: str) -> int:
        """Run tradingctl; forget what was said before."""
        for stream in (self.machine.out, self.machine.err):
            stream.seek(0)
            stream.truncate()
        return main(words, self.machine.server)

    def install(self, *components: Component) -> int:
        """Unpack and configure packages."""
        self.unpack(*components)
        codes = [self.run("activate", each.name) for each in components or (api(), board())]
        return max(codes)

    @property
    def said(self) -> str:
        """What was said by the last command."""
        return self.machine.out.getvalue() + self.machine.err.getvalue()

    @property
    def state(self) -> str:
        """How far it is."""
        return str(self.adoption.state)

    @property
    def adoption(self) -> Adoption:
        """What is written down."""
        found = current(self.machine.paths)
        assert found is not None
        return found

    def look(self, *apart: str) -> dict[str, str]:
        """Return what lies in the trees and units, with modes and contents."""
        found = {}
        for top in (self.machine.paths.base, self.machine.paths.local_units):
            for folder, folders, files in os.walk(top):
                if Path(folder).name in ("releases", *apart):
                    folders.clear()
                    continue
                for name in (*files, *(n for n in folders if Path(folder, n).is_symlink())):
                    path = Path(folder, name)
                    text = str(path.readlink()) if path.is_symlink() else path.read_bytes().hex()
                    found[str(path)] = f"{path.lstat().st_mode:o} {text}"
        return found
