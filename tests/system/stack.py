"""The trading stack on a test machine: what an administrator types, and what can be seen of it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.system.machine import Machine, Result, Snapshot
from tests.system.project import Project

ARCHIVE = "/srv/traderunner/apt"
KEYRING = "traderunner-archive-keyring"
UNITS = {
    "marketdata-stream": "marketdata-stream",
    "automatictrader-api": "automatictrader-api",
    "automatictrader-worker": "automatictrader-api",
    "trading-dashboard-v2": "traderunner",
}
"""Every unit and its component, in start order."""

PACKAGES = (
    *("automatictrader-api", "marketdata-stream", "traderunner"),
    *("traderunner-common", "traderunner-stack"),
)
"""What installing the stack installs, beside the keyring."""

INTENTS_DB = "/opt/trading/automatictrader-api/data/automatictrader.db"
SIGNALS_DB = "/opt/trading/marketdata-stream/data/signals.db"
DASHBOARD = "http://127.0.0.1:9001"
API = "http://127.0.0.1:8080"
STREAM = "http://127.0.0.1:8090"
INTENTS = f"{API}/api/v1/orderintents"
APT_SECONDS = 300.0
# The base root is for builds on hosts whose clock may differ; real servers check dates.
DATES_MATTER = (
    *("-o", "Acquire::Check-Valid-Until=true"),
    *("-o", "Acquire::Check-Date=true"),
)


@contextlib.contextmanager
def server(base: Path, project: Project) -> Iterator[Machine]:
    """Give a booted machine that sees the project's archive and knows its keys."""
    with off_server(base, project) as machine:
        machine.boot()
        install_keyring(machine, project)
        yield machine


@contextlib.contextmanager
def off_server(base: Path, project: Project) -> Iterator[Machine]:
    """Give a machine that sees the project's archive; it is off."""
    with Machine(base, binds={ARCHIVE: project.archive}) as machine:
        yield machine


def save_installed(base: Path, project: Project, folder: Path) -> Snapshot:
    """Return a snapshot, kept in a new folder, of a server on which the project is installed."""
    with server(base, project) as machine:
        install_stack(machine)
        assert_healthy(machine)
        machine.poweroff()
        return machine.save(folder)


@contextlib.contextmanager
def installed_server(installed: Snapshot, project: Project, **options: Any) -> Iterator[Machine]:
    """Give a booted machine with what the snapshot has installed, up and healthy.

    It sees the archive of ``project``, which has the keys of what is installed and may have newer
    releases: :func:`install_stack` is the upgrade. ``options`` are those of Machine.
    """
    with Machine(installed, binds={ARCHIVE: project.archive}, **options) as machine:
        machine.boot()
        yield machine


def command(machine: Machine, *argv: str, check: bool = True, timeout: float = 120.0) -> Result:
    """Run a command in the machine, in a chroot of it if it is off."""
    run = machine.run if machine.booted else machine.chroot_run
    return run(*argv, check=check, timeout=timeout)


def apt(machine: Machine, *arguments: str, check: bool = True) -> Result:
    """Run apt-get as a script does: it may not ask, and standard input is closed."""
    script = 'exec apt-get "$@" <&-'
    done = command(
        machine,
        *("sh", "-c", script, "sh", "-y", *DATES_MATTER, *arguments),
        check=check,
        timeout=APT_SECONDS,
    )
    if machine.booted:
        await_idle(machine)
    # apt gives dpkg a terminal, whose lines end in two characters.
    return replace(done, stdout=done.stdout.replace("\r\n", "\n"))


def await_idle(machine: Machine) -> None:
    """Wait until nobody sees to an installation: who does holds dpkg's lock for a moment more."""
    unit = "trading-rollback.service"

    def idle() -> bool:
        return machine.systemctl_show(unit, "ActiveState")["ActiveState"] in ("inactive", "failed")

    machine.wait_until(idle, APT_SECONDS, f"the end of {unit}")


def install_keyring(machine: Machine, project: Project) -> None:
    """Install the keyring package from its file, as the README tells an administrator to."""
    machine.copy_in(project.deb(KEYRING), f"/root/{KEYRING}.deb")
    apt(machine, "install", f"/root/{KEYRING}.deb")


def install_stack(machine: Machine, check: bool = True) -> Result:
    """Bring the newest release onto the machine: the first one, or an upgrade."""
    apt(machine, "update")
    return apt(machine, "install", "traderunner-stack", check=check)


