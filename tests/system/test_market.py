"""No order by accident: what rests while the market is closed, and who starts after whom.

Whether the exchange is open is made up by a list of holidays: with today on it, it is closed at
whatever time the tests run, and it is opened by force.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.system.machine import Machine, Result, Snapshot
from tests.system.project import Project
from tests.system.slim import DEADLINE
from tests.system.stack import (
    API,
    APT_SECONDS,
    KEYRING,
    PACKAGES,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    install_stack,
    installed,
    installed_server,
    last_good,
    planned_intent,
    post_intent,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

NEW_YORK = ZoneInfo("America/New_York")
OPEN, CLOSE, BOOT = "trading-market-open", "trading-market-close", "trading-market-boot"
TIMERS = (f"{OPEN}.timer", f"{CLOSE}.timer")
WORKER = "automatictrader-worker"
TRADING = ("marketdata-stream", "automatictrader-api", WORKER)
DEPLOY_CONF = "/etc/trading/deploy.conf"
MARKER = "/run/trading/market-closed"

# Accepts connections where a broker would be and keeps a list of them.
BROKER = """
import socket
listener = socket.create_server(("127.0.0.1", 4002))
open("/root/orders", "w").close()
while True:
    listener.accept()
    open("/root/orders", "a").write("a connection\\n")
"""


@pytest.fixture
def trader(installed_slim: Snapshot, slim: Project) -> Iterator[Machine]:
    """Return a server with the stack; nothing may ever connect to the broker's port."""
    with installed_server(installed_slim, slim) as machine:
        await_broker(machine)
        yield machine
        assert machine.read("/root/orders") == ""


def await_broker(machine: Machine) -> None:
    """Start what listens where a broker would, and wait until it does.

    One of before a reboot must have heard nothing.
    """
    assert machine.run("cat", "/root/orders", check=False).stdout == ""
    machine.run("rm", "-f", "/root/orders")
    machine.run("systemd-run", "--quiet", "--unit=broker", "python3", "-c", BROKER)

    def listening() -> bool:
        return machine.run("test", "-e", "/root/orders", check=False).returncode == 0

    machine.wait_until(listening, 30, "the broker")


def close_the_exchange(machine: Machine, more: str = "") -> None:
    """Make today, and tomorrow should midnight come, a holiday."""
    today = datetime.now(NEW_YORK).date()
    days = "".join(f"{today + timedelta(days)}  # closed\n" for days in (0, 1))
    machine.write("/etc/trading/days", days)
    machine.write(DEPLOY_CONF, f"HOLIDAYS_FILE=/etc/trading/days\n{more}")


def no_close_is_near() -> bool:
    """Tell whether no session of the exchange ends within the next three minutes."""
    now = datetime.now(NEW_YORK)
    closes = (now.replace(hour=hour, minute=0, second=0, microsecond=0) for hour in (13, 16))
    return not any(timedelta(0) < close - now < timedelta(minutes=3) for close in closes)


def events(machine: Machine) -> list[str]:
    """Return the words of what happened, oldest first."""
    return [json.loads(line)["event"] for line in deploy_log(machine)]


def deploy_log(machine: Machine) -> list[str]:
    return machine.read("/var/log/trading/deploy.log").splitlines()


def enabled(machine: Machine, unit: str) -> str:
    return machine.run("systemctl", "is-enabled", unit, check=False).stdout.strip()


def started_at(machine: Machine, unit: str) -> int:
    """Return when the main process of a unit was started, in microseconds of the boot; 0: never."""
    field = "ExecMainStartTimestampMonotonic"
    return int(machine.systemctl_show(f"{unit}.service", field)[field])


def ready_at(machine: Machine, unit: str) -> int:
    """Return when a unit became active, after its ExecStartPost, likewise."""
    field = "ActiveEnterTimestampMonotonic"
    return int(machine.systemctl_show(f"{unit}.service", field)[field])


