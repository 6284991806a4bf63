"""What an administrator sees of a release that was taken back, in words for scenarios."""

from __future__ import annotations

import json
from typing import Any

from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.stack import (
    APT_SECONDS,
    PACKAGES,
    assert_healthy,
    command,
    installed,
    last_good,
    tradingctl,
)

RECORD = "/var/lib/trading/transaction/record.json"
BLOCKED = "/etc/apt/preferences.d/traderunner-blocked.pref"
KEPT = "/var/lib/trading/releases"


def exists(machine: Machine, path: str) -> bool:
    """Return whether there is something at a path."""
    return command(machine, "test", "-e", path, check=False).returncode == 0


def await_settled(machine: Machine) -> None:
    """Wait until no installation is under way and nobody sees to one."""

    def settled() -> bool:
        shown = machine.systemctl_show("trading-rollback.service", "ActiveState")
        return not exists(machine, RECORD) and shown["ActiveState"] in ("inactive", "failed")

    machine.wait_until(settled, APT_SECONDS, "the end of the installation")


def versions_of(project: Project, release: str) -> dict[str, str]:
    """Return the versions of the packages of a release of the project, by their .debs."""
    debs = (project.root / "dist" / release).glob("*.deb")
    named = (deb.name.split("_")[:2] for deb in debs)
    return {name: version for name, version in named if name in PACKAGES}


def assert_in_service(machine: Machine, project: Project, release: str) -> None:
    """Assert that a release, whole and verified, is what dpkg has and what runs."""
    expected = versions_of(project, release)
    found = {name: version for name, version in installed(machine).items() if name in PACKAGES}
    assert found == expected
    assert command(machine, "dpkg", "--audit").output == ""
    assert_healthy(machine)
    record = last_good(machine)
    assert record is not None
    assert record["release"] == release
    assert not exists(machine, RECORD)


def blocked(machine: Machine) -> list[str]:
    """Return the releases that apt is kept from installing by itself."""
    if not exists(machine, BLOCKED):
        return []
    lines = machine.read(BLOCKED).splitlines()
    pinned = [line.removeprefix("Pin: version ") for line in lines if line.startswith("Pin: ")]
    found = [version.partition("~")[0] for version in pinned]
    return sorted(found, key=lambda release: [int(part) for part in release.split(".")])


def kept(machine: Machine) -> list[str]:
    """Return the releases that are kept for a rollback."""
    return command(machine, "ls", "-v", KEPT).stdout.split()


def history(machine: Machine) -> list[dict[str, Any]]:
    """Return what ``tradingctl history --json`` prints."""
    found: list[dict[str, Any]] = json.loads(tradingctl(machine, "history", "--json").stdout)
    return found


def events(machine: Machine) -> list[tuple[str, str]]:
    """Return the events so far with their release, backups apart."""
    told = ((each["event"], each["release"]) for each in history(machine))
    return [(event, release) for event, release in told if event != "backup"]
