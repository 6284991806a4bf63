"""Each thing that the doctor knows: found, with the command that mends it, and gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit

from tradingctl.account import find_account
from tradingctl.cli import main
from tradingctl.credentials import ensure
from tradingctl.description import Component, Secret
from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.doctor.diagnosis import diagnosis
from tradingctl.inventory import read_inventory

PASSWORD = Secret("DASHBOARD_PASS", weak=("admin",))
TOKEN = Secret("AT_BEARER_TOKEN", generate=False)
KEY = Secret(
    "EODHD_API_KEY",
    generate=False,
    credential=True,
    staging_only=("demo",),
    needed_if={"MARKETDATA_PROVIDER": "real"},
)
VALUE = "3xvaluevaluevalue7"
TOKEN_VALUE = "bearerbearerbearer9"
KEY_VALUE = "keykeykeykeykey123"
API = "etc/trading/secrets/api.env"
WEB = "etc/trading/secrets/web.env"
FEED = "etc/trading/secrets/feed.env"
ENVIRONMENT = "etc/trading/environment"
PRODUCTION = "TRADING_ENVIRONMENT=production\n"
ASIDE = "var/lib/trading/adoption/units/20261124T030000Z"
KEY_FILE = "etc/trading/secrets/feed/EODHD_API_KEY"


def component(name: str, *secrets: Secret) -> Component:
    return stream(name=name, package=name, secrets=secrets, units=(stream_unit(name=name),))


@pytest.fixture
def healthy(machine: Machine) -> Machine:
    """Give a production machine with three components, of which nothing is to be said."""
    machine.describe(
        component("api", TOKEN), component("web", PASSWORD, TOKEN), component("feed", KEY)
    )
    account = find_account(machine.paths)
    for each in read_inventory(machine.paths).components:
        ensure(machine.server, each, account)
    write(machine, "etc/trading/environment", "TRADING_ENVIRONMENT=production\n", 0o644)
    write(machine, "etc/trading/feed.env", "MARKETDATA_PROVIDER=real\n", 0o644)
    write(machine, API, f"AT_BEARER_TOKEN={TOKEN_VALUE}\n")
    write(machine, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS={VALUE}\n")
    machine.paths.secrets.joinpath("feed").mkdir(mode=0o700)
    write(machine, KEY_FILE, KEY_VALUE, 0o600)
    machine.paths.backups.mkdir(mode=0o700, parents=True)
    machine.process(1, "/", "/init.scope")
    return machine


def write(machine: Machine, relative: str, text: str, mode: int = 0o640) -> Path:
    file = machine.write(relative, text)
    file.chmod(mode)
    return file


def found(machine: Machine) -> list[Complaint]:
    complaints = diagnosis(machine.server, read_inventory(machine.paths))
    for each in complaints:
        text = " ".join((each.where, each.key, each.why, each.fix))
        assert not any(value in text for value in (VALUE, TOKEN_VALUE, KEY_VALUE)), text
        assert each.fix
    return complaints


def only(machine: Machine) -> Complaint:
    (complaint,) = found(machine)
    return complaint


def test_nothing_is_said_of_a_healthy_machine(healthy: Machine) -> None:
    assert found(healthy) == []
    assert main(["doctor"], healthy.server) == 0
    assert healthy.out.getvalue() == "nothing found\n"


Spoiler = Callable[[Machine], object]
CASES: dict[str, tuple[Spoiler, str, Severity, str, str, str]] = {
    "admin": (
        lambda m: write(m, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS='admin'\n"),
        "known value", Severity.HIGH, f"/{WEB}", "DASHBOARD_PASS",
        "tradingctl secret DASHBOARD_PASS --generate",
    ),
    "its own name": (
        lambda m: write(m, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS=Dashboard_Pass\n"),
        "known value", Severity.HIGH, f"/{WEB}", "DASHBOARD_PASS",
        "tradingctl secret DASHBOARD_PASS --generate",
    ),
    "short": (
        lambda m: write(m, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS=abcdefgh123\n"),
        "weak value", Severity.MEDIUM, f"/{WEB}", "DASHBOARD_PASS",
        "tradingctl secret DASHBOARD_PASS --generate",
    ),
    "the same letter": (
        lambda m: write(m, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS={'ab' * 9}\n"),
        "weak value", Severity.MEDIUM, f"/{WEB}", "DASHBOARD_PASS",
        "tradingctl secret DASHBOARD_PASS --generate",
    ),
    "demo key in production": (
        lambda m: write(m, KEY_FILE, "demo\n", 0o600),
        "staging value", Severity.HIGH, f"/{KEY_FILE}", "EODHD_API_KEY",
        "tradingctl secret EODHD_API_KEY",
    ),
    "no key": (
        lambda m: (m.root / KEY_FILE).unlink(),
        "no value", Severity.HIGH, f"/{KEY_FILE}", "EODHD_API_KEY",
        "tradingctl secret EODHD_API_KEY",
    ),
    "key as a variable": (
        lambda m: write(m, FEED, f"EODHD_API_KEY={KEY_VALUE}\n"),
        "not a credential", Severity.LOW, f"/{FEED}", "EODHD_API_KEY",
        "tradingctl secret EODHD_API_KEY --move --component feed",
    ),
    "no token": (
        lambda m: (write(m, API, ""), write(m, WEB, f"DASHBOARD_PASS={VALUE}\n"))[0],
        "no value", Severity.HIGH, f"/{API}", "AT_BEARER_TOKEN",
        "tradingctl secret AT_BEARER_TOKEN --generate",
    ),
    "two tokens": (
        lambda m: write(m, API, "AT_BEARER_TOKEN=another5another5\n"),
        "not the same", Severity.MEDIUM, f"/{WEB}", "AT_BEARER_TOKEN",
        "tradingctl secret AT_BEARER_TOKEN --generate",
    ),
    "among the settings": (
        lambda m: write(m, "etc/trading/api.env", f"AT_BEARER_TOKEN={TOKEN_VALUE}\n", 0o644),
        "open to others", Severity.HIGH, "/etc/trading/api.env", "AT_BEARER_TOKEN",
        "tradingctl secret AT_BEARER_TOKEN --move --component api",
    ),
    "undeclared among the settings": (
        lambda m: write(m, "etc/trading/api.env", f"IB_PASSWORD={VALUE}\n", 0o644),
        "open to others", Severity.HIGH, "/etc/trading/api.env", "IB_PASSWORD",
        "tradingctl secret IB_PASSWORD --move --component api",
    ),
    "undeclared in the file of all": (
        lambda m: write(m, ENVIRONMENT, f"{PRODUCTION}IB_PASSWORD={VALUE}\n", 0o644),
        "open to others", Severity.HIGH, f"/{ENVIRONMENT}", "IB_PASSWORD",
        "tradingctl secret IB_PASSWORD --move",
    ),
    "declared in the file of all": (
        lambda m: write(m, ENVIRONMENT, f"{PRODUCTION}AT_BEARER_TOKEN={TOKEN_VALUE}\n", 0o644),
        "open to others", Severity.HIGH, f"/{ENVIRONMENT}", "AT_BEARER_TOKEN",
        "tradingctl secret AT_BEARER_TOKEN --move",
    ),
    "a file for everybody": (
        lambda m: (m.root / API).chmod(0o644),
        "rights", Severity.HIGH, f"/{API}", "",
        f"chown root:trading /{API} && chmod 0640 /{API}",
    ),
    "a file the services may write": (
        lambda m: (m.root / API).chmod(0o660),
        "rights", Severity.MEDIUM, f"/{API}", "",
        f"chown root:trading /{API} && chmod 0640 /{API}",
    ),
    "the directory": (
        lambda m: m.paths.secrets.chmod(0o755),
        "rights", Severity.HIGH, "/etc/trading/secrets", "",
        "chown root:trading /etc/trading/secrets && chmod 0750 /etc/trading/secrets",
    ),
    "the password of the backups": (
        lambda m: write(m, "etc/trading/backup.env", "RESTIC_PASSWORD=hush\n", 0o640),
        "rights", Severity.MEDIUM, "/etc/trading/backup.env", "",
        "chown root:root /etc/trading/backup.env && chmod 0600 /etc/trading/backup.env",
    ),
    "the file it names": (
        lambda m: (
            write(m, "etc/trading/backup.env", "RESTIC_PASSWORD_FILE=/root/pw\n", 0o600),
            write(m, "root/pw", "hush\n", 0o644),
        )[0],
        "rights", Severity.HIGH, "/root/pw", "",
        "chown root:root /root/pw && chmod 0600 /root/pw",
    ),
    "the backups": (
        lambda m: m.paths.backups.chmod(0o755),
        "rights", Severity.HIGH, "/var/backups/trading", "",
        "chown root:root /var/backups/trading && chmod 0700 /var/backups/trading",
    ),
    "a copy in a backup": (
        lambda m: write(m, "var/backups/trading/1/settings/secrets/api.env", "", 0o640),
        "rights", Severity.MEDIUM, "/var/backups/trading/1/settings/secrets/api.env", "",
        "chown root:root /var/backups/trading/1/settings/secrets/api.env"
        " && chmod 0600 /var/backups/trading/1/settings/secrets/api.env",
    ),
    "a tree made by hand": (
        lambda m: write(m, "opt/trading/old one/.env", f"X={VALUE}\n", 0o644),
        "open to others", Severity.HIGH, "/opt/trading/old one/.env", "",
        "chmod 600 '/opt/trading/old one/.env'",
    ),
    "an adopted tree": (
        lambda m: write(m, "opt/trading/adopted/api/.env.bak", f"X={VALUE}\n", 0o604),
        "open to others", Severity.HIGH, "/opt/trading/adopted/api/.env.bak", "",
        "chmod 600 /opt/trading/adopted/api/.env.bak",
    ),
    "an adopted tree that is a link": (
        lambda m: (
            write(m, "srv/api/.env", f"X={VALUE}\n", 0o644),
            linked(m, "opt/trading/adopted/api", "srv/api"),
        )[0],
        "open to others", Severity.HIGH, "/opt/trading/adopted/api/.env", "",
        "chmod 600 /opt/trading/adopted/api/.env",
    ),
    "a tree that is a link": (
        lambda m: (
            write(m, "srv/api/.env", f"X={VALUE}\n", 0o644),
            linked(m, "opt/trading/api", "srv/api"),
        )[0],
        "open to others", Severity.HIGH, "/opt/trading/api/.env", "",
        "chmod 600 /opt/trading/api/.env",
    ),
    "a unit put aside": (
        lambda m: write(m, f"{ASIDE}/web.service", f"Environment=X={VALUE}\n").parent.chmod(0o755),
        "rights", Severity.HIGH, f"/{ASIDE}", "",
        f"chown root:root /{ASIDE} && chmod 0700 /{ASIDE}",
    ),
    "an archive of one": (
        lambda m: write(m, "opt/trading/backups/api_1.tar.gz", "", 0o644),
        "open to others", Severity.HIGH, "/opt/trading/backups/api_1.tar.gz", "",
        "chmod 600 /opt/trading/backups/api_1.tar.gz",
    ),
    "a unit": (
        lambda m: write(m, "etc/systemd/system/web.service",
                        f"[Service]\nEnvironment=A=1 DASHBOARD_PASS={VALUE}\n"),
        "in a unit file", Severity.HIGH, "/etc/systemd/system/web.service",
        "Environment: DASHBOARD_PASS",
        "tradingctl secret DASHBOARD_PASS && sensible-editor /etc/systemd/system/web.service"
        " && systemctl daemon-reload && systemctl restart web.service",
    ),
    "a unit of a tree made by hand": (
        lambda m: write(m, "etc/systemd/system/by-hand.service",
                        "[Service]\nWorkingDirectory=/opt/trading/x\nEnvironment=IB_PASSWORD=x\n"),
        "in a unit file", Severity.HIGH, "/etc/systemd/system/by-hand.service",
        "Environment: IB_PASSWORD",
        "sed -i '/^ *Environment=.*IB_PASSWORD=/d' /etc/systemd/system/by-hand.service"
        " && systemctl daemon-reload && systemctl restart by-hand.service",
    ),
    "an option": (
        lambda m: write(m, "etc/systemd/system/web.service.d/x.conf",
                        "[Service]\nExecStart=\nExecStart=/bin/web \\\n  --api-key abc --port 1\n"),
        "in a unit file", Severity.HIGH, "/etc/systemd/system/web.service.d/x.conf",
        "ExecStart: api-key",
        "sensible-editor /etc/systemd/system/web.service.d/x.conf"
        " && systemctl daemon-reload && systemctl restart web.service",
    ),
    "a value under another name": (
        lambda m: write(m, "etc/systemd/system/web.service", f"[Service]\nEnvironment=X={VALUE}\n"),
        "in a unit file", Severity.HIGH, "/etc/systemd/system/web.service", "Environment: X",
        "sed -i '/^ *Environment=.*X=/d' /etc/systemd/system/web.service"
        " && systemctl daemon-reload && systemctl restart web.service",
    ),
    "arguments": (
        lambda m: arguments(m, f"curl\0-H\0Authorization: Bearer {TOKEN_VALUE}\0"),
        "in arguments", Severity.HIGH, "process 77 (curl)", "AT_BEARER_TOKEN",
        "systemctl cat web.service",
    ),
    "no environment": (
        lambda m: write(m, "etc/trading/environment", "TRADING_ENVIRONMENT=prod\n"),
        "environment", Severity.MEDIUM, "/etc/trading/environment", "TRADING_ENVIRONMENT",
        "tradingctl environment staging",
    ),
    "another environment": (
        lambda m: write(m, FEED, "TRADING_ENVIRONMENT=dev\n"),
        "environment", Severity.MEDIUM, f"/{FEED}", "TRADING_ENVIRONMENT",
        f"sed -i '/^ *TRADING_ENVIRONMENT=/d' /{FEED}",
    ),
}  # fmt: skip


def linked(machine: Machine, link: str, target: str) -> Path:
    place = machine.root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(machine.root / target)
    return place


def arguments(machine: Machine, line: str) -> None:
    machine.process(77, "/", "/system.slice/web.service")
    (machine.root / "proc/77/cmdline").write_bytes(line.encode())


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_with_its_remedy(healthy: Machine, case: str) -> None:
    spoil, what, severity, where, key, fix = CASES[case]
    spoil(healthy)
    complaint = found(healthy)[0]
    assert (complaint.what, complaint.severity) == (what, severity)
    assert (complaint.where, complaint.key) == (where, key)
    assert complaint.fix == fix
    assert main(["doctor"], healthy.server) == 1


@pytest.mark.parametrize("case", ["declared in the file of all", "undeclared in the file of all"])
@pytest.mark.parametrize("ending", ["\n", ""])
def test_what_is_moved_is_not_complained_of_any_more(
    healthy: Machine, case: str, ending: str
) -> None:
    CASES[case][0](healthy)
    write(healthy, API, f"AT_BEARER_TOKEN={TOKEN_VALUE}{ending}")
    (complaint,) = found(healthy)
    assert main(complaint.fix.split()[1:], healthy.server) == 0
    assert found(healthy) == []


def removed(file: Path) -> Path:
    file.unlink()
    return file


ALLOWED: dict[str, Spoiler] = {
    "demo key on staging": lambda m: (
        write(m, "etc/trading/environment", "TRADING_ENVIRONMENT=staging\n"),
        write(m, KEY_FILE, "demo", 0o600),
    ),
    "no key where the feed is made up": lambda m: (
        write(m, "etc/trading/feed.env", "MARKETDATA_PROVIDER=fake\n"),
        removed(m.root / KEY_FILE),
    ),
    "tree that nobody else can enter": lambda m: (
        write(m, "opt/trading/old/.env", "", 0o644).parent.chmod(0o700)
    ),
    "release of ours": lambda m: write(m, "opt/trading/releases/.env", "", 0o644),
    "release of ours by its link": lambda m: (
        write(m, "opt/trading/releases/api/1/.env", "", 0o644),
        linked(m, "opt/trading/api", "opt/trading/releases/api/1"),
    ),
    "unit put aside that nobody else can reach": lambda m: write(
        m, f"{ASIDE}/web.service", f"[Service]\nEnvironment=DASHBOARD_PASS={VALUE}\n", 0o644
    ).parent.chmod(0o700),
    "unit of somebody else": lambda m: write(
        m, "etc/systemd/system/other.service", "[Service]\nEnvironment=X_PASSWORD=x\n"
    ),
    "settings that hold no secret": lambda m: write(
        m, "etc/trading/api.env", "AT_IB_HOST=127.0.0.1\nMONKEY=1\nIB_PASSWORD=\n", 0o644
    ),
    "options that name a file or a variable": lambda m: write(
        m, "etc/systemd/system/web.service",
        "[Service]\nExecStart=/bin/web --key-file=/etc/k --token ${T} --secret %d/x\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_right_is_not_complained_of(healthy: Machine, case: str) -> None:
    ALLOWED[case](healthy)
    assert found(healthy) == []


def test_on_staging_a_missing_token_is_less_urgent(healthy: Machine) -> None:
    write(healthy, "etc/trading/environment", "TRADING_ENVIRONMENT=staging\n")
    write(healthy, API, "")
    assert only(healthy).severity is Severity.MEDIUM


def test_the_report_has_the_worst_first_and_counts(healthy: Machine) -> None:
    write(healthy, FEED, f"EODHD_API_KEY={KEY_VALUE}\n")
    write(healthy, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS=admin\n")
    assert main(["doctor"], healthy.server) == 1
    lines = healthy.out.getvalue().splitlines()
    assert lines[0] == f"HIGH    known value: /{WEB}: DASHBOARD_PASS"
    assert lines[2] == "        fix   tradingctl secret DASHBOARD_PASS --generate"
    assert lines[3].startswith("LOW     not a credential: ")
    assert lines[-1] == "found: 1 high, 1 low"


def test_json_has_the_same(healthy: Machine) -> None:
    write(healthy, WEB, f"AT_BEARER_TOKEN={TOKEN_VALUE}\nDASHBOARD_PASS=admin\n")
    assert main(["doctor", "--json"], healthy.server) == 1
    (complaint,) = json.loads(healthy.out.getvalue())["findings"]
    assert complaint["severity"] == "high"
    assert set(complaint) == {"severity", "what", "where", "key", "why", "fix"}


def test_only_root_is_answered(healthy: Machine) -> None:
    healthy.euid = 1000
    assert main(["doctor"], healthy.server) == 5
    assert "sudo tradingctl doctor" in healthy.err.getvalue()