def test_timers_are_there_and_disabled_until_wanted(trader: Machine) -> None:
    for unit in (*TIMERS, f"{BOOT}.service"):
        assert enabled(trader, unit) == "disabled"
        assert trader.systemctl_show(unit)["ActiveState"] == "inactive"
    units = (*TIMERS, *(f"{each}.service" for each in (OPEN, CLOSE, BOOT)))
    assert trader.run("systemd-analyze", "verify", "--man=no", *units).output == ""
    example = "/usr/share/doc/traderunner-common/examples/deploy.conf"
    trader.run("cp", example, DEPLOY_CONF)
    assert "deploy.conf" not in tradingctl(trader, "status").output
    trader.run("rm", DEPLOY_CONF)

    trader.wait_until(no_close_is_near, 300, "the exchange's close")
    trader.run("systemctl", "enable", "--now", *TIMERS)
    assert enabled(trader, f"{BOOT}.service") == "enabled"
    for timer, hours in ((TIMERS[0], {"09:30"}), (TIMERS[1], {"13:00", "16:00"})):
        shown = trader.systemctl_show(timer, "ActiveState", "NextElapseUSecRealtime")
        assert shown["ActiveState"] == "active"
        text = shown["NextElapseUSecRealtime"].removesuffix(" UTC")
        elapses = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        in_new_york = elapses.astimezone(NEW_YORK)
        assert f"{in_new_york:%H:%M}" in hours
        assert in_new_york.weekday() < 5
        assert timedelta(0) < elapses - datetime.now(UTC) < timedelta(days=4)
    assert active_units(trader) == list(UNITS), "to enable them stops nothing"

    apt(trader, "install", "--reinstall", *PACKAGES)
    for timer in TIMERS:
        assert enabled(trader, timer) == "enabled"
        assert trader.systemctl_show(timer)["ActiveState"] == "active"
    assert_healthy(trader)

    apt(trader, "remove", "--allow-remove-essential", *PACKAGES)
    for timer in TIMERS:
        assert trader.systemctl_show(timer)["ActiveState"] == "inactive"
    install_stack(trader)
    for timer in TIMERS:
        assert trader.systemctl_show(timer)["ActiveState"] == "active"
    assert_healthy(trader)


def test_close_stops_and_open_starts_what_trades(trader: Machine) -> None:
    trader.run("systemctl", "mask", "--now", "marketdata-stream")
    close_the_exchange(trader)
    trader.run("systemctl", "start", f"{CLOSE}.service")
    assert active_units(trader) == ["trading-dashboard-v2"]
    assert json.loads(trader.read(MARKER)) == ["automatictrader-api", WORKER]
    assert f"stopped until the market opens: automatictrader-api, {WORKER}" in (
        tradingctl(trader, "status").stdout
    )
    assert tradingctl(trader, "verify").returncode == 0
    reasons = {unit["unit"]: unit["reason"] for unit in verdict(trader)["units"]}
    assert reasons[f"{WORKER}.service"] == "stopped until the market opens"

    dashboard = "trading-dashboard-v2.service"
    trader.run("systemctl", "kill", "--signal=KILL", dashboard)
    trader.wait_until(
        lambda: (
            trader.systemctl_show(dashboard)["NRestarts"] != "0"
            and active_units(trader) == ["trading-dashboard-v2"]
        ),
        60,
        "the dashboard to come back",
    )
    # It is ordered after the others: what it had started as well would be starting at least.
    api = trader.systemctl_show("automatictrader-api.service", "ActiveState")["ActiveState"]
    assert api == "inactive"

    trader.run("systemctl", "start", f"{OPEN}.service")
    assert "the market is closed and opens" in trader.journal(f"{OPEN}.service")
    assert active_units(trader) == ["trading-dashboard-v2"], "nothing starts on a holiday"

    trader.run("systemctl", "unmask", "marketdata-stream")
    opened = tradingctl(trader, "market", "open", "--force")
    assert opened.returncode == 0, opened.output
    assert_healthy(trader)
    assert trader.run("test", "-e", MARKER, check=False).returncode == 1
    assert events(trader)[-2:] == ["market-close", "market-open"]
    assert ready_at(trader, "automatictrader-api") <= started_at(trader, WORKER)


