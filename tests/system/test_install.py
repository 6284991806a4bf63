"""A fresh server: the keyring from its file, one apt command, and everything that then holds.

All tests but those of the end of the file only look, at one machine that was installed once. The
last is the same stack on the next release of Debian.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.machine import Machine, Reply, Result
from tests.system.project import Project
from tests.system.stack import (
    API,
    ARCHIVE,
    DASHBOARD,
    INTENTS_DB,
    KEYRING,
    PACKAGES,
    SIGNALS_DB,
    STREAM,
    UNITS,
    active_units,
    assert_healthy,
    dashboard_login,
    install_stack,
    installed,
    intents,
    last_good,
    planned_intent,
    post_intent,
    rows,
    server,
    status,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

# Accepts connections where a broker would be and keeps a list of them.
BROKER = """
import socket
listener = socket.create_server(("127.0.0.1", 4002))
while True:
    listener.accept()
    open("/root/orders", "a").write("a connection\\n")
"""


@pytest.fixture(scope="module")
def fresh(base: Path, release: Project) -> Iterator[Machine]:
    """Return a booted server with the keyring, on which the stack was never installed."""
    with server(base, release) as machine:
        broker = ("systemd-run", "--quiet", "--unit=broker", "python3", "-c", BROKER)
        machine.run(*broker)
        yield machine


@pytest.fixture(scope="module")
def installation(fresh: Machine) -> Result:
    """Install the stack and return what apt said."""
    return install_stack(fresh, check=False)


@pytest.fixture(scope="module")
def trader(fresh: Machine, installation: Result) -> Machine:
    """Return the server with the stack."""
    assert installation.returncode == 0, installation.output
    return fresh


def test_one_apt_command_installs_and_verifies_the_stack(
    installation: Result, trader: Machine, release: Project
) -> None:
    assert f"release {release.release}: OK (4 OK)" in installation.output
    assert "generated DASHBOARD_PASS" in installation.output
    assert set(installed(trader)) == {*PACKAGES, KEYRING}
    assert active_units(trader) == list(UNITS)
    assert trader.failed_units() == []
    record = last_good(trader)
    assert record is not None
    assert record["release"] == release.release
    assert set(record["packages"].values()) <= set(installed(trader).values())


def test_password_is_in_no_output_and_no_log(installation: Result, trader: Machine) -> None:
    _, password = dashboard_login(trader)
    assert len(password) >= 16
    assert password not in installation.output
    assert password not in trader.journal(lines=5000)
    found = trader.run(
        "grep", "-rlF", "--", password, "/var/log", "/usr/share/trading", check=False
    )
    assert found.returncode == 1, found.output


def test_every_process_of_the_services_is_the_users(trader: Machine) -> None:
    listed = trader.run("ps", "-e", "-o", "ruser=,euser=,suser=,unit=").stdout.split("\n")
    owners: dict[str, set[str]] = {f"{unit}.service": set() for unit in UNITS}
    for line in listed:
        *users, unit = line.split() or [""]
        if unit in owners:
            owners[unit].update(users)
    assert owners == {f"{unit}.service": {"trading"} for unit in UNITS}


def test_services_answer_and_name_their_commit(trader: Machine, release: Project) -> None:
    stream = trader.http(f"{STREAM}/health")
    assert (stream.status, stream.json()["status"]) == (200, "healthy")
    assert stream.json()["commit"] == release.commits["marketdata-stream"]

    api = trader.http(f"{API}/healthz")
    assert (api.status, api.json()["status"]) == (200, "healthy")
    assert api.json()["dependencies"] == {"database": "healthy", "worker": "healthy"}
    assert api.json()["commit"] == release.commits["automatictrader-api"]

    def dashboard(login: tuple[str, str] | None) -> tuple[int, str]:
        reply: Reply = trader.http(f"{DASHBOARD}/", auth=login)
        return reply.status, reply.headers["x-release-commit"]

    commit = release.commits["traderunner"]
    assert dashboard(None) == (401, commit)
    assert dashboard(("admin", "admin")) == (401, commit)
    assert dashboard(dashboard_login(trader)) == (200, commit)
    assert dashboard_login(trader)[0] == "admin"


def test_only_the_dashboard_is_offered_to_other_machines(trader: Machine) -> None:
    listening = trader.run("ss", "-Hltn").stdout.splitlines()
    addresses = {line.split()[3] for line in listening}
    assert {"127.0.0.1:8080", "127.0.0.1:8090", "0.0.0.0:9001"} <= addresses
    assert not {"0.0.0.0:8080", "0.0.0.0:8090", "*:8080", "*:8090"} & addresses


def test_dashboard_shows_signals_from_the_legacy_path(trader: Machine) -> None:
    # A local override makes ticks, and so signals, come at once; one a second is the default.
    overrides = "/etc/trading/secrets/marketdata-stream.env"
    trader.sh(f"echo MARKETDATA_TICK_SEC=0.05 >>{overrides}")
    trader.run("systemctl", "restart", "marketdata-stream.service")

    def newest() -> str:
        found = rows(trader, SIGNALS_DB, "SELECT at FROM signals ORDER BY id DESC LIMIT 1")
        return str(found[0]["at"]) if found else ""

    trader.wait_until(newest, 30, "a signal")
    real = "/var/lib/trading/marketdata-stream/data/signals.db"
    assert trader.run("readlink", "-f", SIGNALS_DB).stdout.strip() == real
    trader.sh(f"sed -i /MARKETDATA_TICK_SEC/d {overrides}")
    trader.run("systemctl", "restart", "marketdata-stream.service")
    assert trader.wait_until(newest, 30, "a signal")

    def shown() -> str:
        signal = newest()
        page = trader.http(f"{DASHBOARD}/_dash-layout", auth=dashboard_login(trader)).text
        return page if signal in page else ""

    page = trader.wait_until(shown, 30, "the newest signal on the page")
    assert "cannot be read" not in page
    assert "no signals yet" not in page


def test_order_intent_is_stored_once_planned_and_never_sent(trader: Machine) -> None:
    assert post_intent(trader, "twice") == 201
    assert post_intent(trader, "twice") == 200
    row = planned_intent(trader, "twice")
    assert (row["status"], row["reason"]) == ("planned", None)
    assert [each["idempotency_key"] for each in intents(trader)].count("twice") == 1
    assert trader.http(f"{API}/healthz").json()["worker_mode"] == "plan-only"
    assert trader.run("systemctl", "is-active", "broker.service").stdout == "active\n"
    assert "127.0.0.1:4002" in trader.run("ss", "-Hltn").stdout
    assert trader.run("test", "-e", "/root/orders", check=False).returncode == 1


def test_dashboard_posts_an_order_intent_and_writes_to_its_data(trader: Machine) -> None:
    key = "from-the-dashboard"
    form = {"intent-symbol": "PLTR", "intent-side": "SELL", "intent-quantity": 3}
    pressed = {
        "output": "..intent-answer.children...intent-key.data..",
        "outputs": [
            {"id": "intent-answer", "property": "children"},
            {"id": "intent-key", "property": "data"},
        ],
        "inputs": [{"id": "intent-send", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["intent-send.n_clicks"],
        "state": [
            *({"id": id_, "property": "value", "value": value} for id_, value in form.items()),
            {"id": "intent-key", "property": "data", "value": key},
        ],
    }
    answer = trader.http(
        f"{DASHBOARD}/_dash-update-component",
        auth=dashboard_login(trader),
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(pressed).encode(),
    )
    assert "received as intent" in answer.text
    assert planned_intent(trader, key)["symbol"] == "PLTR"
    sent = trader.read("/opt/trading/traderunner/data/sent-intents.jsonl").splitlines()
    assert json.loads(sent[-1])["key"] == key


def test_dpkg_finds_no_file_changed(trader: Machine) -> None:
    for package in (*PACKAGES, KEYRING):
        assert trader.run("dpkg", "-V", package).output == ""


def test_verify_is_good_for_people_and_machines(trader: Machine, release: Project) -> None:
    assert_healthy(trader)
    found = verdict(trader)
    assert (found["release"], found["result"]) == (release.release, "OK")
    assert {unit["commit"] for unit in found["units"]} == set(release.commits.values())


def test_status_names_what_is_installed(trader: Machine, release: Project) -> None:
    found = status(trader)
    assert found["release"] == release.release
    assert found["channel"] == "bookworm-staging"
    assert found["environment"] == "staging"
    versions = installed(trader)
    for component in found["components"]:
        assert component["version"] == component["active"] == versions[component["package"]]
        assert component["commit"] == release.commits[component["name"]]
        assert {unit["health"] for unit in component["units"]} == {"ok"}
    text = tradingctl(trader, "status").stdout
    told = [release.release, "bookworm-staging", "staging"]
    told += [commit[:7] for commit in release.commits.values()]
    told += [versions[name] for name in release.commits]
    assert [each for each in told if each not in text] == []


def test_ordinary_users_may_look_and_not_touch(trader: Machine) -> None:
    looked = tradingctl(trader, "verify", user="nobody")
    assert looked.returncode == 0, looked.output
    assert "not checked, needs root" in looked.stdout
    assert tradingctl(trader, "status", user="nobody").returncode == 0
    for words in (("gate",), ("activate", "traderunner"), ("deactivate", "traderunner")):
        refused = tradingctl(trader, *words, user="nobody")
        assert refused.returncode == 5
        assert f"sudo tradingctl {' '.join(words)}" in refused.stderr
    assert active_units(trader) == list(UNITS)


def test_secrets_and_databases_are_not_for_everybody(trader: Machine) -> None:
    def owner(path: str) -> str:
        return trader.run("stat", "-c", "%a %U:%G", path).stdout.strip()

    assert owner("/etc/trading/secrets") == "750 root:trading"
    for component in sorted(set(UNITS.values())):
        assert owner(f"/etc/trading/secrets/{component}.env") == "640 root:trading"
    places = ("/var/lib/trading", "/var/log/trading", "/var/backups/trading")
    as_nobody = ("runuser", "-u", "nobody", "--", "find", *places, "-type", "f", "-readable")
    readable = trader.run(*as_nobody, check=False).stdout.split()
    assert sorted(readable) == ["/var/lib/trading/last-good.json", "/var/log/trading/deploy.log"]
    for path in (INTENTS_DB, SIGNALS_DB, "/etc/trading/secrets/traderunner.env"):
        refused = trader.run("runuser", "-u", "nobody", "--", "cat", path, check=False)
        assert "Permission denied" in refused.stderr, path


def test_services_cannot_write_to_their_code(trader: Machine) -> None:
    trees = ("/opt/trading", "/usr/lib/trading", "/usr/share/trading", "/etc/trading")
    as_trading = ("runuser", "-u", "trading", "--")
    found = trader.run(*as_trading, "find", *trees, "!", "-type", "l", "-writable")
    assert found.stdout == ""
    refused = trader.run(*as_trading, "touch", "/opt/trading/traderunner/x", check=False)
    assert "Permission denied" in refused.stderr


def test_tracked_files_lie_among_the_data(trader: Machine) -> None:
    samples = "/opt/trading/traderunner/data/samples"
    for name in ("HOOD_daily.parquet", "PLTR_daily.parquet"):
        path = f"{samples}/{name}"
        read = trader.run("runuser", "-u", "trading", "--", "head", "-c", "4", path)
        assert read.stdout == "PAR1"
    trader.run("runuser", "-u", "trading", "--", "test", "-w", "/opt/trading/traderunner/data")
    prices = trader.http(f"{DASHBOARD}/_dash-layout", auth=dashboard_login(trader)).text
    assert "no sample prices" not in prices


@pytest.mark.parametrize("name", ["Backtest notes (draft).md", "Börse.md"])
def test_unusual_file_names_arrive_whole(trader: Machine, release: Project, name: str) -> None:
    packaged = trader.read(f"/opt/trading/traderunner/docs/{name}")
    assert packaged == release.source("traderunner", f"docs/{name}")


@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_sandboxed_and_without_fault(trader: Machine, unit: str) -> None:
    exposed = trader.run("systemd-analyze", "security", "--threshold=20", f"{unit}.service",
                         check=False)  # fmt: skip
    assert exposed.returncode == 0, exposed.output
    assert trader.run("systemd-analyze", "verify", f"{unit}.service").output == ""


def test_optional_gateway_unit_is_sandboxed_and_without_fault(
    trader: Machine, release: Project
) -> None:
    # Its display server is not on this machine, so that it is unpacked and not installed.
    trader.copy_in(release.deb("trading-ibgateway"), "/root/gateway.deb")
    trader.run("dpkg-deb", "-x", "/root/gateway.deb", "/root/gateway")
    unit = "/root/gateway/lib/systemd/system/ibgateway.service"
    exposed = trader.run(
        *("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit), check=False
    )
    assert exposed.returncode == 0, exposed.output
    said = trader.run("systemd-analyze", "verify", unit, check=False).output.splitlines()
    absent = ("/usr/lib/trading-ibgateway/check", "/usr/bin/xvfb-run")
    assert [line for line in said if not any(path in line for path in absent)] == []


def test_debsig_accepts_every_package_of_the_pool(trader: Machine) -> None:
    pool = trader.run("find", f"{ARCHIVE}/pool", "-name", "*.deb").stdout.split()
    assert len(pool) >= len(PACKAGES) + 2
    for deb in pool:
        verified = trader.run("debsig-verify", deb, check=False)
        assert verified.returncode == 0, f"{deb}: {verified.output}"


def test_installing_again_changes_nothing(trader: Machine) -> None:
    before = [trader.systemctl_show(f"{unit}.service", "InvocationID") for unit in UNITS]
    assert "0 upgraded, 0 newly installed" in install_stack(trader).output
    assert [trader.systemctl_show(f"{unit}.service", "InvocationID") for unit in UNITS] == before


def test_reboot_brings_everything_back(trader: Machine) -> None:
    post_intent(trader, "before-the-reboot")
    planned_intent(trader, "before-the-reboot")
    before = intents(trader)
    trader.reboot()
    assert_healthy(trader)
    assert active_units(trader) == list(UNITS)
    assert intents(trader) == before
    counted = "SELECT count(*) AS n FROM signals"
    trader.wait_until(lambda: rows(trader, SIGNALS_DB, counted)[0]["n"] > 0, 90, "a signal")


def test_the_same_release_is_healthy_on_the_next_debian(
    bases: Callable[..., Path], release: Project, projects: Path
) -> None:
    project = release.copy(projects / "release-trixie").on("trixie")
    project.build()
    project.publish()
    with server(bases("trixie"), project) as machine:
        said = install_stack(machine).output
        assert f"release {project.release}: OK (4 OK)" in said
        assert_healthy(machine)
        assert active_units(machine) == list(UNITS)
        assert machine.failed_units() == []
        versions = installed(machine)
        assert set(versions) == {*PACKAGES, KEYRING}
        assert all(version.endswith("~deb13") for version in versions.values())
        for package in versions:
            assert machine.run("dpkg", "-V", package).output == ""
        assert status(machine)["channel"] == "trixie-staging"
        programs = "/opt/trading/*/.venv/bin/python"
        pythons = set(machine.sh(f"readlink -f {programs}").stdout.split())
        assert pythons == {"/usr/bin/python3.13"}
        page = machine.http(f"{DASHBOARD}/", auth=dashboard_login(machine))
        assert page.status == 200
