"""A good release: in service and verified, with every service down for one restart of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.system.handmade import invocations
from tests.system.load import SERVICES, under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import assert_in_service, events, exists, kept
from tests.system.stack import (
    apt,
    assert_healthy,
    install_stack,
    installed_server,
    rows,
    tradingctl,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
LINK = "/opt/trading/automatictrader-api"
BACKUPS = "/var/backups/trading"
TICKS = "/var/lib/trading/marketdata-stream/data/market_data.db"


def backups(machine: Machine) -> list[dict[str, Any]]:
    """Return the backups, the newest first."""
    listed = tradingctl(machine, "backup", "--list", "--json").stdout
    found: list[dict[str, Any]] = json.loads(listed)["backups"]
    return found


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_services_change_code_at_once_and_lose_no_row(
    installed_slim: Snapshot,
    releases: Releases,
    record_property: Callable[[str, object], None],
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish()
        with under_load(machine) as load:
            acknowledged = set(load.keys("intent"))
            install_stack(machine)
            load.wait_for_rows(5)
        record_property("upgrade", load.report())
        assert_in_service(machine, project, second)
        assert kept(machine) == [first, second]
        assert events(machine)[-2:] == [("install", second), ("verified", second)]
        answers = load.answers()
        for service in SERVICES:
            assert len(answers.commits(service)) == 2, (
                "each ran the old, then the new, and no other"
            )

        # What it could have spoilt was backed up while everything went on.
        (saved,) = (each for each in backups(machine) if each["kind"] == "upgrade")
        assert saved["release"] == second
        copy = f"{BACKUPS}/{saved['id']}/databases/automatictrader-api/data/automatictrader.db"
        query = "SELECT idempotency_key AS key FROM order_intents"
        held = {each["key"] for each in rows(machine, f"file:{copy}?immutable=1", query)}
        assert acknowledged
        assert acknowledged <= held


def test_releases_and_their_code_are_kept_for_the_last_three_verified(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2", "good3", "changed_settings")
    with installed_server(installed_slim, project) as machine:
        for release in project.releases[1:]:
            project.publish(release)
            install_stack(machine)
        assert kept(machine) == list(project.releases[1:])
        code = machine.run("ls", "/opt/trading/releases/automatictrader-api").stdout.split()
        assert len(code) == 3
        inodes = machine.sh(
            f"stat -c %i /usr/lib/trading/automatictrader-api/app.py $(readlink -f {LINK})/app.py"
        ).stdout.split()
        assert len(set(inodes)) == 1, "a generation costs no space of its own"
        unchanged = machine.sh("stat -c %i /var/lib/trading/releases/*/traderunner-common_*.deb")
        assert len(set(unchanged.stdout.split())) < 3, "a package of two releases is there once"


def test_generation_that_was_damaged_or_half_made_is_made_again(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first = project.releases[0]
    with installed_server(installed_slim, project) as machine:
        version = machine.run("readlink", LINK).stdout.strip().rpartition("/")[2]
        folder = f"/opt/trading/releases/automatictrader-api/{version}"
        machine.run("mkdir", "/opt/trading/releases/automatictrader-api/.new-half")
        machine.run("rm", f"{folder}/worker.py")
        machine.run("tradingctl", "activate", "automatictrader-api")
        assert exists(machine, f"{folder}/worker.py")
        assert not exists(machine, "/opt/trading/releases/automatictrader-api/.new-half")

        project.publish()
        install_stack(machine)
        machine.run("rm", f"{folder}/app.py")
        done = tradingctl(machine, "rollback", first)
        assert done.returncode == 0, done.output
        assert exists(machine, f"{folder}/app.py")
        assert_in_service(machine, project, first)


def test_code_is_copied_where_opt_is_another_file_system(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    releases_folder = "/opt/trading/releases"
    with installed_server(installed_slim, project) as machine:
        machine.sh(
            f"cp -a {releases_folder} /root/code && mount -t tmpfs tmpfs {releases_folder}"
            f" && cp -a /root/code/. {releases_folder}/"
            " && systemctl restart marketdata-stream automatictrader-api trading-dashboard-v2"
        )
        project.publish()
        install_stack(machine)
        assert_in_service(machine, project, second)
        devices = machine.sh(
            f"stat -c %d /usr/lib/trading/traderunner {releases_folder}/traderunner"
        ).stdout.split()
        assert len(set(devices)) == 2
        done = tradingctl(machine, "rollback", first)
        assert done.returncode == 0, done.output
        assert_in_service(machine, project, first)


def test_too_little_room_is_a_veto_with_numbers(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    # In memory, of a size of its own: a full disk of this machine's would fail other tests.
    with installed_server(installed_slim, project, storage="memory", size="2G") as machine:
        project.publish()
        free = int(machine.sh("df --output=avail -B1 /usr | tail -1").stdout)
        machine.run("fallocate", "-l", str(free - 100_000_000), "/root/filler")
        refused = install_stack(machine, check=False)
        assert refused.returncode == 100
        assert "MB free and needs" in refused.output
        assert "to unpack the packages beside the present ones" in refused.output
        assert "next: df -h" in refused.output
        assert "Unpacking" not in refused.output
        assert_in_service(machine, project, project.releases[0])
        assert events(machine)[-1] == ("vetoed", project.releases[1])

        machine.run("rm", "/root/filler")
        install_stack(machine)
        assert_in_service(machine, project, project.releases[1])


def test_database_that_cannot_be_backed_up_is_a_veto_and_its_restore_the_way_on(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        machine.run("systemctl", "stop", "trading-backup.timer")
        damage_after_a_backup(machine)
        project.publish()
        ran, made = invocations(machine), backups(machine)
        refused = install_stack(machine, check=False)
        assert refused.returncode == 100
        assert f"{TICKS} of component marketdata-stream is damaged: " in refused.output
        assert "Unpacking" not in refused.output
        assert invocations(machine) == ran, "no service was stopped"
        assert_in_service(machine, project, first)
        assert events(machine)[-1] == ("vetoed", second)
        assert backups(machine) == made

        (printed,) = re.findall(r"^  next: (.+)$", refused.output, re.MULTILINE)
        shown = machine.sh(printed).stdout
        assert shown.startswith(f"backup {made[0]['id']}, made at "), shown
        machine.sh(printed.removesuffix(" --dry-run"))
        assert_healthy(machine)
        install_stack(machine)
        assert_in_service(machine, project, second)
        assert "upgrade" in {each["kind"] for each in backups(machine)}


def damage_after_a_backup(machine: Machine) -> None:
    """Spoil a page of a database, of a table that no service reads, and have all run as before."""
    stream = "marketdata-stream.service"
    machine.run("systemctl", "stop", stream)
    sql = "CREATE TABLE old (x PRIMARY KEY); INSERT INTO old VALUES (randomblob(2000))"
    machine.run("runuser", "-u", "trading", "--", "sqlite3", TICKS, sql)
    machine.run("tradingctl", "backup")
    (page,) = rows(machine, TICKS, "SELECT rootpage FROM sqlite_master WHERE name LIKE '%old_1'")
    seek = page["rootpage"] - 1
    machine.sh(f"dd if=/dev/urandom of={TICKS} bs=4096 seek={seek} count=1 conv=notrunc")
    machine.run("systemctl", "start", stream)
    assert_healthy(machine)


@pytest.mark.parametrize(
    ("os_release", "how"),
    [("bookworm", "file"), ("bookworm", "variable"), ("trixie", "file")],
    indirect=["os_release"],
)
def test_administrator_may_skip_the_verification_and_it_is_logged(
    installed_slim: Snapshot, releases: Releases, how: str
) -> None:
    project = releases("answers_500")
    first, failing = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish()
        apt(machine, "update")
        with under_load(machine):
            if how == "file":
                machine.write("/etc/trading/skip-verify", "")
                done = apt(machine, "install", "traderunner-stack")
            else:
                done = machine.run("env", "TRADING_SKIP_VERIFY=1", "apt-get", "-y", "install",
                                   "traderunner-stack", timeout=300)  # fmt: skip
        assert f"WARNING: release {failing} is not verified" in done.output
        assert events(machine)[-1] == ("skipped", failing)
        # Every request of the load has a line there, too.
        assert f"skipped {failing}" in machine.journal(lines=10_000)
        assert not exists(machine, "/var/lib/trading/transaction")
        assert kept(machine) == [first], "what was not verified is nothing to go back to"

        machine.run("rm", "-f", "/etc/trading/skip-verify")
        done = tradingctl(machine, "rollback", first)
        assert done.returncode == 0, done.output
        assert_in_service(machine, project, first)