def test_bad_settings_are_shown_and_let_nothing_run_at_boot(trader: Machine) -> None:
    close_the_exchange(trader, "MARKET_UNITS=nginx\n")
    trader.run("systemctl", "enable", *TIMERS)
    trader.reboot(degraded_ok=True)
    await_broker(trader)
    assert [started_at(trader, unit) for unit in TRADING] == [0, 0, 0]
    assert active_units(trader) == ["trading-dashboard-v2"]
    assert trader.failed_units() == [f"{BOOT}.service"]
    said = trader.journal(f"{BOOT}.service")
    assert "WARNING: /etc/trading/deploy.conf: MARKET_UNITS: 'nginx' is none of" in said
    trader.write(DEPLOY_CONF, "MARKET_UNIT=everything\n")
    assert f"{DEPLOY_CONF}: line 1:" in tradingctl(trader, "status").stdout


def test_boot_while_the_market_is_closed_starts_nothing_that_trades(trader: Machine) -> None:
    close_the_exchange(trader)
    trader.run("systemctl", "enable", *TIMERS)
    trader.reboot()
    assert active_units(trader) == ["trading-dashboard-v2"]
    assert [started_at(trader, unit) for unit in TRADING] == [0, 0, 0]
    assert trader.failed_units() == []
    assert json.loads(trader.read(MARKER)) == sorted(TRADING)
    await_broker(trader)

    trader.run("systemctl", "disable", *TIMERS)
    trader.reboot()
    assert active_units(trader) == list(UNITS)
    await_broker(trader)


def test_release_is_verified_or_taken_back_while_the_market_is_closed_and_rests_then(
    slim: Project, projects: Path, installed_slim: Snapshot
) -> None:
    project = slim.copy(projects / "rests")
    project.commit("automatictrader-api", {"README.md": "a change\n"})
    project.build()
    with installed_server(installed_slim, project) as machine:
        await_broker(machine)
        close_the_exchange(machine)
        machine.run("systemctl", "start", f"{CLOSE}.service")
        project.publish()
        upgraded = install_stack(machine)
        assert f"release {project.release}: OK (4 OK)" in upgraded.output
        assert "the market is closed; stopped again until it opens" in upgraded.output
        record = last_good(machine)
        assert record is not None
        assert record["release"] == project.release
        assert active_units(machine) == ["trading-dashboard-v2"]

        returned = tradingctl(machine, "rollback", slim.release)
        assert returned.returncode == 0, returned.output
        assert "the market is closed; stopped again until it opens" in returned.output
        assert installed(machine)["traderunner-stack"].startswith(slim.release)
        assert active_units(machine) == ["trading-dashboard-v2"]

        assert tradingctl(machine, "market", "open", "--force").returncode == 0
        assert_healthy(machine)
        assert machine.read("/root/orders") == ""


def test_window_vetoes_an_upgrade_before_anything_is_unpacked(
    slim: Project, projects: Path, installed_slim: Snapshot
) -> None:
    project = slim.copy(projects / "window")
    project.commit("automatictrader-api", {"README.md": "a third change\n"})
    project.build()
    with installed_server(installed_slim, project) as machine:
        # Refused at whatever time this test runs, for nobody knows what is meant.
        machine.write(DEPLOY_CONF, "UPGRADES_DURING_MARKET_HOURS=sometimes\n")
        project.publish()
        before = installed(machine)
        invocations = [machine.systemctl_show(f"{unit}.service")["InvocationID"] for unit in UNITS]

        for veto in (install_stack(machine, check=False), dpkg_install(machine, project)):
            assert veto.returncode != 0
            assert "no upgrade, because it is not known whether one is allowed now" in veto.output
            assert f"{DEPLOY_CONF}: line 1: UPGRADES_DURING_MARKET_HOURS: 'some" in veto.output
            assert f"next: sensible-editor {DEPLOY_CONF}" in veto.output
            assert installed(machine) == before
            assert machine.run("dpkg", "--audit").output == ""
        assert [
            machine.systemctl_show(f"{unit}.service")["InvocationID"] for unit in UNITS
        ] == invocations
        assert "window-override" not in events(machine)

        machine.write("/run/trading/ignore-window", "")
        allowed = install_stack(machine)
        assert "WARNING: the deploy window is ignored" in allowed.output
        assert events(machine).count("window-override") == 1
        assert_healthy(machine)
        assert installed(machine)["traderunner-stack"].startswith(f"{project.release}~")


