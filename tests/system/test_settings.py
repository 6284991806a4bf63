"""What the administrator decided stays so when a new release comes, and nobody is asked anything.

He has edited one file of settings and deleted another, masked one service and disabled another; the
next release brings new defaults for all of these files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from tests.system.load import under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.stack import (
    PACKAGES,
    active_units,
    apt,
    assert_healthy,
    install_stack,
    installed,
    installed_server,
    status,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

EDITED = "/etc/trading/automatictrader-api.env"
FOLLOWS = "/etc/trading/marketdata-stream.env"
HIS_OWN = "# paper trading comes later\nAT_WORKER_MODE=plan-only\nAT_WORKER_POLL_SEC=2\n"
CHANGED = {
    "automatictrader-api.env": "# Only the next release knows of this.\nAT_NEW_SETTING=1\n",
    "marketdata-stream.env": "WATCH_SYMBOLS=AAPL\n",
}
"""What the next release adds to the defaults; the last assignment of a variable holds."""


@dataclass(frozen=True)
class Defaults:
    """The defaults of one release by file name."""

    files: dict[str, str]

    @classmethod
    def of(cls, project: Project) -> Defaults:
        """Return what the packages of a project ship."""
        conf = project.root / "packaging" / "conf"
        return cls({name: (conf / name).read_text() for name in CHANGED})


@pytest.fixture(scope="session")
def laters(slims: Callable[[str], Project], projects: Path) -> Callable[[str], Project]:
    """Return a function that gives, for a Debian release, the project of :func:`later`."""

    @functools.cache
    def later_on(os_release: str) -> Project:
        project = slims(os_release).copy(projects / f"later-settings-{os_release}")
        for name, text in CHANGED.items():
            with (project.root / "packaging" / "conf" / name).open("a") as file:
                file.write(text)
        project.lock_again()
        project.build()
        project.publish()
        return project

    return later_on


@pytest.fixture(scope="module")
def later(os_release: str, laters: Callable[[str], Project]) -> Project:
    """Return a project whose next release brings other defaults; built and published."""
    return laters(os_release)


@pytest.fixture
def machine(installed_slim: Snapshot, later: Project) -> Iterator[Machine]:
    """Return a server with the first release that sees the next one."""
    with installed_server(installed_slim, later) as machine:
        yield machine


def untouched(machine: Machine, path: str) -> str:
    """Return what changes when a file is replaced, written to, or given to somebody else."""
    return machine.run("stat", "-c", "%i %Y %Z %s %a %U:%G", path).stdout


def variables(machine: Machine, unit: str) -> list[str]:
    """Return the environment of a running service."""
    pid = machine.systemctl_show(f"{unit}.service")["MainPID"]
    return machine.read(f"/proc/{pid}/environ").split("\0")


def told(machine: Machine) -> str:
    """Return what the status says about settings."""
    lines = tradingctl(machine, "status", user="nobody").stdout.splitlines()
    return "\n".join(
        f"{line}\n{after}" for line, after in pairwise(lines) if line.startswith("settings ")
    )


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_edited_settings_stay_and_others_follow_in_an_unattended_upgrade(
    machine: Machine, slim: Project, later: Project
) -> None:
    first, second = Defaults.of(slim).files, Defaults.of(later).files
    assert "EODHD_ENDPOINT=us" in variables(machine, "marketdata-stream")
    assert "WATCH_SYMBOLS=AAPL" not in variables(machine, "marketdata-stream")
    machine.write(EDITED, HIS_OWN)
    before = untouched(machine, EDITED)
    assert told(machine) == ""

    apt(machine, "update")
    with under_load(machine) as load:
        apt(machine, "upgrade")
        load.wait_for_rows(5)
    assert_healthy(machine)
    assert installed(machine)["traderunner-stack"].startswith(later.release)
    assert machine.read(EDITED) == HIS_OWN
    assert untouched(machine, EDITED) == before
    assert machine.read(f"{EDITED}.ucf-dist") == second["automatictrader-api.env"]
    assert machine.read(FOLLOWS) == second["marketdata-stream.env"]
    assert "WATCH_SYMBOLS=AAPL" in variables(machine, "marketdata-stream")
    assert "AT_WORKER_POLL_SEC=2" in variables(machine, "automatictrader-worker")
    assert told(machine) == (
        f"settings     {EDITED} is the administrator's; the release's new default lies in"
        " automatictrader-api.env.ucf-dist, to be removed when merged\n"
        f"             next: diff -u {EDITED} {EDITED}.ucf-dist"
    )
    (difference,) = status(machine)["settings"]
    assert (difference["file"], difference["beside"]) == (EDITED, f"{EDITED}.ucf-dist")
    assert "AT_NEW_SETTING" in machine.sh(difference["next_command"], check=False).stdout
    machine.run("rm", difference["beside"])
    assert told(machine) == "", "he has merged it"
    apt(machine, "install", "--reinstall", "automatictrader-api")
    assert told(machine) == "", "and is not told again"

    back = [str(deb) for deb in in_archive(machine, slim)]
    machine.sh(f"dpkg -i {' '.join(back)} <&-", timeout=300)
    assert_healthy(machine)
    assert machine.read(EDITED) == HIS_OWN
    assert untouched(machine, EDITED) == before
    assert machine.read(FOLLOWS) == first["marketdata-stream.env"]

    apt(machine, "full-upgrade")
    assert machine.read(EDITED) == HIS_OWN
    assert machine.read(FOLLOWS) == second["marketdata-stream.env"]
    assert_healthy(machine)


def in_archive(machine: Machine, project: Project) -> list[str]:
    """Return the packages of a project's release where the machine sees them in the archive."""
    wanted = [deb.name for deb in project.debs() if deb.name.split("_")[0] in PACKAGES]
    found = machine.sh("find /srv/traderunner/apt/pool -name '*.deb'").stdout.split()
    return [path for path in found if Path(path).name in wanted]


