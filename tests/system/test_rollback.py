"""A release that fails costs nothing: the failing apt command itself ends on the one before.

Each fault shows only on a server. After it, everything is as before, the release that failed is
kept away, and everybody can see what happened.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.load import under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import (
    assert_in_service,
    blocked,
    events,
    history,
    kept,
    versions_of,
)
from tests.system.stack import apt, install_stack, installed_server, tradingctl

pytestmark = pytest.mark.system

Releases = Callable[..., Project]

FAULTS = {
    "answers_500": "automatictrader-api.service: health check: got status 500 broken on purpose",
    "crashes_at_import": "automatictrader-api.service: unit state: got ",
    "worker_dies_after_5s": "automatictrader-worker.service: ",
    "dashboard_never_listens": "trading-dashboard-v2.service: ",
    "claims_old_commit": "automatictrader-api.service: health check: got ",
    "port_taken": "trading-dashboard-v2.service: port 9001: got held by process ",
}
"""Each fault and the cause that is named for it."""


@pytest.mark.parametrize(
    ("os_release", "fault"),
    [
        ("bookworm", "answers_500"),
        ("bookworm", "dashboard_never_listens"),
        ("bookworm", "claims_old_commit"),
        ("bookworm", "port_taken"),
        ("trixie", "answers_500"),
        ("trixie", "crashes_at_import"),
        ("trixie", "worker_dies_after_5s"),
        ("trixie", "port_taken"),
    ],
    indirect=["os_release"],
)
def test_failing_release_ends_on_the_one_before(
    installed_slim: Snapshot, releases: Releases, fault: str
) -> None:
    project = releases(fault)
    first, failing = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish()

        with under_load(machine, honest=fault != "claims_old_commit") as load:
            failed = install_stack(machine, check=False)
            load.wait_for_rows(5)

        assert failed.returncode == 100
        assert f"release {failing} is taken back: {FAULTS[fault]}" in failed.output
        assert f"release {first} is in service and verified" in failed.output
        assert_in_service(machine, project, first)
        assert blocked(machine) == [failing]
        assert kept(machine) == [first]
        assert events(machine)[-3:] == [
            ("install", failing),
            ("failed", failing),
            ("rolled-back", first),
        ]
        assert history(machine)[-1]["check"].startswith(FAULTS[fault])
        assert history(machine)[-1]["by"] == "root: apt-get install traderunner-stack"
        assert history(machine)[-1]["versions"] == versions_of(project, first)
        shown = tradingctl(machine, "history").stdout
        assert [word for word in ("rolled-back", first, FAULTS[fault]) if word not in shown] == []
        machine.run("journalctl", "--sync")
        said = machine.run("journalctl", "-t", "tradingctl", "--output=cat").stdout
        assert said.count(f"rolled-back {first} from release {failing} by root: ") == 1


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_what_failed_is_not_tried_again_and_a_later_release_passes(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500", "good3")
    first, failing, good = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish(failing)
        assert install_stack(machine, check=False).returncode == 100
        told = len(history(machine))
        for words in (("upgrade",), ("dist-upgrade",), ("install", "traderunner-stack"),
                      ("autoremove",), ("install", "-f")):  # fmt: skip
            apt(machine, *words)
        assert_in_service(machine, project, first)
        assert len(history(machine)) == told, "nothing was tried"

        with under_load(machine):
            project.publish(good)
            apt(machine, "update")
            apt(machine, "upgrade")
        assert_in_service(machine, project, good)
        assert kept(machine) == [first, good]


def assert_tried_once(machine: Machine, failing: str) -> None:
    """Show that the next apt command, which configures the stack again, tries no rollback."""
    told = events(machine)
    assert told[-1] == ("rollback-failed", failing)
    again = apt(machine, "install", "--reinstall", "traderunner-archive-keyring", check=False)
    assert again.returncode == 100
    assert "NO ROLLBACK" in again.output
    assert events(machine) == [*told, ("failed", failing)], "no rollback is tried again"


def test_first_release_that_fails_stops_and_says_what_to_type(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500")
    first, failing = project.releases
    with installed_server(installed_slim, project) as machine:
        machine.run("rm", "-r", "/var/lib/trading/releases", "/var/lib/trading/last-good.json")
        project.publish()
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert "NO ROLLBACK: no release was verified on this server before" in failed.output
        assert failed.output.count("\nnext: ") == 1
        assert "next: journalctl -u automatictrader-api.service -n 100\n" in failed.output
        assert_tried_once(machine, failing)
        assert first not in kept(machine)


def test_damaged_store_is_refused_before_anything_is_touched(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500")
    first, failing = project.releases
    with installed_server(installed_slim, project) as machine:
        (deb,) = machine.sh(
            f"ls /var/lib/trading/releases/{first}/automatictrader-api_*.deb"
        ).stdout.split()
        machine.sh(f"printf x >>{deb}")
        project.publish()
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert "is not the file that was verified" in failed.output
        assert failed.output.count("\nnext: ") == 1
        assert_tried_once(machine, failing)
        running = machine.run("readlink", "/opt/trading/automatictrader-api").stdout
        assert failing in running, "what cannot be installed again is not switched to"


def test_release_before_that_fails_too_stops_after_one_try(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500", "good3")
    first, failing, _ = project.releases
    with installed_server(installed_slim, project) as machine:
        # Whatever release is installed, its API does not start any more.
        broken = "/etc/systemd/system/automatictrader-api.service.d/broken.conf"
        machine.write(broken, "[Service]\nExecStartPre=/bin/false\n")
        machine.run("systemctl", "daemon-reload")
        project.publish(failing)
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert f"NO ROLLBACK: release {first} is installed and automatictrader-api.service" in (
            failed.output
        )
        assert failed.output.count("\nnext: ") == 1
        told = [event for event, _ in events(machine)]
        assert told[-3:] == ["install", "failed", "rollback-failed"]
        assert "could not be taken back" in tradingctl(machine, "status").stdout
        machine.reboot(degraded_ok=True)
        assert [event for event, _ in events(machine)] == told, "no rollback is tried again"

        machine.run("rm", broken)
        machine.run("systemctl", "daemon-reload")
        done = tradingctl(machine, "rollback", first)
        assert done.returncode == 0, done.output
        assert_in_service(machine, project, first)
