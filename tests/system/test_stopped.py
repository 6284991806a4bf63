"""Services that somebody stopped, or that may not be stopped, when packages come or go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import assert_in_service, exists
from tests.system.stack import (
    UNITS,
    active_units,
    install_stack,
    installed_server,
    last_good,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
WORKER = "automatictrader-worker"
GATEWAY = "trading-ibgateway"
POLICY = "/usr/sbin/policy-rc.d"
OTHERS = [unit for unit in UNITS if unit != WORKER]


def test_a_worker_that_was_stopped_stays_so(installed_slim: Snapshot, releases: Releases) -> None:
    project = releases("good2", "answers_500")
    first, second, bad = project.releases
    with installed_server(installed_slim, project) as machine:
        machine.run("systemctl", "stop", WORKER)
        machine.copy_in(project.deb(GATEWAY), "/root/gateway.deb")
        for command in (
            ("dpkg", "--force-depends", "-i", "/root/gateway.deb"),
            ("dpkg", "--force-depends", "-i", "/root/gateway.deb"),
            ("dpkg", "-r", GATEWAY),
        ):
            done = machine.run(*command)
            assert f"systemctl start {WORKER}.service" in done.output
            assert active_units(machine) == OTHERS

        project.publish(second)
        done = install_stack(machine)
        assert f"to start it: systemctl start {WORKER}.service" in done.output
        assert active_units(machine) == OTHERS
        record = last_good(machine)
        assert record is not None
        assert (record["release"], record["units"][f"{WORKER}.service"]) == (second, "SKIPPED")

        project.publish(bad)
        assert install_stack(machine, check=False).returncode == 100
        assert active_units(machine) == OTHERS
        assert tradingctl(machine, "rollback", first).returncode == 0
        assert active_units(machine) == OTHERS

        machine.run("systemctl", "start", WORKER)
        assert tradingctl(machine, "rollback", second).returncode == 0
        assert_in_service(machine, project, second)


def test_code_is_not_exchanged_under_services_that_may_not_be_stopped(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        links = code(machine)
        machine.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
        project.publish()
        done = install_stack(machine)
        assert "automatictrader-api.service automatictrader-worker.service did not stop" in (
            done.output
        )
        assert "SKIPPED: policy-rc.d forbids to start services" in done.output
        assert code(machine) == links
        assert active_units(machine) == list(UNITS)
        record = last_good(machine)
        assert record is not None
        assert record["release"] == first

        machine.run("mv", POLICY, f"{POLICY}.off")
        assert {unit["result"] for unit in verdict(machine)["units"]} >= {"FAILED"}
        for name in sorted({unit["component"] for unit in verdict(machine)["units"]}):
            assert tradingctl(machine, "activate", name).returncode == 0
        machine.run("dpkg-reconfigure", "-fnoninteractive", "traderunner-stack")
        assert_in_service(machine, project, second)
        assert not exists(machine, "/run/trading/left-stopped")


def code(machine: Machine) -> str:
    """Return which generations are in service."""
    return machine.sh("find /opt/trading -maxdepth 1 -type l -printf '%f %l\\n' | sort").stdout
