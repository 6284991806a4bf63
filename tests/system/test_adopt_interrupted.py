"""Taking over that is cut short, at each of its steps, and a server with one of the three alone."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from tests.system.faults import power_cut
from tests.system.handmade import (
    CRONTAB,
    LOAD,
    UNIT_FOLDER,
    WRITTEN,
    HandMade,
    assert_settings_in_force,
    await_by_hand,
    databases,
    hand_made_server,
    keys,
    look_at,
    post_intent,
    say_production,
    take_away,
    tree,
)
from tests.system.load import under_load
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.rollback import assert_in_service, await_settled
from tests.system.stack import (
    UNITS,
    active_units,
    apt,
    assert_healthy,
    install_stack,
    tradingctl,
)

pytestmark = pytest.mark.system

ADOPTION = "/var/lib/trading/adoption/record.json"
MOST_STEPS = 99
INSTALL = ("apt-get", "-y", "install", "traderunner-stack")

# Runs tradingctl, and dies before it writes the record for the $1-th time.
_DIES = f"""
import os, signal, sys
left = int(sys.argv.pop(1))

def watch(event, given):
    global left
    if event == "os.rename" and os.fspath(given[1]) == "{ADOPTION}":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.path.insert(0, "/usr/share/traderunner-common")
from tradingctl.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def steps(machine: Machine) -> list[dict[str, Any]]:
    """Return the steps of the last time that something was taken over."""
    found: list[dict[str, Any]] = json.loads(machine.read(ADOPTION))["adoptions"][-1]["steps"]
    return found


def times_killed(machine: Machine, *arguments: str) -> int:
    """Run tradingctl until it comes to its end, and return how often it was killed before.

    It is killed when it is about to write the record for the second time, or one time later when
    that left the record as it was: each time it comes one step further.
    """
    count, record = 2, machine.read(ADOPTION)
    for times in range(MOST_STEPS):
        argv = ("/usr/bin/python3", "-IB", "-c", _DIES, str(count), *arguments)
        done = machine.run(*argv, check=False)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.output
            return times
        before, record = record, machine.read(ADOPTION)
        count += before == record
    raise AssertionError(f"{arguments} does the same again and again")


@pytest.mark.parametrize("kind", ["stop", "database", "link"])
def test_power_cut_in_the_middle_puts_everything_back(
    hand_made: HandMade, slim: Project, kind: str
) -> None:
    moment = f'"done": true,\n          "kind": "{kind}"'
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        before = look_at(machine)
        apt(machine, "update")
        with under_load(machine, **LOAD) as load:
            power_cut(machine, INSTALL, moment, path=ADOPTION)
            machine.boot(degraded_ok=True)
            await_by_hand(machine)
            load.start()
            await_settled(machine)
        assert look_at(machine).differs(before) == []
        assert_settings_in_force(machine)

        # The command that dpkg asks for.
        machine.run("dpkg", "--configure", "-a", timeout=300)
        assert_in_service(machine, slim, slim.release)
        assert_settings_in_force(machine)


def test_killed_at_each_step_in_turn(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        before = look_at(machine)
        written = {database: keys(machine, database) for database in databases()}
        install_stack(machine)
        await_settled(machine)  # it holds dpkg's lock for a moment more
        undone = tradingctl(machine, "adopt", "--undo", "--yes")
        assert undone.returncode == 0, undone.output

        # Each time it goes on with what was done and not noted, and comes one step further.
        assert times_killed(machine, "adopt") >= len(steps(machine))
        assert_healthy(machine)
        assert_settings_in_force(machine)
        # Once the packaged worker is stopped, nobody sends the orders that the old one will send.
        undo = ("adopt", "--undo", "--yes", "--accept-orders")
        assert times_killed(machine, *undo) >= len(steps(machine))
        await_by_hand(machine)
        assert_settings_in_force(machine)
        assert look_at(machine).differs(before) == []
        for database, known in written.items():
            assert known <= keys(machine, database)


def test_taking_over_twice_changes_nothing(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        install_stack(machine)
        roots = ("/opt/trading", "/etc/trading", "/etc/systemd/system")
        after, ran = look_at(machine, *roots), active_units(machine)
        record = machine.read(ADOPTION)
        await_settled(machine)
        again = tradingctl(machine, "adopt")
        assert again.returncode == 0, again.output
        apt(machine, "install", "--reinstall", "traderunner-common", "automatictrader-api")
        machine.reboot()
        assert look_at(machine, *roots).differs(after) == []
        assert machine.read(ADOPTION) == record
        assert active_units(machine) == ran == list(UNITS)
        assert_healthy(machine)


def test_one_of_the_three_alone(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        take_away(machine, "marketdata-stream", "traderunner")
        units = ("automatictrader-api", "automatictrader-worker")
        await_by_hand(machine, units)
        folder = tree("automatictrader-api")
        roots = (folder, CRONTAB, *(f"{UNIT_FOLDER}/{unit}.service" for unit in units))
        before = look_at(machine, *roots, apart=WRITTEN)
        database = f"{folder}/data/automatictrader.db"
        known = keys(machine, database)

        install_stack(machine)
        assert_in_service(machine, slim, slim.release)
        assert_settings_in_force(machine, units)
        assert known <= keys(machine, database)
        assert post_intent(machine, "packaged") == 201

        await_settled(machine)
        undone = tradingctl(machine, "adopt", "--undo", "--yes")
        assert undone.returncode == 0, undone.output
        await_by_hand(machine, units)
        assert look_at(machine, *roots, apart=WRITTEN).differs(before) == []
        assert known < keys(machine, database)
