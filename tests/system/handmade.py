"""A server as it is before the first package: laid out by hand, in use, and never packaged.

Under /opt/trading lie the three applications of the slim stack, owned by the administrator's own
account, which they run as: git checkouts, of which one has changes that were never committed, and
one tree that came by rsync, whose ``data`` is a link to another disk. Each has a virtual
environment, an ``.env`` with secrets, databases in use, logs and artifacts. Units in
/etc/systemd/system run them, one with a drop-in; a crontab starts and stops them. What is the same
on every such server is in tests/system/hand-made.

    with hand_made_server(hand_made, project) as machine:
        before = look_at(machine)
        install_stack(machine, check=False)
        assert look_at(machine).differs(before) == []

The code is that of the first release, so that the same can be asked of both: by hand it says that
its commit is ``unknown``, because RELEASE.json comes with packages only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.stack import (
    API,
    ARCHIVE,
    DASHBOARD,
    INTENTS,
    STREAM,
    UNITS,
    command,
    install_keyring,
    rows,
)

ADMIN = "admin"
BASE = "/opt/trading"
DISK = "/srv/data"
"""Where the other disk is mounted."""

STREAM_DATA = f"{DISK}/marketdata-stream"
"""What ``data`` of the stream is a link to."""

UNIT_FOLDER = "/etc/systemd/system"
CRONTAB = f"/var/spool/cron/crontabs/{ADMIN}"
DROP_IN = f"{UNIT_FOLDER}/automatictrader-worker.service.d/nice.conf"
PACKAGES = ("cron", "git")
"""What such a server has beside the default."""

DATABASES = {
    "automatictrader-api": ("automatictrader.db",),
    "marketdata-stream": ("market_data.db", "signals.db"),
}
"""The databases of each component, in its ``data``."""

TOKEN = "bearer-77d1+by/hand="
API_KEY = "eodhd-5f2a9c-by-hand"
LOGIN = ("operator", "ops #1 by hand")
SECRETS = (TOKEN, API_KEY, LOGIN[1])
"""What must not be seen anywhere but in the files that are for it."""

IN_FORCE = {
    "marketdata-stream": {
        "EODHD_API_KEY": API_KEY,
        "WATCH_SYMBOLS": "HOOD,PLTR,NVDA",
        "MARKETDATA_PROVIDER": "fake",
        "MARKETDATA_TICK_SEC": "0.2",
    },
    "automatictrader-api": {"AT_BEARER_TOKEN": TOKEN},
    "automatictrader-worker": {"AT_WORKER_MODE": "paper-send", "AT_WORKER_POLL_SEC": "0.5"},
    "trading-dashboard-v2": {
        "DASHBOARD_USER": LOGIN[0],
        "DASHBOARD_PASS": LOGIN[1],
        "AT_BEARER_TOKEN": TOKEN,
    },
}
"""By unit, what the hand-written files set that the packaged defaults do not, or differently."""

BY_HAND = "unknown"
"""The commit that code laid out by hand says it is."""

LOCAL_CHANGE = "local change, never committed"
HEALTHY_SECONDS = 60.0

_FILES = Path(__file__).with_name("hand-made")
_PROGRAMS = {
    "automatictrader-api": ("uvicorn", "uvicorn.main", "main"),
    "marketdata-stream": ("uvicorn", "uvicorn.main", "main"),
    "traderunner": ("gunicorn", "gunicorn.app.wsgiapp", "run"),
}

# $1 the administrator, $2 where the other disk is mounted, then the components.
_SET_UP = r"""
admin=$1 disk=$2; shift 2
useradd --create-home --shell /bin/bash "$admin"
mkdir -p "$disk/marketdata-stream" /opt/trading/backups
for name in "$@"; do
    tree=/opt/trading/$name
    python3 -m venv --without-pip "$tree/.venv"
    mkdir -p "$tree/logs" "$tree/artifacts"
    chmod 600 "$tree/.env"
done
tar -C /opt/trading -czf /opt/trading/backups/traderunner_20261101_220000.tar.gz traderunner/core
chown -R "$admin:$admin" /opt/trading "$disk/marketdata-stream"
chown "$admin:crontab" "/var/spool/cron/crontabs/$admin"
chmod 600 "/var/spool/cron/crontabs/$admin"
"""

# Prints a JSON object: path below a root -> kind, mode, owner, and what it has in it.
_LOOK = r"""
import hashlib, json, os, stat, sys
roots, apart = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
seen = {}