def tradingctl(machine: Machine, *arguments: str, user: str = "root") -> Result:
    """Run tradingctl as a user, whatever its exit code."""
    words = ("runuser", "-u", user, "--", "tradingctl", *arguments)
    return command(machine, *words, check=False, timeout=APT_SECONDS)


def at_terminal(machine: Machine, command: str, question: str, answer: str) -> str:
    """Type a command at a terminal, and an answer once it asks; return what it showed.

    CommandError if the command fails.
    """
    script = (
        'cd "$(mktemp -d)"; mkfifo typed; exec 3<>typed;'
        ' script -qfec "$1" shown <typed >/dev/null & asked=$!;'
        ' until grep -qsF -- "$2" shown; do kill -0 $asked; sleep 0.1; done;'
        ' printf "%s\\n" "$3" >&3; wait $asked; cat shown'
    )
    return machine.run("sh", "-euc", script, "sh", command, question, answer).stdout


def assert_healthy(machine: Machine) -> None:
    """Assert that every service runs the installed release and is good."""
    verified = tradingctl(machine, "verify")
    assert verified.returncode == 0, verified.output
    assert "release" in verified.stdout
    found = {unit["unit"]: unit["result"] for unit in verdict(machine)["units"]}
    assert found == {f"{unit}.service": "OK" for unit in UNITS}, verified.output


def verdict(machine: Machine) -> dict[str, Any]:
    """Return what ``tradingctl verify --json`` prints."""
    found: dict[str, Any] = json.loads(tradingctl(machine, "verify", "--json").stdout)
    return found


def status(machine: Machine) -> dict[str, Any]:
    """Return what ``tradingctl status --json`` prints."""
    found: dict[str, Any] = json.loads(tradingctl(machine, "status", "--json").stdout)
    return found


def installed(machine: Machine) -> dict[str, str]:
    """Return the version of every package of ours that is installed and configured."""
    form = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
    listed = command(machine, "dpkg-query", "-W", "-f", form).stdout.splitlines()
    rows = [line.split("\t") for line in listed]
    ours = (*PACKAGES, KEYRING, "trading-ibgateway")
    return {name: version for name, state, version in rows if name in ours and state == "ii "}


def active_units(machine: Machine) -> list[str]:
    """Return which of the four units are active."""
    return [u for u in UNITS if machine.systemctl_show(f"{u}.service")["ActiveState"] == "active"]


def last_good(machine: Machine) -> dict[str, Any] | None:
    """Return the record of the release that was verified last, None if there is none."""
    path = "/var/lib/trading/last-good.json"
    if command(machine, "test", "-e", path, check=False).returncode != 0:
        return None
    record: dict[str, Any] = json.loads(machine.read(path))
    return record


def setting(machine: Machine, path: str, name: str) -> str:
    """Return the value of a variable in one of the files under /etc/trading."""
    (value,) = re.findall(rf"^{name}=(.*)$", machine.read(path), re.MULTILINE)
    return str(value)


def dashboard_login(machine: Machine) -> tuple[str, str]:
    """Return the user and the generated password of the dashboard."""
    return (
        setting(machine, "/etc/trading/traderunner.env", "DASHBOARD_USER"),
        setting(machine, "/etc/trading/secrets/traderunner.env", "DASHBOARD_PASS"),
    )


def rows(machine: Machine, database: str, query: str) -> list[dict[str, Any]]:
    """Return what a query of one of the services' databases gives."""
    text = command(machine, "sqlite3", "-readonly", "-json", database, query).stdout
    found: list[dict[str, Any]] = json.loads(text or "[]")
    return found


def post_intent(machine: Machine, key: str, symbol: str = "HOOD") -> int:
    """Post an order intent under an idempotency key and return the status of the answer."""
    body = json.dumps({"symbol": symbol, "side": "BUY", "quantity": 1}).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    return machine.http(INTENTS, method="POST", headers=headers, body=body).status


def intents(machine: Machine) -> list[dict[str, Any]]:
    """Return the stored order intents."""
    return rows(machine, INTENTS_DB, "SELECT * FROM order_intents ORDER BY id")


def planned_intent(machine: Machine, key: str) -> dict[str, Any]:
    """Return an order intent once the worker has handled it."""

    def handled() -> dict[str, Any] | None:
        (row,) = (each for each in intents(machine) if each["idempotency_key"] == key)
        return row if row["status"] != "received" else None

    row = machine.wait_until(handled, 30, "the worker")
    assert row is not None
    return row


def next_command(output: str) -> str:
    """Return the one command that a failing installation tells the administrator to type."""
    (found,) = re.findall(r"^next: (.+)$", output, re.MULTILINE)
    return str(found)