def test_a_person_at_a_terminal_is_not_asked_either(machine: Machine, later: Project) -> None:
    machine.write(EDITED, HIS_OWN)
    apt(machine, "update")
    # Nobody types anything, and the terminal stays open: a question would be waited at.
    machine.sh("mkfifo /root/silence")
    upgraded = machine.sh(
        "sleep 200 >/root/silence & DEBIAN_FRONTEND=readline script -qec 'apt-get -y upgrade'"
        " /dev/null </root/silence; code=$?; kill $!; exit $code",
        timeout=150,
    )
    assert "onfiguration file" not in upgraded.output
    assert machine.read(EDITED) == HIS_OWN
    assert_healthy(machine)


def test_deleted_settings_stay_deleted(machine: Machine) -> None:
    machine.run("rm", FOLLOWS)
    install_stack(machine, check=False)  # a service may need what was deleted
    assert machine.run("test", "-e", FOLLOWS, check=False).returncode == 1
    told_of = [each for each in status(machine)["settings"] if each["file"] == FOLLOWS]
    assert len(told_of) == 1
    machine.sh(told_of[0]["next_command"])
    assert machine.run("test", "-e", FOLLOWS, check=False).returncode == 0


def test_masked_and_disabled_services_stay_so_through_an_upgrade(machine: Machine) -> None:
    machine.run("systemctl", "disable", "--now", "marketdata-stream.service")
    machine.run("systemctl", "mask", "--now", "trading-dashboard-v2.service")
    upgraded = install_stack(machine)
    for unit in ("marketdata-stream", "trading-dashboard-v2"):
        assert f"SKIPPED  {unit}.service" in upgraded.output
    assert active_units(machine) == ["automatictrader-api", "automatictrader-worker"]
    enabled = machine.systemctl_show("marketdata-stream.service")["UnitFileState"]
    masked = machine.systemctl_show("trading-dashboard-v2.service")["UnitFileState"]
    assert (enabled, masked) == ("disabled", "masked")
    found = {unit["unit"]: (unit["result"], unit["reason"]) for unit in verdict(machine)["units"]}
    assert found["marketdata-stream.service"] == ("SKIPPED", "disabled by the administrator")
    assert found["trading-dashboard-v2.service"] == ("SKIPPED", "masked by the administrator")

    machine.reboot()
    assert active_units(machine) == ["automatictrader-api", "automatictrader-worker"]
