"""Secrets: seen by nobody, whatever is installed or backed up; and the doctor's remedies work.

The dashboard's password is generated, the bearer token and the feed's key are the administrator's.
The key is a credential: a file that systemd hands to the service and that no environment holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.stack import (
    INTENTS,
    STREAM,
    dashboard_login,
    install_stack,
    installed_server,
    tradingctl,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
TOKEN = "bearer-Token.0123456789"
KEY = "eodhd_Key/0123456789+ab"
RESTIC = "restic-Password:012345"
FEED_OVERRIDES = "/etc/trading/secrets/marketdata-stream.env"
KEY_FILE = "/etc/trading/secrets/marketdata-stream/EODHD_API_KEY"
PATTERNS = "/root/patterns"
ASKED = (
    *("backup", "backup --list", "doctor", "doctor --json", "environment", "history --json"),
    *("rollback --dry-run", "status", "status --json", "verify", "verify --json"),
)
UNITS = ("marketdata-stream", "automatictrader-api", "trading-dashboard-v2")


def set_secret(machine: Machine, variable: str, value: str) -> str:
    """Set a secret as the README says, and return what was said."""
    machine.write("/root/value", f"{value}\n", 0o600)
    return machine.sh(f"tradingctl secret {variable} </root/value; rm /root/value").output


def doctor(machine: Machine) -> list[dict[str, Any]]:
    """Return what ``tradingctl doctor --json`` finds."""
    examined = tradingctl(machine, "doctor", "--json")
    found: list[dict[str, Any]] = json.loads(examined.stdout)["findings"]
    assert examined.returncode == (1 if found else 0)
    return found


def assert_up(machine: Machine) -> None:
    """Assert that every service is good, except that the feed's other side may not be there."""
    verified = tradingctl(machine, "verify")
    assert verified.returncode == 0, verified.output


def feed_reason(machine: Machine) -> str:
    """Return why the feed is not connected: it says so if it has no key."""
    return str(machine.http(f"{STREAM}/health").json()["dependencies"]["eodhd"].get("reason", ""))


