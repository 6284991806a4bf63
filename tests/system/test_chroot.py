"""Where no service can run or may run, installing works, says SKIPPED and records nothing as good.

And the other end of a package's life: what is left when all packages are removed and purged.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.machine import Machine, Result
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
    last_good,
    off_server,
    planned_intent,
    post_intent,
    server,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

POLICY = "/usr/sbin/policy-rc.d"
# Where packages of ours, their scripts and systemd leave things; the rest of it changes by itself.
LOOKED_AT = ("/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var")
CHANGES_BY_ITSELF = (
    *("/etc/.pwd.lock", "/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-"),
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ld.so.cache"),
    *("/srv/traderunner", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/tmp"),
    *("/var/log/apt", "/var/log/dpkg.log", "/var/log/journal", "/var/log/alternatives.log"),
    *("/var/lib/systemd/timers", "/var/lib/systemd/random-seed", "/var/log/wtmp"),
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


def purge_everything(machine: Machine) -> Result:
    """Purge all packages of ours."""
    return apt(machine, "purge", *PACKAGES, KEYRING)


def account_exists(machine: Machine) -> bool:
    return machine.run("id", "trading", check=False).returncode == 0


def test_chroot_is_skipped_and_its_first_boot_is_good(base: Path, release: Project) -> None:
    with off_server(base, release) as machine:
        install_keyring(machine, release)
        done = install_stack(machine)
        assert "SKIPPED: systemd is not running" in done.output
        assert "OK" not in done.output
        assert last_good(machine) is None
        verified = tradingctl(machine, "verify")
        assert (verified.returncode, verified.stdout) == (4, "SKIPPED: systemd is not running\n")
        assert tradingctl(machine, "status").returncode == 0

        machine.boot()
        assert active_units(machine) == list(UNITS)
        assert_healthy(machine)
        assert last_good(machine) is None, "nobody asked the gate yet"


def test_policy_disabled_and_masked_units_are_skipped(base: Path, release: Project) -> None:
    with server(base, release) as machine:
        machine.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
        done = install_stack(machine)
        assert "SKIPPED: policy-rc.d forbids to start services" in done.output
        assert active_units(machine) == []
        assert last_good(machine) is None
        assert tradingctl(machine, "verify").returncode == 4

        machine.run("rm", POLICY)
        machine.run("systemctl", "disable", "marketdata-stream.service")
        machine.run("systemctl", "mask", "trading-dashboard-v2.service")
        again = apt(machine, "install", "--reinstall", *PACKAGES)
        assert "SKIPPED  marketdata-stream.service" in plain(again.output)
        assert "SKIPPED  trading-dashboard-v2.service" in plain(again.output)
        assert active_units(machine) == ["automatictrader-api", "automatictrader-worker"]
        found = {
            unit["unit"]: (unit["result"], unit["reason"]) for unit in verdict(machine)["units"]
        }
        assert found == {
            "marketdata-stream.service": ("SKIPPED", "disabled by the administrator"),
            "automatictrader-api.service": ("OK", ""),
            "automatictrader-worker.service": ("OK", ""),
            "trading-dashboard-v2.service": ("SKIPPED", "masked by the administrator"),
        }
        record = last_good(machine)
        assert record is not None
        assert record["units"]["marketdata-stream.service"] == "SKIPPED"


def plain(text: str) -> str:
    """Return a text without colours."""
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[36m", "\033[0m"):
        text = text.replace(code, "")
    return text


def test_remove_keeps_and_purge_leaves_the_data_alone(base: Path, release: Project) -> None:
    with off_server(base, release) as machine:
        machine.boot()
        before = files(machine)
        install_keyring(machine, release)
        machine.run("rm", f"/root/{KEYRING}.deb")
        install_stack(machine)
        post_intent(machine, "kept")
        row = planned_intent(machine, "kept")
        owner = machine.run("id", "-u", "trading").stdout

        removed = apt(machine, "remove", *PACKAGES)
        assert installed(machine) == {KEYRING: installed(machine)[KEYRING]}
        assert active_units(machine) == []
        assert machine.run("pgrep", "-u", "trading", check=False).stdout == ""
        assert machine.run("ls", "/etc/trading/secrets").stdout.split()
        assert "warning" not in removed.output

        purged = purge_everything(machine)
        for component in ("automatictrader-api", "marketdata-stream", "traderunner"):
            told = f"{component}: the data stays in /var/lib/trading/{component}"
            assert told in purged.output
        left = added(before, files(machine))
        data = "/var/lib/trading"
        assert [path for path in left if path != data and not path.startswith(f"{data}/")] == []
        kept = [path for path in left if path.endswith(".db")]
        assert kept == [
            f"{data}/automatictrader-api/data/automatictrader.db",
            f"{data}/marketdata-stream/data/market_data.db",
            f"{data}/marketdata-stream/data/signals.db",
        ]
        assert account_exists(machine), "it owns the data"
        assert "its owner, the user trading, stays too" in purged.output

        install_keyring(machine, release)
        install_stack(machine)
        assert_healthy(machine)
        assert machine.run("id", "-u", "trading").stdout == owner
        again = machine.run("sqlite3", "-json", kept[0], "SELECT * FROM order_intents").stdout
        assert row["idempotency_key"] in again, "a later installation finds the data"


def test_purge_of_what_never_ran_leaves_nothing(base: Path, release: Project) -> None:
    with off_server(base, release) as machine:
        machine.boot()
        before = files(machine)
        install_keyring(machine, release)
        machine.run("rm", f"/root/{KEYRING}.deb")
        machine.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
        install_stack(machine)
        machine.run("rm", POLICY)
        purged = purge_everything(machine)
        assert added(before, files(machine)) == []
        assert "stays" not in purged.output
