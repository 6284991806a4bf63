"""The server that was laid out by hand is what it is said to be, before anything is installed."""

from __future__ import annotations

import pytest
from tests.system.handmade import (
    ADMIN,
    BY_HAND,
    DISK,
    DROP_IN,
    LOAD,
    HandMade,
    assert_settings_in_force,
    await_by_hand,
    databases,
    hand_made_server,
    look_at,
    tree,
)
from tests.system.load import SERVICES, under_load
from tests.system.project import Project
from tests.system.stack import UNITS, installed

pytestmark = pytest.mark.system


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_services_laid_out_by_hand_run_and_write(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        assert set(installed(machine)) == {"traderunner-archive-keyring"}
        assert machine.run("id", "trading", check=False).returncode != 0
        assert_settings_in_force(machine)
        for database in databases():
            mode = machine.run("sqlite3", "-readonly", database, "PRAGMA journal_mode").stdout
            assert mode == "wal\n"
            assert machine.run("stat", "-c", "%U", f"{database}-wal").stdout == f"{ADMIN}\n"
        assert machine.systemctl_show("automatictrader-worker.service")["Nice"] == "5"
        assert machine.systemctl_show("automatictrader-worker.service")["DropInPaths"] == DROP_IN

        with under_load(machine, **LOAD) as load:
            load.wait_for_rows(5)
        for service in SERVICES:
            assert load.answers().commits(service) == [BY_HAND]


def test_trees_are_what_they_are_said_to_be(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        git = ("runuser", "-u", ADMIN, "--", "git", "-C")
        changed = machine.run(*git, tree("traderunner"), "status", "--porcelain").stdout
        assert changed.splitlines() == [" M trading_dashboard/app.py", "?? count-intents.sh"]
        clean = machine.run(*git, tree("automatictrader-api"), "status", "--porcelain").stdout
        assert clean == ""
        devices = machine.run("stat", "-L", "-c", "%d", f"{tree('marketdata-stream')}/data", "/opt")
        assert len(set(devices.stdout.split())) == 2, f"{DISK} is another disk"


def test_fingerprint_sees_what_changes_and_no_more(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        before = look_at(machine)
        machine.run("systemctl", "restart", *UNITS)
        await_by_hand(machine)
        assert look_at(machine).differs(before) == []
        path = f"{tree('traderunner')}/core/paths.py"
        for change in (("touch", path), ("chown", "root", path), ("chmod", "600", path)):
            was = look_at(machine)
            machine.run(*change)
            assert look_at(machine).differs(was) == [path], change
        machine.run("systemctl", "disable", "marketdata-stream")
        link = "/etc/systemd/system/multi-user.target.wants/marketdata-stream.service"
        assert link in look_at(machine).differs(before)