def files_with_secrets(machine: Machine) -> dict[str, int]:
    """Return every file that holds one of the secrets, with its mode."""
    listed = machine.sh(
        f"grep -rlaF -f {PATTERNS} --devices=skip /etc /home /opt /root /run /tmp /usr /var || :",
        timeout=300,
    ).stdout.splitlines()
    modes = {
        path: machine.run("stat", "-Lc", "%a", path, check=False).stdout
        for path in listed
        if path != PATTERNS
    }
    # A backup that was being made is gone meanwhile, or has another name.
    return {path: int(mode, 8) for path, mode in modes.items() if mode}


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_no_secret_is_seen_after_installation_upgrade_and_backup(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        _, password = dashboard_login(machine)
        secrets = (password, TOKEN, KEY, RESTIC)
        said = set_secret(machine, "AT_BEARER_TOKEN", TOKEN)
        said += set_secret(machine, "EODHD_API_KEY", KEY)
        machine.sh(f"echo MARKETDATA_PROVIDER=real >>{FEED_OVERRIDES}")
        machine.write("/etc/trading/backup.env", f"RESTIC_PASSWORD='{RESTIC}'\n", 0o600)
        machine.write(PATTERNS, "".join(f"{each}\n" for each in secrets), 0o600)
        said += machine.run("systemctl", "restart", *UNITS).output
        assert_up(machine)

        # All of them are in force.
        intent = json.dumps({"symbol": "HOOD", "side": "BUY", "quantity": 1}).encode()
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        assert machine.http(INTENTS, method="POST", headers=headers, body=intent).status == 401
        headers["Authorization"] = f"Bearer {TOKEN}"
        assert machine.http(INTENTS, method="POST", headers=headers, body=intent).status == 201
        assert feed_reason(machine) == "this sample has no real feed", "it has read its key"

        project.publish()
        said += install_stack(machine).output
        assert_up(machine)
        assert feed_reason(machine) == "this sample has no real feed"
        for words in ASKED:
            said += tradingctl(machine, *words.split()).output
        said += machine.sh("journalctl --sync; journalctl --no-pager -o export --all").output
        said += machine.sh(
            "systemctl show '*' --no-pager; systemctl cat 'trading*' 'market*'"
        ).output
        said += machine.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ps -efww").output
        said += machine.sh("find /var/log -type f ! -path '*/journal/*' -exec cat {} +").output
        for each in secrets:
            assert each not in said

        found = files_with_secrets(machine)
        places = ("/etc/trading/secrets/", "/etc/trading/backup.env", "/var/backups/trading/",
                  "/run/credentials/marketdata-stream.service/")  # fmt: skip
        assert [path for path in found if not path.startswith(places)] == []
        assert [path for path, mode in found.items() if mode & 0o007] == []
        kept = {path: mode for path, mode in found.items() if path.startswith("/var/backups")}
        assert kept
        assert set(kept.values()) == {0o600}

        pid = machine.systemctl_show("marketdata-stream.service", "MainPID")["MainPID"]
        assert KEY not in machine.read(f"/proc/{pid}/environ"), "children would inherit it"
        assert tradingctl(machine, "doctor").stdout == "nothing found\n"


def test_one_that_is_missing_keeps_no_service_from_starting(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        assert machine.run("test", "-e", KEY_FILE, check=False).returncode == 1
        machine.sh(f"echo MARKETDATA_PROVIDER=real >>{FEED_OVERRIDES}")
        machine.run("systemctl", "restart", "marketdata-stream")
        assert feed_reason(machine) == "EODHD_API_KEY is not set"
        # A variable, as one that was taken over from a tree laid out by hand, wins.
        machine.sh(f"echo EODHD_API_KEY={KEY} >>{FEED_OVERRIDES}")
        machine.run("systemctl", "restart", "marketdata-stream")
        assert feed_reason(machine) == "this sample has no real feed"
        (complaint,) = (each for each in doctor(machine) if each["key"] == "EODHD_API_KEY")
        assert complaint["severity"] == "low"
        machine.sh(complaint["fix"])
        assert machine.read(KEY_FILE) == KEY
        assert KEY not in machine.read(FEED_OVERRIDES)
        machine.run("systemctl", "restart", "marketdata-stream")
        assert feed_reason(machine) == "this sample has no real feed"
        assert_up(machine)


def test_every_command_of_the_doctor_mends_what_it_was_said_for(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        assert {each["key"] for each in doctor(machine)} == {"AT_BEARER_TOKEN"}, "a new server"
        spoil(machine)
        found = doctor(machine)
        assert {(each["what"], each["where"]) for each in found} >= {
            ("known value", "/etc/trading/secrets/traderunner.env"),
            ("no value", "/etc/trading/secrets/automatictrader-api.env"),
            ("staging value", KEY_FILE),
            ("rights", "/etc/trading/secrets/traderunner.env"),
            ("rights", "/etc/trading/backup.env"),
            ("rights", "/etc/trading/secrets/foreign"),
            ("rights", "/var/backups/trading"),
            ("open to others", "/etc/trading/automatictrader-api.env"),
            ("open to others", "/opt/trading/by-hand/.env"),
            ("in a unit file", "/etc/systemd/system/trading-dashboard-v2.service.d/pass.conf"),
            ("environment", FEED_OVERRIDES),
        }
        assert all("3asily-seen-0123" not in str(each) for each in found)
        machine.write("/root/value", f"{KEY}\n", 0o600)
        for each in found:
            machine.sh(f"({each['fix']}) </root/value")
        assert doctor(machine) == []
        machine.run("systemctl", "restart", *UNITS)
        assert_up(machine)
        user, password = dashboard_login(machine)
        assert (user, password == "admin") == ("admin", False)

        # What nothing but a person can mend is said as well.
        token = machine.sh(
            "sed -n s/^AT_BEARER_TOKEN=//p /etc/trading/secrets/automatictrader-api.env"
        ).stdout.strip()
        machine.run("systemd-run", "--quiet", "--unit=careless", "sleep", "1000", check=True)
        machine.run("systemctl", "stop", "careless")
        machine.run(
            *("systemd-run", "--quiet", "--unit=careless", "sh", "-c", "sleep 1000; :", token)
        )
        seen = [each for each in doctor(machine) if each["what"] == "in arguments"]
        assert seen
        assert {each["fix"] for each in seen} <= {"systemctl cat careless.service"}
        assert token not in json.dumps(seen)


def spoil(machine: Machine) -> None:
    """Do everything that careless people do."""
    secrets = "/etc/trading/secrets"
    machine.sh("tradingctl environment production 2>/dev/null")
    machine.sh(f"sed -i s/^DASHBOARD_PASS=.*/DASHBOARD_PASS=admin/ {secrets}/traderunner.env")
    machine.run("chmod", "644", f"{secrets}/traderunner.env")
    set_secret(machine, "EODHD_API_KEY", "demo")
    machine.sh(f"echo MARKETDATA_PROVIDER=real >>{FEED_OVERRIDES}")
    machine.sh(f"echo TRADING_ENVIRONMENT=dev >>{FEED_OVERRIDES}")
    machine.sh("echo IB_PASSWORD=3asily-seen-0123 >>/etc/trading/automatictrader-api.env")
    machine.write("/etc/trading/backup.env", "BACKUP_KEEP_LAST=3\n", 0o644)
    machine.write(f"{secrets}/foreign", "x\n", 0o640)
    machine.run("chown", "nobody", f"{secrets}/foreign")
    machine.run("chmod", "755", "/var/backups/trading")
    machine.run("mkdir", "-p", "/opt/trading/by-hand")
    machine.write("/opt/trading/by-hand/.env", "A=1\n", 0o644)
    folder = "/etc/systemd/system/trading-dashboard-v2.service.d"
    machine.run("mkdir", "-p", folder)
    machine.write(f"{folder}/pass.conf", "[Service]\nEnvironment=DASHBOARD_PASS=3asily-seen-0123\n")