def look(path):
    if path in apart:
        return
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    entry = [oct(status.st_mode), status.st_uid, status.st_gid]
    if kind == stat.S_IFLNK:
        entry.append(os.readlink(path))
    elif kind == stat.S_IFREG:
        with open(path, "rb") as file:
            entry += [hashlib.sha256(file.read()).hexdigest(), status.st_mtime_ns]
    seen[path] = entry
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))

for root in roots:
    if os.path.lexists(root):
        look(root)
json.dump(seen, sys.stdout)
"""


@dataclass(frozen=True)
class HandMade:
    """A server laid out by hand that is off: its disk, and a folder with what the other one has."""

    snapshot: Snapshot
    disk: Path


@dataclass(frozen=True)
class Fingerprint:
    """Mode, owner and content, of files the time too, of everything below some paths."""

    entries: Mapping[str, tuple[Any, ...]]

    def differs(self, other: Fingerprint) -> list[str]:
        """Return the paths that only one of the two has, or that differ."""
        paths = self.entries.keys() | other.entries.keys()
        return sorted(p for p in paths if self.entries.get(p) != other.entries.get(p))

    def without(self, root: str) -> Fingerprint:
        """Return the same without a path and what is below it."""
        gone = self.below(root).entries
        return Fingerprint({p: entry for p, entry in self.entries.items() if p not in gone})

    def below(self, root: str, as_if: str | None = None) -> Fingerprint:
        """Return what is below a path, as if that were another one."""
        shown = root if as_if is None else as_if
        pairs = ((path.removeprefix(root), entry) for path, entry in self.entries.items()
                 if path == root or path.startswith(f"{root}/"))  # fmt: skip
        return Fingerprint({shown + path: entry for path, entry in pairs})


def tree(component: str) -> str:
    """Return where a component was laid out."""
    return f"{BASE}/{component}"


def databases() -> list[str]:
    """Return every database by the path that the administrator's own scripts know."""
    return [f"{tree(name)}/data/{each}" for name, found in DATABASES.items() for each in found]


TREES = tuple(tree(name) for name in _PROGRAMS)
WRITTEN = tuple(f"{each}/{name}" for each in TREES for name in ("data", "logs"))
"""What the services write to all the time."""

LOAD: dict[str, Any] = {
    "databases": databases()[1:],
    "writer": "root",
    "token": TOKEN,
    "scripted": True,
}
"""How :func:`tests.system.load.under_load` writes here: as a script of the administrator does."""


def save_hand_made(base: Path, project: Project, folder: Path) -> HandMade:
    """Return a server that was laid out by hand and is in use since, kept in a new folder.

    The administrator has just installed the keyring, and nothing else of ours.
    """
    folder.mkdir()
    disk = folder / "disk"
    disk.mkdir()
    with Machine(base, binds={ARCHIVE: project.archive}, shares={DISK: disk}) as machine:
        lay_out(machine, project)
        machine.boot()
        await_by_hand(machine)
        for number in range(3):
            assert post_intent(machine, f"by-hand-{number}") == 201
        for service in (API, STREAM):
            machine.http(f"{service}/parts")  # Python writes what it compiled into the trees
        await_signals(machine)
        install_keyring(machine, project)
        machine.poweroff()
        return HandMade(machine.save(folder / "root"), disk)


@contextlib.contextmanager
def hand_made_server(hand_made: HandMade, project: Project, **options: Any) -> Iterator[Machine]:
    """Give a booted machine on which everything runs as it was laid out by hand.

    It sees the archive of ``project``. ``options`` are those of Machine.
    """
    with tempfile.TemporaryDirectory(dir=hand_made.disk.parent) as folder:
        disk = Path(folder) / "disk"
        _run("cp", "-a", str(hand_made.disk), str(disk))
        binds = {ARCHIVE: project.archive}
        with Machine(hand_made.snapshot, binds=binds, shares={DISK: disk}, **options) as machine:
            machine.boot()
            await_by_hand(machine)
            yield machine


def lay_out(machine: Machine, project: Project) -> None:
    """Lay everything out, with the first release's code, in a machine that is off."""
    components = tuple(_PROGRAMS)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        shutil.copytree(_FILES, files)
        for name in components:
            _check_out(project, name, files / "opt" / "trading" / name)
            _fill_venv(project, name, files / "opt" / "trading" / name / ".venv")
        _change_by_hand(files / "opt" / "trading")
        for part in ("opt/trading", "etc/systemd/system", "etc/trading"):
            machine.copy_in(files / part, f"/{part}")
        machine.write(CRONTAB, (files / "crontabs" / ADMIN).read_text())
    machine.chroot_run("sh", "-euc", _SET_UP, "sh", ADMIN, DISK, *components)
    machine.chroot_run("systemctl", "enable", *(f"{unit}.service" for unit in UNITS))
    # The crontab is to be read; what it does at its hour would change what is compared.
    machine.chroot_run("systemctl", "mask", "cron.service")


