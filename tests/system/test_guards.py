"""Nothing takes the stack apart, or restarts its services, by the way: not apt, not needrestart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.system.machine import DEFAULT_PACKAGES, Machine, Snapshot, base_root
from tests.system.project import Project
from tests.system.stack import (
    KEYRING,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    install_stack,
    installed,
    installed_server,
    server,
    tradingctl,
)

pytestmark = pytest.mark.system

NEWER = "/root/newer.deb"
LIBRARY = "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0"


@pytest.fixture
def machine(installed_slim: Snapshot, slim: Project) -> Iterator[Machine]:
    """Return a server with the stack, and a newer package of one component alone."""
    with installed_server(installed_slim, slim) as machine:
        (deb,) = machine.sh(
            "find /srv/traderunner/apt/pool -name 'automatictrader-api_*'"
        ).stdout.split()
        machine.sh(
            f"dpkg-deb -R {deb} /root/newer && "
            "sed -i 's/^Version: .*/Version: 2099.1.1.1+gfffffff-1~deb12/'"
            f" /root/newer/DEBIAN/control && dpkg-deb -Znone -b /root/newer {NEWER}"
        )
        yield machine


def state(machine: Machine) -> str:
    """Return dpkg's word for the state of the stack's own package, without what is wanted."""
    form = "${db:Status-Status}"
    return machine.run("dpkg-query", "-W", "-f", form, "traderunner-stack", check=False).stdout


def test_apt_does_not_take_the_stack_apart(machine: Machine) -> None:
    before = installed(machine)
    for words in (
        ("install", NEWER),
        ("remove", "automatictrader-api"),
        ("remove", "traderunner-common"),
        ("remove", "traderunner-stack"),
        ("purge", "traderunner-stack"),
    ):
        refused = apt(machine, *words, check=False)
        assert refused.returncode == 100, f"{words}: {refused.output}"
        assert installed(machine) == before, words
    for harmless in ("autoremove", "dist-upgrade", "--fix-broken install", "autopurge"):
        apt(machine, *harmless.split())
        assert installed(machine) == before, harmless
    assert machine.run("dpkg", "-r", "traderunner-stack", check=False).returncode == 1
    assert active_units(machine) == list(UNITS)
    assert_healthy(machine)


def test_apt_does_not_mend_what_dpkg_broke_by_removing_the_stack(machine: Machine) -> None:
    before = installed(machine)
    # What goes back by itself would be faster than apt.
    machine.run("systemctl", "stop", "trading-rollback.path")
    machine.run("dpkg", "-i", NEWER, check=False)
    assert installed(machine) != before
    for words in (("-f", "install"), ("autoremove",), ("dist-upgrade",), ("upgrade",)):
        apt(machine, *words, check=False)
        assert state(machine) not in ("", "not-installed", "config-files"), words
    recovered = tradingctl(machine, "recover")
    assert installed(machine) == before, recovered.output
    assert_healthy(machine)


def test_the_stack_goes_when_it_is_meant_to(machine: Machine) -> None:
    apt(machine, "remove", "--allow-remove-essential", "traderunner-stack")
    assert state(machine) in ("", "not-installed", "config-files")
    left = installed(machine)
    assert "automatictrader-api" in left
    apt(machine, "autoremove")
    assert installed(machine) == left, "and its components only when they are named"
    assert active_units(machine) == list(UNITS)
    install_stack(machine)
    assert_healthy(machine)
    # As the README has it: the components go with what they depend on.
    apt(machine, "remove", "--allow-remove-essential", "traderunner-stack", "traderunner-common")
    assert list(installed(machine)) == [KEYRING]
    assert active_units(machine) == []


def test_needrestart_restarts_others_and_leaves_ours_alone(os_release: str, slim: Project) -> None:
    base = base_root(os_release, (*DEFAULT_PACKAGES, "needrestart"))
    with server(base, slim) as machine:
        install_stack(machine)
        script = "import sqlite3, time; time.sleep(10000)"
        machine.write(
            "/etc/systemd/system/other.service",
            f'[Service]\nExecStart=/usr/bin/python3 -c "{script}"\n',
        )
        machine.sh("systemctl daemon-reload && systemctl start other.service")
        units = [f"{unit}.service" for unit in UNITS]
        before = invocations(machine, [*units, "other.service"])
        pid = machine.systemctl_show("other.service")["MainPID"]
        machine.wait_until(
            lambda: "libsqlite3" in machine.read(f"/proc/{pid}/maps"), 20, "the other service"
        )
        # An upgrade of a library that all of them use.
        library = machine.run("readlink", "-f", LIBRARY).stdout.strip()
        machine.sh(f"cp -p {library} {library}.new && mv {library}.new {library}")

        looked = machine.run("needrestart", "-b", "-r", "l").stdout
        assert "NEEDRESTART-SVC: other.service" in looked
        machine.run("needrestart", "-r", "a")
        after = invocations(machine, [*units, "other.service"])
        assert after["other.service"] != before["other.service"], "needrestart works here"
        assert {unit: after[unit] for unit in units} == {unit: before[unit] for unit in units}
        assert_healthy(machine)
        # Without the guard they would have been.
        machine.sh(
            "rm /etc/needrestart/conf.d/*trad*.conf /etc/needrestart/conf.d/marketdata*.conf"
        )
        machine.run("needrestart", "-r", "a")
        restarted = invocations(machine, units)
        assert (
            restarted["automatictrader-worker.service"] != before["automatictrader-worker.service"]
        )


def invocations(machine: Machine, units: list[str]) -> dict[str, str]:
    """Return what changes whenever a unit is started."""
    return {unit: machine.systemctl_show(unit)["InvocationID"] for unit in units}