def dpkg_install(machine: Machine, project: Project) -> Result:
    """Install the changed packages of the locked release by dpkg alone."""
    names = ("automatictrader-api", "traderunner-stack")
    for name in names:
        machine.copy_in(project.deb(name), f"/root/{name}.deb")
    return machine.run("dpkg", "-i", *(f"/root/{name}.deb" for name in names), check=False)


# The API cannot open its database before somebody has made the folder above it.
ILL = "/var/lib/trading/automatictrader-api/ill"
ILLNESS = f"[Service]\nEnvironment=AT_DB_PATH={ILL}/data/intents.db\nTimeoutStartSec="
HEALER = f"""
import subprocess, time, urllib.error, urllib.request

def status():
    try:
        return urllib.request.urlopen("{API}/healthz", timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

asked = 0
while asked < 5:
    if status() == 503:
        asked += 1
        units = subprocess.run(["ps", "-e", "-o", "unit="], capture_output=True, text=True).stdout
        with open("/root/seen", "a") as seen:
            seen.write(f"503 worker={{'{WORKER}.service' in units.split()}}\\n")
    time.sleep(0.1)
subprocess.run(["install", "-d", "-o", "trading", "-g", "trading", "{ILL}"], check=True)
"""


def test_worker_starts_only_after_the_api_is_healthy(trader: Machine) -> None:
    make_ill(trader)
    trader.run("systemctl", "stop", WORKER, "automatictrader-api")
    trader.run("systemctl", "start", "--no-block", WORKER)
    healed(trader)
    trader.wait_until(lambda: active_units(trader) == list(UNITS), 60, "the worker")
    assert ready_at(trader, "automatictrader-api") <= started_at(trader, WORKER)


def test_worker_starts_only_after_the_api_is_healthy_at_boot(trader: Machine) -> None:
    make_ill(trader)
    trader.run("systemctl", "enable", "healer")
    trader.reboot()
    healed(trader)
    assert active_units(trader) == list(UNITS)
    assert ready_at(trader, "automatictrader-api") <= started_at(trader, WORKER)
    await_broker(trader)


def test_worker_starts_after_an_api_whose_first_attempt_failed(trader: Machine) -> None:
    make_ill(trader, patience=3)
    trader.run("systemctl", "stop", WORKER, "automatictrader-api")
    trader.run("systemctl", "start", "--no-block", WORKER)

    def attempts() -> int:
        return int(trader.systemctl_show("automatictrader-api.service", "NRestarts")["NRestarts"])

    trader.wait_until(lambda: attempts() > 0, 60, "the second attempt of the API")
    assert WORKER not in active_units(trader)
    trader.run("install", "-d", "-o", "trading", "-g", "trading", ILL)
    trader.wait_until(lambda: active_units(trader) == list(UNITS), 60, "the worker")
    assert ready_at(trader, "automatictrader-api") <= started_at(trader, WORKER)


def make_ill(machine: Machine, patience: int = 120) -> None:
    """Let the API answer 503 five times, watched and then healed by a unit of its own.

    Each of its attempts to start has ``patience`` seconds.
    """
    drop_in = "/etc/systemd/system/automatictrader-api.service.d"
    machine.run("mkdir", "-p", drop_in)
    machine.write(f"{drop_in}/ill.conf", f"{ILLNESS}{patience}\n")
    description = "/usr/share/trading/components/automatictrader-api.json"
    impatient = machine.read(description)
    patient = impatient.replace(f'"deadline": {float(DEADLINE)}', '"deadline": 90.0')
    assert patient != impatient
    machine.write(description, patient)
    machine.write("/root/healer.py", HEALER)
    machine.write(
        "/etc/systemd/system/healer.service",
        "[Unit]\nBefore=automatictrader-api.service\n[Service]\nType=exec\n"
        "ExecStart=/usr/bin/python3 /root/healer.py\n[Install]\nWantedBy=multi-user.target\n",
    )
    machine.run("systemctl", "daemon-reload")