def _check_out(project: Project, component: str, target: Path) -> None:
    """Clone a component's repository over what is in the folder already."""
    bare = project.root / "build" / "samples" / f"{component}.git"
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / component
        _run("git", "clone", "-q", str(bare), str(clone))
        url = f"https://git.example.org/trading/{component}.git"
        _run("git", "-C", str(clone), "remote", "set-url", "origin", url)
        shutil.copytree(clone, target, symlinks=True, dirs_exist_ok=True)


def _fill_venv(project: Project, component: str, venv: Path) -> None:
    """Put what the component needs where `python3 -m venv` and pip would have put it."""
    with tempfile.TemporaryDirectory() as folder:
        _run("dpkg-deb", "-x", str(project.deb(component)), folder)
        built = Path(folder) / "usr" / "lib" / "trading" / component / ".venv"
        (packages,) = built.glob("lib/python3.*/site-packages")
        target = venv / packages.relative_to(built)
        shutil.copytree(packages, target, symlinks=True)
    if component == "marketdata-stream":  # pip install --editable
        shutil.rmtree(target / "marketdata_stream")
        (target / "marketdata_stream.pth").write_text(f"{tree(component)}/src\n")
    name, module, function = _PROGRAMS[component]
    (venv / "bin").mkdir()
    program = venv / "bin" / name
    program.write_text(
        f"#!{tree(component)}/.venv/bin/python3\n"
        f"import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
    )
    program.chmod(0o755)


