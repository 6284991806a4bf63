"""What a machine is, staging or production: asked once, written in one file, obeyed at each start.

A worker that is set to send orders starts on a production machine alone, whoever starts it, unless
the administrator has written that it may.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import assert_in_service, events
from tests.system.stack import (
    active_units,
    apt,
    assert_healthy,
    at_terminal,
    install_stack,
    installed_server,
    last_good,
    server,
    status,
    tradingctl,
    verdict,
)

from tradingctl.envfile import assignments

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
ENVIRONMENT = "/etc/trading/environment"
OVERRIDE = "/etc/trading/orders-on-staging"
SECRETS = "/etc/trading/secrets/automatictrader-api.env"
COMMON = "traderunner-common"
QUESTION = f"{COMMON}/environment"
WORKER = "automatictrader-worker.service"
DASHBOARD_UNIT = "trading-dashboard-v2.service"


def preseed(machine: Machine, answer: str) -> None:
    """Answer debconf's question before it is asked."""
    machine.sh(f"echo '{COMMON} {QUESTION} select {answer}' | debconf-set-selections")


def answer(machine: Machine) -> str:
    """Return what debconf remembers."""
    shown = machine.run("debconf-show", COMMON).stdout.splitlines()
    (line,) = (each for each in shown if QUESTION in each)
    return line.partition(": ")[2]


def reconfigure(machine: Machine) -> None:
    """Have the package ask again; nobody is there to answer."""
    machine.run("dpkg-reconfigure", "-f", "noninteractive", COMMON)


def variable(machine: Machine, unit: str, name: str) -> str:
    """Return a variable that a running service was started with, empty if it has none."""
    pid = machine.systemctl_show(unit, "MainPID")["MainPID"]
    found = dict(
        each.partition("=")[::2] for each in machine.read(f"/proc/{pid}/environ").split("\0")
    )
    return found.get(name, "")


def set_mode(machine: Machine, mode: str) -> None:
    """Write the worker's mode as an administrator does."""
    machine.sh(f"sed -i /AT_WORKER_MODE/d {SECRETS}; echo AT_WORKER_MODE={mode} >>{SECRETS}")


def start_worker(machine: Machine) -> str:
    """Start the worker anew and return what its journal says of that."""
    machine.run("systemctl", "restart", WORKER)
    shown = machine.systemctl_show(WORKER, "InvocationID")["InvocationID"]
    this = f"_SYSTEMD_INVOCATION_ID={shown} + INVOCATION_ID={shown}"
    return machine.sh(f"journalctl --sync; journalctl -o cat {this}").stdout


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_production_is_preseeded_and_the_services_know_it_in_their_words(
    os_base: Path, slim: Project
) -> None:
    with server(os_base, slim) as machine:
        preseed(machine, "production")
        install_stack(machine)
        assert_healthy(machine)
        assert status(machine)["environment"] == "production"
        assert variable(machine, WORKER, "TRADING_ENVIRONMENT") == "production"
        assert variable(machine, DASHBOARD_UNIT, "TRADING_ENVIRONMENT") == "production"

        # What is written there by hand wins over what debconf remembers.
        machine.write(ENVIRONMENT, "# moved to the laptop\nTRADING_ENVIRONMENT = 'staging'\nA=1\n")
        reconfigure(machine)
        apt(machine, "install", "--reinstall", COMMON)
        assert machine.read(ENVIRONMENT).endswith("TRADING_ENVIRONMENT = 'staging'\nA=1\n")
        assert answer(machine) == "staging"
        machine.run("systemctl", "restart", WORKER, DASHBOARD_UNIT)
        assert_healthy(machine)
        assert variable(machine, WORKER, "TRADING_ENVIRONMENT") == "staging"
        assert variable(machine, DASHBOARD_UNIT, "TRADING_ENVIRONMENT") == "test"
        assert "environment  staging (traderunner calls it test)" in (
            tradingctl(machine, "status", user="nobody").stdout
        )
        assert_healthy(machine)