def healed(machine: Machine) -> None:
    """Start the healer unless the boot did, and assert what it saw until it healed."""
    machine.run("systemctl", "start", "healer")

    def made() -> bool:
        return machine.run("test", "-d", ILL, check=False).returncode == 0

    machine.wait_until(made, 60, "five bad answers")
    assert machine.read("/root/seen") == "503 worker=False\n" * 5


SETTINGS = "/etc/trading/automatictrader-api.env"
SECRETS = "/etc/trading/secrets/automatictrader-api.env"
ENVIRONMENT = "/etc/trading/environment"


def test_worker_plans_only_whatever_is_installed(trader: Machine) -> None:
    assert worker_mode(trader) == "plan-only"
    assert trader.http(f"{API}/healthz").json()["worker_mode"] == "plan-only"
    assert post_intent(trader, "planned") == 201
    assert planned_intent(trader, "planned")["status"] == "planned"


def test_what_the_administrator_wrote_stays_to_the_byte(
    slim: Project, projects: Path, installed_slim: Snapshot
) -> None:
    project = slim.copy(projects / "settings")
    project.commit("automatictrader-api", {"README.md": "another change\n"})
    project.build()
    with installed_server(installed_slim, project) as machine:
        await_broker(machine)
        edited = machine.read(SETTINGS).replace("AT_WORKER_MODE=plan-only", "AT_WORKER_MODE=odd")
        assert "AT_WORKER_MODE=odd" in edited
        # Another mode than the default, and yet one in which this worker sends nothing.
        machine.write(SETTINGS, edited.replace("=odd", "='paper-send'   ") + "\n\n# mine\r\n")
        machine.write(SECRETS, machine.read(SECRETS) + "AT_BEARER_TOKEN='s e c r e t'\n", 0o640)
        machine.write(DEPLOY_CONF, "# mine\n\nMINUTES_BEFORE_OPEN=5\n")
        machine.write(ENVIRONMENT, "# this is it\nTRADING_ENVIRONMENT=production\n\n")
        written = fingerprint(machine)
        machine.run("systemctl", "restart", "automatictrader-api", WORKER)

        def assert_untouched(after: str) -> None:
            assert fingerprint(machine) == written, after
            assert_healthy(machine)
            assert worker_mode(machine) == "paper-send", after

        assert_untouched("a restart")
        apt(machine, "install", "--reinstall", *PACKAGES, KEYRING)
        assert_untouched("a reinstallation")
        machine.run("dpkg-reconfigure", "-f", "noninteractive", *PACKAGES, timeout=APT_SECONDS)
        assert_untouched("dpkg-reconfigure")
        project.publish()
        install_stack(machine)
        record = last_good(machine)
        assert record is not None
        assert record["release"] == project.release
        assert_untouched("an upgrade")
        apt(machine, "remove", "--allow-remove-essential", *PACKAGES)
        assert fingerprint(machine) == written
        install_stack(machine)
        assert_untouched("a removal and an installation")
        assert machine.read("/root/orders") == ""


def worker_mode(machine: Machine) -> str:
    """Return the mode in the environment of the worker's process, whatever the files say."""
    pid = machine.systemctl_show(f"{WORKER}.service", "MainPID")["MainPID"]
    environ = machine.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
    (mode,) = [each for each in environ if each.startswith("AT_WORKER_MODE=")]
    return mode.partition("=")[2]


def fingerprint(machine: Machine) -> str:
    """Return the digests, owners, modes and times of the administrator's files."""
    files = (SETTINGS, SECRETS, DEPLOY_CONF, ENVIRONMENT)
    return (
        machine.run("sha256sum", *files).stdout
        + machine.run("stat", "-c", "%n %U:%G %a %i %y", *files).stdout
    )
