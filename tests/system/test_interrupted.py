"""An installation that is cut short: a script that fails, a full disk, a signal, a power cut.

The same command, or the next boot, brings the machine to one verified release. Nothing is blocked:
what could not be unpacked may be tried again.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.faults import DPKG_LOG, kill_dpkg, power_cut, shut_down
from tests.system.load import under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import (
    RECORD,
    assert_in_service,
    await_settled,
    blocked,
    events,
    versions_of,
)
from tests.system.stack import (
    apt,
    install_stack,
    installed_server,
)

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
UPGRADE = ("apt-get", "-y", "install", "traderunner-stack")
UNPACK = "status half-installed traderunner:"
CONFIGURE = "configure automatictrader-api:"
VERIFY = "configure traderunner-stack:"
BEGUN = '"attempts": 1'
DOWNGRADE = "upgrade automatictrader-api:amd64 {failing} {first}"


def assert_taken_back(machine: Machine, project: Project) -> None:
    """Assert that the first release is in service, and that the second can be tried again."""
    first, second = project.releases
    await_settled(machine)
    assert_in_service(machine, project, first)
    assert blocked(machine) == []
    assert events(machine)[-1] == ("rolled-back", first)
    install_stack(machine)
    assert_in_service(machine, project, second)


def test_preinst_that_fails_leaves_everything_on_the_release_before(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("preinst_fails", "good3")
    first, failing, good = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish(failing)
        with under_load(machine):
            failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert "the preinst of this release fails" in failed.output
        assert f"release {failing} is taken back: the installation did not come to its end" in (
            failed.output
        )
        assert_in_service(machine, project, first)
        assert blocked(machine) == []
        project.publish(good)
        install_stack(machine)
        assert_in_service(machine, project, good)


def test_unpacking_that_runs_out_of_disk_is_taken_back(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish()
        # What is asked for beforehand is room where the code lies; here it is the manual that
        # cannot be unpacked.
        documents = "/usr/share/doc/automatictrader-api"
        machine.run("cp", "-a", documents, "/root/documents")
        machine.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", documents)
        with under_load(machine):
            failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert "No space left on device" in failed.output
        machine.run("umount", documents)
        assert f"release {first} is in service and verified" in failed.output
        assert_in_service(machine, project, first)
        assert blocked(machine) == []
        install_stack(machine)
        assert_in_service(machine, project, second)


@pytest.mark.parametrize(
    ("os_release", "moment"),
    [("bookworm", UNPACK), ("trixie", CONFIGURE)],
    indirect=["os_release"],
)
def test_dpkg_that_is_killed_is_taken_back_by_the_same_command(
    installed_slim: Snapshot, releases: Releases, moment: str
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        project.publish()
        apt(machine, "update")
        with under_load(machine) as load:
            killed = kill_dpkg(machine, UPGRADE, moment)
            load.wait_for_rows(5)
        assert killed.returncode == 100
        assert f"release {project.releases[0]} is in service and verified" in killed.output
        assert_taken_back(machine, project)


def test_apt_that_is_killed_is_taken_back_without_it(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        project.publish()
        apt(machine, "update")
        with under_load(machine):
            kill_dpkg(machine, ("sh", "-c", f"{' '.join(UPGRADE)}; pkill -9 -x dpkg"), UNPACK,
                      victim="apt-get")  # fmt: skip
            await_settled(machine)
        assert_taken_back(machine, project)


@pytest.mark.parametrize(
    ("os_release", "moment"),
    [
        ("bookworm", UNPACK),
        ("bookworm", CONFIGURE),
        ("bookworm", VERIFY),
        ("trixie", UNPACK),
        ("trixie", CONFIGURE),
    ],
    indirect=["os_release"],
)
def test_power_cut_in_an_upgrade_ends_on_the_release_before(
    installed_slim: Snapshot, releases: Releases, moment: str
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        project.publish()
        apt(machine, "update")
        with under_load(machine) as load:
            power_cut(machine, UPGRADE, moment)
            machine.boot(degraded_ok=True)
            load.start()
            await_settled(machine)
        assert_taken_back(machine, project)


@pytest.mark.parametrize(
    ("os_release", "end", "moment", "path"),
    # trixie's systemd lets nobody, not even root, shut down while apt holds its inhibitor lock.
    [
        ("bookworm", power_cut, BEGUN, RECORD),
        ("trixie", power_cut, BEGUN, RECORD),
        ("bookworm", shut_down, BEGUN, RECORD),
        ("bookworm", power_cut, DOWNGRADE, DPKG_LOG),
    ],
    indirect=["os_release"],
    ids=["cut-at-begin", "cut-at-begin-trixie", "shut-down-at-begin", "cut-at-downgrade"],
)
def test_rollback_that_ends_with_the_machine_is_gone_on_with_at_boot(
    installed_slim: Snapshot, releases: Releases, end: Callable[..., None], moment: str, path: str
) -> None:
    project = releases("answers_500", "good3")
    first, failing, good = project.releases
    versions = [versions_of(project, each)["automatictrader-api"] for each in (first, failing)]
    moment = moment.format(first=versions[0], failing=versions[1])
    with installed_server(installed_slim, project) as machine:
        project.publish(failing)
        apt(machine, "update")
        with under_load(machine) as load:
            end(machine, UPGRADE, moment, path=path)
            machine.boot(degraded_ok=True)
            load.start()
            await_settled(machine)
        assert_in_service(machine, project, first)
        assert blocked(machine) == [failing]
        assert events(machine)[-1] == ("rolled-back", first)
        project.publish(good)
        install_stack(machine)
        assert_in_service(machine, project, good)


def test_power_cut_in_a_rollback_by_hand_ends_where_it_was_to_go(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish()
        install_stack(machine)
        with under_load(machine) as load:
            power_cut(machine, ("tradingctl", "rollback", first), UNPACK)
            machine.boot(degraded_ok=True)
            load.start()
            await_settled(machine)
        assert_in_service(machine, project, first)
        assert blocked(machine) == [second]


def test_services_of_a_release_that_was_not_verified_do_not_start_at_boot(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    code = "/opt/trading/automatictrader-api"
    with installed_server(installed_slim, project) as machine:
        verified = machine.run("readlink", code).stdout
        project.publish()
        apt(machine, "update")
        power_cut(machine, UPGRADE, VERIFY)
        assert machine.chroot_run("readlink", code).stdout != verified
        machine.boot(degraded_ok=True)
        await_settled(machine)
        assert machine.run("readlink", code).stdout == verified
        boot = machine.run("journalctl", "-b", "-u", "automatictrader-worker.service").stdout
        started = [line for line in boot.splitlines() if "started, mode" in line]
        assert started, boot
        assert [line for line in started if project.commits["automatictrader-api"] in line] == []
