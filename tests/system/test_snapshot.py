"""A snapshot of a machine: others start where it stopped, and do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.machine import Machine, MachineError, Snapshot
from tests.system.project import Project
from tests.system.stack import (
    PACKAGES,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    installed,
    installed_server,
    last_good,
    tradingctl,
)

pytestmark = pytest.mark.system

BOTH = pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
CODE = "/usr/lib/trading/automatictrader-api/app.py"
GENERATIONS = "/opt/trading/releases/automatictrader-api"


@pytest.fixture
def trader(installed_slim: Snapshot, slim: Project) -> Iterator[Machine]:
    """Return a server that started from the snapshot."""
    with installed_server(installed_slim, slim) as machine:
        yield machine


@BOTH
def test_installed_snapshot_boots_healthy(trader: Machine, slim: Project, os_release: str) -> None:
    assert f"VERSION_CODENAME={os_release}" in trader.read("/etc/os-release")
    assert active_units(trader) == list(UNITS)
    assert_healthy(trader)
    assert set(PACKAGES) < set(installed(trader))
    assert trader.run("dpkg", "--audit").output == ""
    assert trader.run("dpkg", "-V", *PACKAGES).output == ""
    record = last_good(trader)
    assert record is not None
    assert record["release"] == slim.release


def test_generations_are_hard_links_still_and_can_be_activated(trader: Machine) -> None:
    (name,) = trader.run("ls", GENERATIONS).stdout.split()
    assert same_file(trader, CODE, f"{GENERATIONS}/{name}/app.py")
    assert tradingctl(trader, "activate", "automatictrader-api").returncode == 0
    assert_healthy(trader)
    apt(trader, "update")
    apt(trader, "install", "--reinstall", "automatictrader-api", "traderunner-stack")
    assert_healthy(trader)


def test_machines_of_one_snapshot_do_not_see_each_other(
    trader: Machine, installed_slim: Snapshot, slim: Project
) -> None:
    trader.sh(f"systemctl stop automatictrader-api.service; rm {CODE}; echo mine >/etc/mine")
    with installed_server(installed_slim, slim) as other:
        assert_healthy(other)
        assert other.run("test", "-e", "/etc/mine", check=False).returncode == 1
        ids = {machine.read("/etc/machine-id") for machine in (trader, other)}
        assert len(ids) == 2


def test_snapshot_keeps_links_removals_and_modes(base: Path, tmp_path: Path) -> None:
    with Machine(base) as first:
        script = "echo one >/srv/one; ln /srv/one /srv/two; chmod 2750 /srv; rm /etc/debian_version"
        first.chroot_run("sh", "-euc", script)
        once = first.save(tmp_path / "once")
    with Machine(once) as second:
        second.write("/srv/three", "three\n")
        twice = second.save(tmp_path / "twice")
    with Machine(twice) as third:
        listed = third.chroot_run("sh", "-c", "cat /srv/*; stat -c %a /srv; ls /etc")
        assert listed.stdout.startswith("one\nthree\none\n2750\n")
        assert "debian_version" not in listed.stdout
        assert same_file(third, "/srv/one", "/srv/two")


def test_snapshot_of_a_full_copy_stands_alone(base: Path, tmp_path: Path) -> None:
    with Machine(base, overlay=False) as first:
        first.write("/etc/mine", "mine\n")
        alone = first.save(tmp_path / "alone")
    assert alone.layers == (tmp_path / "alone",)
    with Machine(alone) as second:
        assert second.read("/etc/mine") == "mine\n"


def test_running_machine_is_not_saved(booted: Machine, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="not at rest"):
        booted.save(tmp_path / "snapshot")


def same_file(machine: Machine, one: str, other: str) -> bool:
    """Tell whether two paths in a machine are names of one file."""
    run = machine.run if machine.booted else machine.chroot_run
    return run("test", one, "-ef", other, check=False).returncode == 0
