"""A server laid out by hand: one `apt-get install` takes it over, one command gives it back.

It is in use all the time: intents are posted, rows are written, and every service is asked what
code it runs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.handmade import (
    ADMIN,
    BASE,
    BY_HAND,
    CRONTAB,
    DATABASES,
    DROP_IN,
    HEALTHY_SECONDS,
    LOAD,
    SECRETS,
    TREES,
    WRITTEN,
    HandMade,
    assert_settings_in_force,
    await_by_hand,
    crontab_commands,
    databases,
    hand_made_server,
    invocations,
    keys,
    look_at,
    post_intent,
    say_production,
    tree,
)
from tests.system.load import SERVICES, under_load
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.rollback import assert_in_service, await_settled, events, exists
from tests.system.stack import (
    ARCHIVE,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    at_terminal,
    install_stack,
    planned_intent,
    rows,
    tradingctl,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
ASIDE = f"{BASE}/adopted"
BEGINS_LOG = "import os, sys; os.umask(0o022); os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o660)"


def test_dry_run_says_everything_before_anything_is_installed(
    hand_made: HandMade, slim: Project
) -> None:
    with hand_made_server(hand_made, slim) as machine:
        before, ran = look_at(machine), invocations(machine)
        folder = "/root/unpacked"
        debs = machine.run("find", f"{ARCHIVE}/pool", "-name", "*.deb").stdout.split()
        machine.sh(" && ".join(f"dpkg-deb -x {deb} {folder}" for deb in debs))
        program = f"{folder}/usr/share/traderunner-common/tradingctl"
        shown = machine.run("python3", "-IB", program, "adopt", "--dry-run").stdout
        wanted = [*TREES, *(f"{unit}.service" for unit in UNITS), DROP_IN, f"{CRONTAB}:7"]
        wanted += [name for found in DATABASES.values() for name in found]
        wanted += ["AT_BEARER_TOKEN", "paper-send", "1 tracked files changed by hand", ASIDE]
        assert [each for each in wanted if each not in shown] == []
        assert [each for each in SECRETS if each in shown] == []

        assert look_at(machine).differs(before) == []
        assert invocations(machine) == ran
        assert not exists(machine, "/var/lib/trading")
        assert machine.run("ls", "/etc/trading").stdout == "trading.yaml\n"


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_one_command_takes_everything_over(
    hand_made: HandMade, slim: Project, record_property: Callable[[str, object], None]
) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        before = look_at(machine)
        written = {database: keys(machine, database) for database in databases()}
        report = f"{tree('traderunner')}/artifacts/backtests/today.html"
        machine.run("runuser", "-u", ADMIN, "--", "touch", report)
        inode = machine.run("stat", "-c", "%i", report).stdout

        with under_load(machine, **LOAD) as load:
            done = install_stack(machine)
            load.wait_for_rows(5)
        record_property("adoption", load.report())

        # The services are the packaged ones, and each changed its code once.
        assert_in_service(machine, slim, slim.release)
        assert ("adopted", slim.release) in events(machine)
        for service in SERVICES:
            commit = slim.commits[UNITS[service]]
            assert load.answers().commits(service) == [BY_HAND, commit]
        for unit in UNITS:
            shown = machine.systemctl_show(f"{unit}.service", "FragmentPath", "User")
            assert shown["FragmentPath"].endswith(f"/lib/systemd/system/{unit}.service")
            assert shown["User"] == "trading"
        assert_settings_in_force(machine)
        assert "/opt/trading/marketdata-stream/data" in machine.read("/etc/trading/trading.yaml")

        # No row is lost, and where the databases were nothing is touched.
        for database, known in written.items():
            assert known <= keys(machine, database)
            assert known <= keys(machine, database.replace(BASE, ASIDE))

        # The trees are aside as they were; what takes room was moved, not copied.
        for name in TREES:
            aside = name.replace(BASE, ASIDE)
            apart = [each.replace(BASE, ASIDE) for each in (*WRITTEN, f"{name}/artifacts")]
            now = look_at(machine, aside, apart=apart).below(aside, name)
            was = before.below(name).without(f"{name}/artifacts")
            assert now.differs(was) == []
        assert machine.run("stat", "-c", "%i", report).stdout == inode
        assert exists(machine, report.replace("today", "momentum (Oct 2026)"))

        # What was the administrator's own stays.
        assert machine.systemctl_show("automatictrader-worker.service")["Nice"] == "5"
        assert DROP_IN in done.output
        assert [each for each in SECRETS if each in done.output] == []
        assert [each for each in SECRETS if each in machine.journal(lines=5000)] == []


def test_legacy_paths_work_for_the_administrators_own_scripts(
    hand_made: HandMade, slim: Project
) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        before = crontab_commands(machine)
        done = install_stack(machine)

        # Only the line that starts a program by itself, which would run twice, is out of use.
        stay = [line for line in before if "pgrep" not in line]
        assert len(stay) == len(before) - 1
        assert crontab_commands(machine) == stay
        kept = machine.run("stat", "-c", "%U:%G %a", CRONTAB).stdout
        assert kept == f"{ADMIN}:crontab 600\n"
        assert f"{CRONTAB}:3: starts or stops" in done.output
        for line in stay:
            if "systemctl" not in line:
                as_admin(machine, line.split(None, 5)[5])
        assert machine.read(f"/home/{ADMIN}/intents.txt").strip() == "3"

        # They may write, while the services run and while they do not.
        note = "CREATE TABLE IF NOT EXISTS notes (x); INSERT INTO notes VALUES (1)"
        for database in databases():
            as_admin(machine, f'sqlite3 {database} "{note}"')
        as_admin(machine, f"echo AMD >>{tree('traderunner')}/data/watchlist.csv")
        assert machine.read(f"{tree('traderunner')}/data/watchlist.csv") == "HOOD\nPLTR\nAMD\n"
        machine.run("systemctl", "stop", *UNITS)
        for database in databases():
            as_admin(machine, f'sqlite3 {database} "{note}"')
            # A script of root's that is just about to open it, as SQLite does.
            machine.run("python3", "-c", BEGINS_LOG, f"{database}-shm")
        machine.run("systemctl", "start", *UNITS)
        assert_healthy(machine)
        assert post_intent(machine, "after the scripts") == 201
        planned_intent(machine, "after the scripts")
        for database in databases():
            assert rows(machine, database, "SELECT x FROM notes") == [{"x": 1}, {"x": 1}]


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_release_that_fails_gives_everything_back(hand_made: HandMade, releases: Releases) -> None:
    project = releases("answers_500", "good3")
    _, failing, good = project.releases
    with hand_made_server(hand_made, project) as machine:
        say_production(machine)
        before = look_at(machine)
        project.publish(failing)
        with under_load(machine, **LOAD) as load:
            failed = install_stack(machine, check=False)
            load.wait_for_rows(5)
            # Rows are also written by a script, while a service is still about to start.
            machine.wait_until(
                lambda: {load.answers().commits(each)[-1] for each in SERVICES} == {BY_HAND},
                HEALTHY_SECONDS,
                "an answer of each service by hand",
            )

        assert failed.returncode == 100
        assert "got       status 500 broken on purpose" in failed.output
        await_by_hand(machine)
        assert look_at(machine).differs(before) == []
        assert_settings_in_force(machine)
        machine.reboot(degraded_ok=True)
        await_by_hand(machine)

        # A later release is taken over to by the same command as the first.
        project.publish(good)
        with under_load(machine, **LOAD) as load:
            install_stack(machine)
            load.wait_for_rows(5)
        assert_in_service(machine, project, good)
        assert_settings_in_force(machine)


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_undo_after_a_day_loses_nothing(hand_made: HandMade, releases: Releases) -> None:
    project = releases("good2")
    with hand_made_server(hand_made, project) as machine:
        say_production(machine)
        before = look_at(machine)
        project.publish(project.releases[0])
        install_stack(machine)
        trees = look_at(machine, *TREES)

        # A day of new rows, files and reports.
        with under_load(machine, **LOAD) as load:
            load.wait_for_rows(20)
            as_services(machine, f"echo AMD >>{tree('traderunner')}/data/watchlist.csv")
            report = f"{tree('traderunner')}/artifacts/backtests/a day later.html"
            as_services(machine, f"echo '<p>one trade</p>' >'{report}'")

            shown = tradingctl(machine, "adopt", "--undo", "--dry-run")
            assert shown.returncode == 0, shown.output
            asked = tradingctl(machine, "adopt", "--undo")
            assert asked.returncode != 0, "who is not there to answer does not agree"
            assert "--yes" in asked.output
            assert look_at(machine, *TREES).differs(trees) == []
            assert_healthy(machine)

            undone = tradingctl(machine, "adopt", "--undo", "--yes")
            assert undone.returncode == 0, undone.output
            load.wait_for_rows(5)
        await_by_hand(machine)
        assert_settings_in_force(machine)
        assert look_at(machine).differs(before) == [report]
        assert machine.read(f"{tree('traderunner')}/data/watchlist.csv") == "HOOD\nPLTR\nAMD\n"
        assert [each for each in SECRETS if each in shown.output + undone.output] == []

        # No upgrade takes over again what was given back; the administrator does.
        project.publish()
        install_stack(machine, check=False)
        await_by_hand(machine)
        machine.reboot(degraded_ok=True)
        await_by_hand(machine)
        with under_load(machine, **LOAD) as load:
            again = tradingctl(machine, "adopt")
            assert again.returncode == 0, again.output
            load.wait_for_rows(5)
        assert_healthy(machine)
        assert_settings_in_force(machine)
        assert exists(machine, report)


def test_purge_after_an_undo_leaves_everything_by_hand(hand_made: HandMade, slim: Project) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        before = look_at(machine)
        install_stack(machine)
        await_settled(machine)  # it holds dpkg's lock for a moment more
        shown = at_terminal(machine, "tradingctl adopt --undo", "Undo it? [y/N]", "yes")
        assert "to take it over again: tradingctl adopt" in shown
        await_by_hand(machine)
        # dpkg's helper knows the links that enable the units since then.
        packages = ["traderunner-stack", "automatictrader-api", "marketdata-stream", "traderunner"]
        apt(machine, "install", "--reinstall", *packages[1:])
        apt(machine, "purge", "--allow-remove-essential", *packages, "traderunner-common")
        settings = [f"/etc/trading/{component}.env" for component in packages[1:]]
        assert set(look_at(machine).differs(before)) <= set(settings)
        machine.reboot(degraded_ok=True)
        await_by_hand(machine)
        for unit in UNITS:
            assert machine.systemctl_show(f"{unit}.service")["UnitFileState"] == "enabled"


def test_worker_that_was_put_aside_sends_nothing_after_a_reboot_either(
    hand_made: HandMade, slim: Project
) -> None:
    with hand_made_server(hand_made, slim) as machine:
        say_production(machine)
        machine.run("systemctl", "disable", "--now", "automatictrader-worker")
        install_stack(machine)
        machine.reboot()
        shown = machine.systemctl_show("automatictrader-worker.service")
        assert (shown["ActiveState"], shown["UnitFileState"]) == ("inactive", "disabled")
        others = [unit for unit in UNITS if unit != "automatictrader-worker"]
        machine.wait_until(lambda: active_units(machine) == others, 60, "the others")
        assert post_intent(machine, "nobody handles this") == 201


def as_admin(machine: Machine, script: str) -> str:
    """Run a shell script as the administrator does after logging in, and return what it prints."""
    return machine.run("runuser", "-l", ADMIN, "-c", script).stdout


def as_services(machine: Machine, script: str) -> None:
    """Run a shell script with the account of the packaged services."""
    machine.run("runuser", "-u", "trading", "--", "sh", "-euc", script)
