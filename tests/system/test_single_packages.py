"""The packages that stand alone: the keyring, and the unit for an IB Gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.stack import KEYRING, apt, server

pytestmark = pytest.mark.system

SOURCES = "/etc/apt/sources.list.d/traderunner.sources"
GATEWAY = "trading-ibgateway"


def priority(machine: Machine) -> str:
    """Return what apt says of where the stack would come from, and how much it wants it."""
    return machine.run("apt-cache", "policy", "traderunner-stack").stdout


def test_removing_the_keyring_leaves_apt_working_and_installing_it_again_brings_it_back(
    base: Path, release: Project
) -> None:
    with server(base, release) as machine:
        apt(machine, "update")
        assert " 100\n        100 file:/srv/traderunner/apt" in priority(machine)

        apt(machine, "remove", KEYRING)
        assert apt(machine, "update").returncode == 0
        assert "Candidate: (none)" in priority(machine) or not priority(machine)

        apt(machine, "install", f"/root/{KEYRING}.deb")
        apt(machine, "update")
        assert "100 file:/srv/traderunner/apt" in priority(machine)

        apt(machine, "purge", KEYRING)
        left = "find /etc/apt/sources.list.d /etc/apt/preferences.d -name 'traderunner*'"
        assert machine.sh(left).stdout == ""


def test_removing_the_gateway_stops_it_and_purge_takes_the_login(
    base: Path, release: Project
) -> None:
    with server(base, release) as machine:
        apt(machine, "update")
        apt(machine, "install", "traderunner-common")
        machine.copy_in(release.deb(GATEWAY), "/root/gateway.deb")
        # There is no virtual display in this root; the service below is made to do without.
        configured = machine.run("dpkg", "--force-depends", "-i", "/root/gateway.deb")
        assert "ibgateway: /opt/ibgateway/1030/jars is missing" in configured.output
        enabled = machine.run("systemctl", "is-enabled", "ibgateway", check=False).stdout.strip()
        assert enabled == "disabled"

        stand_in = "[Service]\nExecStartPre=\nExecStart=\nExecStart=/usr/bin/tail -f /dev/null\n"
        machine.write("/etc/systemd/system/ibgateway.service.d/stand-in.conf", stand_in)
        machine.write("/etc/trading/secrets/ibc.ini", "IbPassword=secret\n", 0o640)
        machine.sh("systemctl daemon-reload && systemctl start ibgateway")
        assert machine.systemctl_show("ibgateway")["ActiveState"] == "active"

        machine.run("dpkg", "-r", GATEWAY)
        state = machine.run("systemctl", "is-active", "ibgateway", check=False).stdout.strip()
        assert state in ("inactive", "unknown")
        machine.run("dpkg", "--purge", GATEWAY)
        assert machine.sh("ls /etc/trading/secrets").stdout == ""