def test_nobody_asked_it_is_staging_and_one_command_makes_it_production(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        assert status(machine)["environment"] == "staging"
        assert variable(machine, DASHBOARD_UNIT, "TRADING_ENVIRONMENT") == "test"
        changed = tradingctl(machine, "environment", "production")
        assert changed.returncode == 0
        assert "the services know it after: systemctl restart " in changed.stderr
        assert ("environment", "") in events(machine)
        reconfigure(machine)
        assert answer(machine) == "production"
        machine.write(ENVIRONMENT, "TRADING_ENVIRONMENT=dev\n")
        reconfigure(machine)
        apt(machine, "install", "--reinstall", COMMON)
        assert machine.read(ENVIRONMENT) == "TRADING_ENVIRONMENT=dev\n", "a word of his own stays"
        assert "treated as staging" in tradingctl(machine, "status").stdout

        # A copy of a production machine, on which the file was deleted.
        tradingctl(machine, "environment", "production")
        reconfigure(machine)
        assert answer(machine) == "production"
        machine.run("rm", ENVIRONMENT)
        apt(machine, "install", "--reinstall", COMMON)
        assert machine.run("test", "-e", ENVIRONMENT, check=False).returncode == 1
        assert answer(machine) == "staging"


def test_tree_laid_out_by_hand_that_says_production_is_believed(
    os_base: Path, slim: Project
) -> None:
    with server(os_base, slim) as machine:
        machine.run("mkdir", "-p", "/opt/trading/something-else")
        machine.write("/opt/trading/something-else/.env", "A=1\nTRADING_ENVIRONMENT=production\n")
        install_stack(machine)
        assert status(machine)["environment"] == "production"


def test_administrator_at_a_terminal_is_asked_and_answers(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        machine.write(ENVIRONMENT, "# mine\nTRADING_ENVIRONMENT=dev\n")
        dialogue = f"DEBIAN_FRONTEND=readline TERM=dumb dpkg-reconfigure {COMMON}"
        shown = at_terminal(machine, dialogue, "What this machine is", "2")
        assert "1. staging  2. production" in shown
        assert machine.read(ENVIRONMENT) == "# mine\nTRADING_ENVIRONMENT=production\n"
        assert answer(machine) == "production"


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_worker_that_would_send_orders_does_not_start_on_staging(
    installed_slim: Snapshot, slim: Project
) -> None:
    with installed_server(installed_slim, slim) as machine:
        set_mode(machine, "paper-send")
        written = machine.read(SECRETS)
        said = start_worker(machine)
        for words in ("AT_WORKER_MODE is paper-send", ENVIRONMENT, OVERRIDE,
                      "tradingctl environment production"):  # fmt: skip
            assert words in said
        state = machine.systemctl_show(WORKER, "ActiveState", "Result", "NRestarts")
        assert state == {"ActiveState": "inactive", "Result": "exec-condition", "NRestarts": "0"}

        # Everybody who looks is told.
        verified = tradingctl(machine, "verify")
        assert verified.returncode == 3
        assert f"is not started: AT_WORKER_MODE is paper-send in {SECRETS}" in verified.stdout
        (worker,) = (each for each in verdict(machine)["units"] if each["unit"] == WORKER)
        assert worker["findings"][0]["check"] == "order safety"
        shown = tradingctl(machine, "status").stdout
        assert "automatictrader-worker is not started: AT_WORKER_MODE is paper-send" in shown
        assert "refused" in shown
        assert "refused" in tradingctl(machine, "status", user="nobody").stdout

        # Plan-only always passes; so does what is allowed in writing, to the letter.
        set_mode(machine, "plan-only")
        start_worker(machine)
        assert_healthy(machine)
        set_mode(machine, "paper-send")
        machine.write(OVERRIDE, "live\n")
        assert "allows 'live', not this" in start_worker(machine)
        machine.write(OVERRIDE, "# until the end of the week\npaper-send\n")
        said = start_worker(machine)
        assert (
            f"AT_WORKER_MODE=paper-send on a machine that is not production, allowed by {OVERRIDE}"
            in said
        )
        assert_healthy(machine)
        assert variable(machine, WORKER, "AT_WORKER_MODE") == "paper-send"
        assert OVERRIDE in tradingctl(machine, "status").stdout
        machine.run("rm", OVERRIDE)
        assert tradingctl(machine, "verify").returncode == 3, "it still runs, and must not"
        assert "runs with AT_WORKER_MODE=paper-send" in tradingctl(machine, "verify").stdout

        # A crash does not start it again where it may not start.
        pid = machine.systemctl_show(WORKER, "MainPID")["MainPID"]
        machine.run("kill", "-KILL", pid)
        machine.wait_until(
            lambda: machine.systemctl_show(WORKER, "Result")["Result"] == "exec-condition",
            30, "the automatic restart",
        )  # fmt: skip
        assert machine.systemctl_show(WORKER, "ActiveState")["ActiveState"] == "inactive"
        machine.reboot()
        assert WORKER.removesuffix(".service") not in active_units(machine)
        assert machine.read(SECRETS) == written, "nobody but the administrator changes it"

        tradingctl(machine, "environment", "production")
        machine.run("systemctl", "start", WORKER)
        assert_healthy(machine)
        assert variable(machine, WORKER, "AT_WORKER_MODE") == "paper-send"


def test_release_is_not_taken_back_for_what_the_administrator_wrote(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        set_mode(machine, "paper-send")
        project.publish()
        upgraded = install_stack(machine)
        assert f"DEGRADED {WORKER}" in upgraded.output
        assert "is not started: AT_WORKER_MODE is paper-send" in upgraded.output
        record = last_good(machine)
        assert record is not None
        assert record["release"] == second
        assert active_units(machine) == [
            "marketdata-stream", "automatictrader-api", "trading-dashboard-v2"
        ]  # fmt: skip
        assert tradingctl(machine, "rollback", first).returncode == 0
        assert WORKER.removesuffix(".service") not in active_units(machine)
        set_mode(machine, "plan-only")
        start_worker(machine)
        assert_in_service(machine, project, first)


CASES = {
    "PLAIN": "PLAIN=a b  \n",
    "SINGLE": "SINGLE='x \" y' \n",
    "DOUBLE": 'DOUBLE="a\\"b\\$c\\d"\n',
    "LINES": "LINES='two\nlines'\n",
    "MIXED": "MIXED='a'\"b\"c\n",
    "APOSTROPHE": "APOSTROPHE=it's\n",
    "CONTINUED": "CONTINUED=a\\\nb\n",
    "ESCAPED": "ESCAPED=a\\nb\n",
    "EQUALS": "EQUALS=x=y # z\n",
    "TWICE": "TWICE=1\n  TWICE = 2\r\n",
    "COMMENT": "# COMMENT=1\n ; COMMENT=2\n",
    "EXPORT": "export EXPORT=1\n",
    "LAST": "LAST=",
}


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_files_of_variables_are_read_as_systemd_reads_them(
    installed_slim: Snapshot, slim: Project
) -> None:
    text = "".join(CASES.values())
    with installed_server(installed_slim, slim) as machine:
        machine.write("/root/variables", text)
        command = ("systemd-run", "--wait", "--pipe", "--quiet", "--collect")
        shown = machine.run(*command, "-p", "EnvironmentFile=/root/variables", "env", "-0").stdout
        found = dict(each.partition("=")[::2] for each in shown.split("\0") if each)
        ours = dict(assignments(text))
        assert {name: found.get(name) for name in CASES} == {name: ours.get(name) for name in CASES}
