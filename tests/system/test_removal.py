"""The end of a package's life: what is removed, what is asked, what is left, and what finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.load import under_load
from tests.system.machine import Machine, Result, Snapshot
from tests.system.project import Project
from tests.system.stack import (
    KEYRING,
    PACKAGES,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    install_keyring,
    install_stack,
    installed,
    installed_server,
    off_server,
    planned_intent,
    post_intent,
    tradingctl,
)

pytestmark = pytest.mark.system

POLICY = "/usr/sbin/policy-rc.d"
DATA = "/var/lib/trading"
BACKUPS = "/var/backups/trading"
COMPONENTS = ("automatictrader-api", "marketdata-stream", "traderunner")
DATABASES = [
    f"{DATA}/automatictrader-api/data/automatictrader.db",
    f"{DATA}/marketdata-stream/data/market_data.db",
    f"{DATA}/marketdata-stream/data/signals.db",
]
# Where packages of ours, their scripts and systemd leave things; the rest of it changes by itself.
LOOKED_AT = ("/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var")
CHANGES_BY_ITSELF = (
    *("/etc/.pwd.lock", "/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-"),
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ld.so.cache"),
    *("/srv/traderunner", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/tmp"),
    *("/var/log/apt", "/var/log/dpkg.log", "/var/log/journal", "/var/log/alternatives.log"),
    *("/var/lib/systemd/timers", "/var/lib/systemd/random-seed", "/var/log/wtmp"),
    # ucf's own record, of which it keeps some generations.
    "/var/lib/ucf",
)


def files(machine: Machine) -> set[str]:
    """Return every path, with kind, mode and owner, except of what changes by itself."""
    pruned = [word for path in CHANGES_BY_ITSELF for word in ("-path", path, "-o")][:-1]
    listed = machine.run(
        *("find", *LOOKED_AT, "-xdev", "(", *pruned, ")", "-prune"),
        *("-o", "-printf", "%y %m %U %p\\n"),
    )
    return set(listed.stdout.splitlines())


def added(before: set[str], after: set[str]) -> list[str]:
    """Return the paths that are new; none that was there may be gone or differ."""
    assert before - after == set()
    return sorted(line.split(" ", 3)[3] for line in after - before)


def outside(paths: list[str], *folders: str) -> list[str]:
    """Return those of the paths that are neither one of the folders nor below one."""
    return [path for path in paths if not any(f"{path}/".startswith(f"{f}/") for f in folders)]


def purge_everything(machine: Machine) -> Result:
    """Purge all packages of ours, as the README says."""
    return apt(machine, "purge", "--allow-remove-essential", *PACKAGES, KEYRING)


def recorded_settings(machine: Machine) -> str:
    """Return what ucf still knows of our settings."""
    return machine.sh("grep -h /etc/trading /var/lib/ucf/hashfile /var/lib/ucf/registry",
                      check=False).stdout  # fmt: skip


def exists(machine: Machine, path: str) -> bool:
    return machine.run("test", "-e", path, check=False).returncode == 0


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_remove_keeps_and_purge_leaves_the_data_and_backups_alone(
    os_base: Path, slim: Project
) -> None:
    with off_server(os_base, slim) as machine:
        machine.boot()
        before = files(machine)
        install_keyring(machine, slim)
        machine.run("rm", f"/root/{KEYRING}.deb")
        install_stack(machine)
        post_intent(machine, "kept")
        row = planned_intent(machine, "kept")
        owner = machine.run("id", "-u", "trading").stdout
        assert tradingctl(machine, "backup").returncode == 0

        removed = apt(machine, "remove", "--allow-remove-essential", *PACKAGES)
        assert installed(machine) == {KEYRING: installed(machine)[KEYRING]}
        assert active_units(machine) == []
        assert machine.run("pgrep", "-u", "trading", check=False).stdout == ""
        assert machine.run("ls", "/etc/trading/secrets").stdout.split()
        assert exists(machine, "/etc/trading/traderunner.env")
        assert "warning:" not in removed.output.replace("dpkg: warning:", "")

        purged = purge_everything(machine)
        for component in COMPONENTS:
            assert f"{component}: the data stays in {DATA}/{component}" in purged.output
        for kept in (DATA, BACKUPS):
            assert f"traderunner-common: data stays in {kept}; its owner" in purged.output
        left = added(before, files(machine))
        assert outside(left, DATA, BACKUPS) == []
        assert [
            path for path in left if path.startswith(DATA) and path.endswith(".db")
        ] == DATABASES
        assert outside(left, BACKUPS, *(f"{DATA}/{each}" for each in COMPONENTS)) == [DATA]
        assert any(path.startswith(f"{BACKUPS}/") for path in left)
        assert recorded_settings(machine) == ""
        assert machine.run("id", "trading", check=False).returncode == 0, "it owns the data"

        install_keyring(machine, slim)
        install_stack(machine)
        assert_healthy(machine)
        assert machine.run("id", "-u", "trading").stdout == owner
        again = machine.run("sqlite3", "-json", DATABASES[0], "SELECT * FROM order_intents").stdout
        assert row["idempotency_key"] in again, "a later installation finds the data"


def test_purge_of_what_never_ran_leaves_nothing(os_base: Path, slim: Project) -> None:
    with off_server(os_base, slim) as machine:
        machine.boot()
        before = files(machine)
        install_keyring(machine, slim)
        machine.run("rm", f"/root/{KEYRING}.deb")
        machine.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
        install_stack(machine)
        machine.run("rm", POLICY)
        purged = purge_everything(machine)
        assert added(before, files(machine)) == []
        assert "stays" not in purged.output


def test_what_debconf_was_told_to_delete_is_deleted_and_nothing_else(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        machine.write(f"{BACKUPS}/old", "a backup\n")
        machine.write("/etc/trading/backup.env", "RESTIC_PASSWORD=secret\n", 0o600)
        answer(machine, "marketdata-stream", True)
        answer(machine, "traderunner", False)
        purged = apt(machine, "purge", "--allow-remove-essential", *PACKAGES)
        assert f"marketdata-stream: deleting the data in {DATA}/marketdata-stream" in purged.output
        assert not exists(machine, f"{DATA}/marketdata-stream")
        assert exists(machine, DATABASES[0])
        assert exists(machine, f"{DATA}/traderunner/artifacts")
        assert exists(machine, f"{BACKUPS}/old")
        assert machine.run("ls", "/etc/trading").stdout == "backup.env\n"
        assert "/etc/trading/backup.env stays" in purged.output

        # An answer holds for one purge: nobody finds a year later that it was still there.
        install_stack(machine)
        answer(machine, "traderunner-common", True)
        purged = apt(machine, "purge", "--allow-remove-essential", *PACKAGES)
        assert exists(machine, f"{DATA}/marketdata-stream/data/signals.db")
        assert f"deleting the backups in {BACKUPS}" in purged.output
        assert not exists(machine, BACKUPS)
        assert not exists(machine, "/etc/trading")
        assert exists(machine, DATABASES[0])


def answer(machine: Machine, package: str, delete: bool) -> None:
    """Answer the question of a package before it is asked, as automation does."""
    line = f"{package} {package}/purge-data boolean {str(delete).lower()}\n"
    machine.run("debconf-set-selections", stdin=line)


def test_purge_without_tradingctl_ucf_and_debconf(installed_slim: Snapshot, slim: Project) -> None:
    with installed_server(installed_slim, slim) as machine:
        apt(machine, "remove", "--allow-remove-essential", *PACKAGES)
        # Something else than apt got rid of them, and of what they depend on.
        machine.run("dpkg", "--purge", "traderunner-common")
        machine.run("dpkg", "--purge", "--force-depends", "ucf")
        machine.run("mv", "/usr/share/debconf", "/usr/share/debconf.away")
        for component in COMPONENTS:
            purged = machine.run("dpkg", "--purge", component)
            assert f"{component}: the data stays in" in purged.output
        assert not exists(machine, "/etc/trading")
        assert exists(machine, DATABASES[0])


def test_remove_of_one_component_is_refused(installed_slim: Snapshot, slim: Project) -> None:
    with installed_server(installed_slim, slim) as machine:
        before = installed(machine)
        for words in (("remove", "marketdata-stream"), ("purge", "traderunner-common")):
            refused = apt(machine, *words, check=False)
            assert refused.returncode == 100
            assert "traderunner-stack" in refused.output
        assert installed(machine) == before
        assert active_units(machine) == list(UNITS)
        assert_healthy(machine)


def test_one_component_removed_on_purpose_with_the_stack_comes_back(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        gone = ("marketdata-stream", "traderunner-stack")
        # Rows are also written to the data of the one that goes.
        with under_load(machine) as load:
            apt(machine, "remove", "--allow-remove-essential", *gone)
            load.wait_for_rows(5)
            left = {*installed(machine)}
            assert not left & {*gone}
            assert {"automatictrader-api", "traderunner", "traderunner-common"} <= left
            assert active_units(machine) == [unit for unit in UNITS if unit != "marketdata-stream"]
            assert exists(machine, "/etc/trading/marketdata-stream.env")
            assert exists(machine, f"{DATA}/marketdata-stream/data/signals.db")
            install_stack(machine)
            assert_healthy(machine)