def _run(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def _change_by_hand(trees: Path) -> None:
    """Do to the trees what became of them in the course of time."""
    stream = trees / "marketdata-stream"
    shutil.rmtree(stream / ".git")  # it came by rsync
    (stream / "data").symlink_to(STREAM_DATA)
    (stream / "artifacts").mkdir()
    (stream / "artifacts" / "ticks 2026-10.csv").write_text("at,symbol,price\n")

    (trees / "automatictrader-api" / "data").mkdir()
    (trees / "automatictrader-api" / "logs").mkdir()

    dashboard = trees / "traderunner"
    app = dashboard / "trading_dashboard" / "app.py"
    app.write_text(app.read_text().replace("Trading dashboard,", f"{LOCAL_CHANGE}: dashboard,"))
    (dashboard / "data" / "watchlist.csv").write_text("HOOD\nPLTR\n")
    (dashboard / "artifacts" / "backtests").mkdir(parents=True)
    report = dashboard / "artifacts" / "backtests" / "momentum (Oct 2026).html"
    report.write_text("<p>no trades</p>\n")
    script = dashboard / "count-intents.sh"
    script.write_text(
        "#!/bin/sh\nexec sqlite3 /opt/trading/automatictrader-api/data/automatictrader.db"
        ' "SELECT count(*) FROM order_intents"\n'
    )
    script.chmod(0o755)


def take_away(machine: Machine, *components: str) -> None:
    """Make the booted machine one that never had these components."""
    gone = [unit for unit, component in UNITS.items() if component in components]
    machine.run("systemctl", "disable", "--now", *gone)
    machine.sh(" && ".join(f"rm -rf {UNIT_FOLDER}/{unit}.service*" for unit in gone))
    machine.run("rm", "-r", *(tree(name) for name in components))
    machine.run("systemctl", "daemon-reload")


def look_at(machine: Machine, *roots: str, apart: Collection[str] = ()) -> Fingerprint:
    """Return the fingerprint of what is below some paths, without those apart.

    Without ``roots`` it is of all that was laid out by hand, but for what the services write to.
    """
    if not roots:
        wants = f"{UNIT_FOLDER}/multi-user.target.wants"
        units = [f"{folder}/{unit}.service" for folder in (UNIT_FOLDER, wants) for unit in UNITS]
        roots = (*TREES, f"{BASE}/backups", *units, DROP_IN, CRONTAB, "/etc/trading/trading.yaml")
        apart = WRITTEN
    argv = ("python3", "-IB", "-c", _LOOK, json.dumps(roots), json.dumps(list(apart)))
    found = json.loads(command(machine, *argv).stdout)
    return Fingerprint({path: tuple(entry) for path, entry in found.items()})


def invocations(machine: Machine) -> dict[str, str]:
    """Return what is another one for each unit that was started anew."""
    return {
        u: machine.systemctl_show(f"{u}.service", "InvocationID")["InvocationID"] for u in UNITS
    }


def say_production(machine: Machine) -> None:
    """Answer the question what this machine is, as who automates the installation does."""
    answer = "traderunner-common traderunner-common/environment select production\n"
    machine.run("debconf-set-selections", stdin=answer)


def post_intent(machine: Machine, key: str, token: str = TOKEN) -> int:
    """Post an order intent with the bearer token and return the status of the answer."""
    body = json.dumps({"symbol": "HOOD", "side": "BUY", "quantity": 1}).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    headers["Authorization"] = f"Bearer {token}"
    return machine.http(INTENTS, method="POST", headers=headers, body=body).status


def environment(machine: Machine, unit: str) -> dict[str, str]:
    """Return the environment of a unit's main process."""
    pid = machine.systemctl_show(f"{unit}.service", "MainPID")["MainPID"]
    pairs = machine.read(f"/proc/{pid}/environ").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def assert_settings_in_force(machine: Machine, units: Collection[str] = tuple(UNITS)) -> None:
    """Assert that the services run with what was written by hand, and ask for it."""
    for unit in units:
        seen = environment(machine, unit)
        wanted = IN_FORCE[unit]
        assert {name: seen.get(name) for name in wanted} == wanted, unit
    if "automatictrader-api" in units:
        assert post_intent(machine, "wrong token", token="wrong") == 401
    if "trading-dashboard-v2" in units:
        assert machine.http(f"{DASHBOARD}/", auth=LOGIN).status == 200
        assert machine.http(f"{DASHBOARD}/", auth=("admin", "admin")).status == 401


def await_by_hand(machine: Machine, units: Collection[str] = tuple(UNITS)) -> None:
    """Wait until the services run as they were laid out by hand, and assert that it is they."""
    for unit in units:
        answers = functools.partial(_answers, machine, unit)
        machine.wait_until(answers, HEALTHY_SECONDS, f"{unit} by hand")
        assert_runs_by_hand(machine, unit)


def _answers(machine: Machine, unit: str) -> bool:
    """Return whether a service gives a good answer now, the worker by way of the API."""
    try:
        if unit == "marketdata-stream":
            return machine.http(f"{STREAM}/health").status == 200
        if unit == "trading-dashboard-v2":
            return machine.http(f"{DASHBOARD}/", auth=LOGIN).status == 200
        health = machine.http(f"{API}/healthz").json()
    except ConnectionError:
        return False
    asked = "worker" if unit == "automatictrader-worker" else "database"
    return bool(health["dependencies"][asked] == "healthy")


def assert_runs_by_hand(machine: Machine, unit: str) -> None:
    """Assert that a unit is the hand-made one, enabled, and its process is of the tree."""
    wanted = ("ActiveState", "FragmentPath", "UnitFileState", "MainPID", "User")
    shown = machine.systemctl_show(f"{unit}.service", *wanted)
    pid = shown.pop("MainPID")
    assert shown == {
        "ActiveState": "active",
        "FragmentPath": f"{UNIT_FOLDER}/{unit}.service",
        "UnitFileState": "enabled",
        "User": ADMIN,
    }
    home = tree(UNITS[unit])
    assert machine.run("readlink", f"/proc/{pid}/cwd").stdout.strip() == home
    first, *_ = machine.read(f"/proc/{pid}/cmdline").split("\0")
    assert first.startswith(f"{home}/.venv/bin/"), first
    owner = machine.run("stat", "-c", "%U", f"/proc/{pid}").stdout.strip()
    assert owner == ADMIN


def await_signals(machine: Machine) -> None:
    """Wait until the stream has written a signal."""
    database = f"{tree('marketdata-stream')}/data/signals.db"
    machine.wait_until(
        lambda: rows(machine, database, "SELECT id FROM signals LIMIT 1"), 60, "a signal"
    )


def keys(machine: Machine, database: str) -> set[str]:
    """Return something of each row that tells it from others, of all tables that only grow."""
    tables = {"automatictrader.db": "order_intents", "signals.db": "signals"}
    table = tables.get(database.rpartition("/")[2], "ticks")
    found = rows(machine, database, f"SELECT * FROM {table}")  # noqa: S608
    return {json.dumps([each[n] for n in sorted(each) if n not in _CHANGE]) for each in found}


_CHANGE = ("status", "reason", "handled_at")  # of an order intent that is handled


def crontab_commands(machine: Machine) -> list[str]:
    """Return the commands of the administrator's crontab that are not comments."""
    lines = machine.read(CRONTAB).splitlines()
    return [line for line in lines if re.match(r"[0-9*]", line)]
