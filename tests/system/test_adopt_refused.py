"""What cannot be taken over is refused before anything is touched, with what to do about it.

No service is stopped for it, and when the reason is gone the same command takes everything over.
"""

from __future__ import annotations

import pytest
from tests.system.handmade import (
    ADMIN,
    HandMade,
    await_by_hand,
    databases,
    hand_made_server,
    invocations,
    keys,
    look_at,
    say_production,
    tree,
)
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.rollback import assert_in_service
from tests.system.stack import UNITS, install_stack

pytestmark = pytest.mark.system

INTENTS = f"{tree('automatictrader-api')}/data/automatictrader.db"


def refusal(machine: Machine, running: tuple[str, ...] = tuple(UNITS)) -> str:
    """Install the stack, assert that this changes nothing, and return what is said about it."""
    before, ran = look_at(machine), invocations(machine)
    done = install_stack(machine, check=False)
    assert done.returncode == 100, done.output
    await_by_hand(machine, running)
    assert look_at(machine).differs(before) == []
    assert invocations(machine) == ran, "no service was stopped"
    assert "\n  next: " in done.output, done.output
    return done.output


def assert_taken_over(machine: Machine, project: Project) -> None:
    """Assert that the same command takes everything over now."""
    written = {database: keys(machine, database) for database in databases()}
    install_stack(machine)
    assert_in_service(machine, project, project.release)
    for database, rows in written.items():
        assert rows <= keys(machine, database)


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_too_little_room(hand_made: HandMade, slim: Project) -> None:
    # In memory, of a size of its own: a full disk of this machine's would fail other tests.
    with hand_made_server(hand_made, slim, storage="memory", size="4G") as machine:
        say_production(machine)
        # Room for the packages, and none for what the databases need.
        notes = "CREATE TABLE notes (x); INSERT INTO notes VALUES (zeroblob(400000000))"
        machine.run("runuser", "-u", ADMIN, "--", "sqlite3", INTENTS, notes)
        free = int(machine.sh("df --output=avail -B1 /opt | tail -1").stdout)
        machine.run("fallocate", "-l", str(free - 300_000_000), "/root/filler")
        said = refusal(machine)
        assert "MB" in said
        assert "next: df -h" in said
        machine.run("rm", "/root/filler")
        assert_taken_over(machine, slim)


def test_damaged_database(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        # A table that no service reads any more: only a look at the whole database finds it.
        sql = "CREATE TABLE old (x PRIMARY KEY); INSERT INTO old SELECT randomblob(2000) FROM ticks"
        database = f"{tree('marketdata-stream')}/data/market_data.db"
        machine.run("systemctl", "stop", "marketdata-stream")
        machine.run("runuser", "-u", ADMIN, "--", "sqlite3", database, sql)
        page = machine.run(
            *("sqlite3", database, "SELECT rootpage FROM sqlite_master WHERE name LIKE '%old_1'")
        ).stdout.strip()
        machine.sh(
            f"dd if=/dev/urandom of={database} bs=4096 seek=$(({page} - 1)) count=1 conv=notrunc"
        )
        machine.run("systemctl", "start", "marketdata-stream")
        await_by_hand(machine)
        said = refusal(machine)
        assert "market_data.db" in said
        assert "integrity" in said


def test_port_that_somebody_else_holds(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        machine.run("systemctl", "disable", "--now", "trading-dashboard-v2")
        server = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "9001")
        machine.run("systemd-run", "--quiet", "--unit=reports", "--", *server)
        machine.wait_for_http("http://127.0.0.1:9001/")
        running = tuple(unit for unit in UNITS if unit != "trading-dashboard-v2")
        said = refusal(machine, running)
        pid = machine.systemctl_show("reports.service", "MainPID")["MainPID"]
        assert "port 9001" in said
        assert f"process {pid}" in said
        assert "reports.service" in said
        assert machine.http("http://127.0.0.1:9001/").status == 200
        machine.run("systemctl", "stop", "reports")
        machine.run("systemctl", "enable", "--now", "trading-dashboard-v2")
        await_by_hand(machine)
        assert_taken_over(machine, slim)


def test_process_that_was_started_by_hand(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        # As after an evening of looking for something, in a shell that is still open.
        folder = tree("automatictrader-api")
        script = (
            f"cd {folder} && set -a && . ./.env && AT_WORKER_MODE=plan-only"
            " exec .venv/bin/python worker.py"
        )
        with machine.start("runuser", "-u", ADMIN, "--", "sh", "-euc", script) as started:
            machine.wait_until(lambda: "started, mode plan-only" in started.output(), 20, "it")
            said = refusal(machine)
            assert "worker.py" in said
            assert not started.ended


def test_worker_that_sends_orders_where_nobody_said_production(
    hand_made: HandMade, slim: Project
) -> None:
    with hand_made_server(hand_made, slim) as machine:
        said = refusal(machine)
        assert "AT_WORKER_MODE is paper-send in " in said
        assert ", and this machine is staging" in said
        assert "next: tradingctl environment production" in said
        machine.run("tradingctl", "environment", "production")
        assert_taken_over(machine, slim)
        environment = machine.read("/etc/trading/secrets/automatictrader-api.env")
        assert "AT_WORKER_MODE=paper-send" in environment
