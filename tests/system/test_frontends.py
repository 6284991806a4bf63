"""Every program that installs packages: each is guarded in the same way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.load import under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import BLOCKED, assert_in_service, await_settled, blocked, events, kept
from tests.system.stack import apt, installed_server, tradingctl

pytestmark = pytest.mark.system

Releases = Callable[..., Project]

FRONTENDS = {
    "apt-get install": "apt-get -y install traderunner-stack",
    "apt-get upgrade": "apt-get -y upgrade",
    "apt-get dist-upgrade": "apt-get -y dist-upgrade",
    "apt install": "apt -y install traderunner-stack",
    "apt full-upgrade": "apt -y full-upgrade",
    "without recommends": "apt-get -y --no-install-recommends install traderunner-stack",
    "from the suite": "apt-get -y -t bookworm-staging install traderunner-stack",
    "dpkg -i": "dpkg -i /root/debs/*.deb",
}


def try_release(machine: Machine, line: str) -> int:
    """Type a command line with standard input closed; return its exit code, once all is settled."""
    done = machine.run("sh", "-c", f"{line} <&-", check=False, timeout=300)
    await_settled(machine)
    return done.returncode


def bring_debs(machine: Machine, project: Project, release: str) -> None:
    """Put the packages of the stack of a release into /root/debs."""
    machine.run("rm", "-rf", "/root/debs")
    for deb in sorted((project.root / "dist" / release).glob("*.deb")):
        if "keyring" not in deb.name and "ibgateway" not in deb.name:
            machine.copy_in(deb, f"/root/debs/{deb.name}")


@pytest.mark.parametrize(
    ("os_release", "frontends"),
    [("bookworm", tuple(FRONTENDS)), ("trixie", ("apt full-upgrade", "dpkg -i"))],
    indirect=["os_release"],
)
def test_failing_release_is_taken_back_and_the_next_one_passes(
    installed_slim: Snapshot, releases: Releases, frontends: tuple[str, ...]
) -> None:
    project = releases("answers_500", "good3")
    first, failing, good = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish(failing)
        apt(machine, "update")
        bring_debs(machine, project, failing)
        with under_load(machine):
            for frontend in frontends:
                machine.run("rm", "-f", BLOCKED)  # or only the first would try it
                assert try_release(machine, FRONTENDS[frontend]) != 0, frontend
                assert_in_service(machine, project, first)
                assert blocked(machine) == [failing], frontend
                ended = [("failed", failing), ("rolled-back", first)]
                assert events(machine)[-2:] == ended, frontend

            project.publish(good)
            apt(machine, "update")
            assert try_release(machine, FRONTENDS["apt-get upgrade"]) == 0
            assert_in_service(machine, project, good)


def test_good_release_passes_whatever_else_is_asked_of_apt(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2", "good3")
    first, second, third = project.releases
    from_suite = "apt-get -y -t bookworm-staging --no-install-recommends install traderunner-stack"
    with installed_server(installed_slim, project) as machine:
        with under_load(machine):
            for release, line in ((second, FRONTENDS["apt full-upgrade"]), (third, from_suite)):
                project.publish(release)
                apt(machine, "update")
                assert try_release(machine, line) == 0, line
                assert_in_service(machine, project, release)
                back = tradingctl(machine, "rollback", first)
                assert back.returncode == 0, back.output
                assert_in_service(machine, project, first)
        assert blocked(machine) == [second, third]


def test_dpkg_alone_upgrades(installed_slim: Snapshot, releases: Releases) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        bring_debs(machine, project, project.releases[1])
        assert try_release(machine, FRONTENDS["dpkg -i"]) == 0
        assert_in_service(machine, project, project.releases[1])
        assert kept(machine) == list(project.releases), "also what apt never saw"


def test_one_component_alone_is_taken_back(installed_slim: Snapshot, releases: Releases) -> None:
    project = releases("good2")
    first, second = project.releases
    with installed_server(installed_slim, project) as machine:
        (deb,) = (project.root / "dist" / second).glob("automatictrader-api_*.deb")
        machine.copy_in(deb, "/root/one.deb")
        try_release(machine, "dpkg -i /root/one.deb")
        assert_in_service(machine, project, first)
        assert events(machine)[-1] == ("rolled-back", first)
        refused = apt(machine, "install", "/root/one.deb", check=False)
        assert refused.returncode == 100
        assert_in_service(machine, project, first)


@pytest.fixture(scope="module")
def unattended(os_release: str, snapshots: Callable[..., Snapshot]) -> Snapshot:
    """Return a server with the slim stack and unattended-upgrades, which follows its origin."""
    return snapshots(os_release, "unattended-upgrades")


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_unattended_upgrades_end_on_the_release_before_and_take_the_next_one(
    unattended: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500", "good3")
    first, failing, good = project.releases
    with installed_server(unattended, project) as machine:
        machine.write(
            "/etc/apt/apt.conf.d/52unattended-upgrades-local",
            'Unattended-Upgrade::Origins-Pattern { "origin=traderunner"; };\n',
        )
        project.publish(failing)
        apt(machine, "update")
        with under_load(machine):
            assert try_release(machine, "unattended-upgrade -v") == 1, "of its own, not apt's 100"
            assert_in_service(machine, project, first)
            assert ("failed", failing) in events(machine)
            project.publish(good)
            apt(machine, "update")
            assert try_release(machine, "unattended-upgrade -v") == 0
            assert_in_service(machine, project, good)
