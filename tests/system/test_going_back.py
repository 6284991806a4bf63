"""Going back on purpose, without the network, and forward again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.load import under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import assert_in_service, blocked, events, kept
from tests.system.stack import apt, install_stack, installed_server, tradingctl

pytestmark = pytest.mark.system

Releases = Callable[..., Project]
SOURCES = "/etc/apt/sources.list.d/traderunner.sources"


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_to_the_first_of_three_with_the_repository_gone_and_to_the_third_again(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2", "good3")
    first, second, third = project.releases
    with installed_server(installed_slim, project) as machine:
        with under_load(machine):
            for release in (second, third):
                project.publish(release)
                install_stack(machine)
        assert kept(machine) == [first, second, third]
        take_repository_away(machine)

        plan = tradingctl(machine, "rollback", first, "--dry-run")
        assert plan.returncode == 0
        for word in ("switch", "install", "verify", "block", "automatictrader-api", first):
            assert word in plan.stdout
        assert_in_service(machine, project, third)

        with under_load(machine) as load:
            done = tradingctl(machine, "rollback", first)
            load.wait_for_rows(5)
        assert done.returncode == 0, done.output
        assert_in_service(machine, project, first)
        assert blocked(machine) == [second, third], "an unattended upgrade shall not undo it"
        assert events(machine)[-1] == ("rolled-back", first)

        bring_repository_back(machine)
        assert "0 upgraded" in apt(machine, "upgrade").output
        assert "nothing newer" in tradingctl(machine, "upgrade").stdout
        with under_load(machine):
            again = tradingctl(machine, "upgrade", third)
        assert again.returncode == 0, again.output
        assert_in_service(machine, project, third)
        assert blocked(machine) == [], "what is older than the installed one needs no block"
        load.assert_nothing_lost()


def test_upgrade_shows_what_would_change_and_does_it(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2", "good3")
    first, second, third = project.releases
    with installed_server(installed_slim, project) as machine:
        project.publish(second)
        project.publish(third)
        shown = tradingctl(machine, "upgrade", "--dry-run")
        assert shown.returncode == 0, shown.output
        assert third in shown.stdout
        assert second not in shown.stdout
        assert_in_service(machine, project, first)

        named = tradingctl(machine, "upgrade", second)
        assert named.returncode == 0, named.output
        assert_in_service(machine, project, second)
        newest = tradingctl(machine, "upgrade")
        assert newest.returncode == 0, newest.output
        assert_in_service(machine, project, third)
        unknown = tradingctl(machine, "upgrade", "2001.01.01.1")
        assert unknown.returncode == 5
        assert "the archive has no release 2001.01.01.1; it has" in unknown.stderr


def test_unknown_release_is_refused_with_those_there_are(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        refused = tradingctl(machine, "rollback", "2001.01.01.1")
        assert refused.returncode == 5
        assert f"kept: {project.releases[0]}" in refused.stderr
        alone = tradingctl(machine, "rollback")
        assert alone.returncode == 5
        assert "no release before the installed one is kept" in alone.stderr


def test_both_refuse_while_another_program_changes_packages(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("good2")
    with installed_server(installed_slim, project) as machine:
        project.publish()
        install_stack(machine)
        holder = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); " \
            "fcntl.lockf(f, fcntl.LOCK_EX); open('/root/held', 'w'); time.sleep(600)"  # fmt: skip
        machine.run("systemd-run", "--quiet", "--unit=holder", "python3", "-c", holder)
        machine.wait_until(lambda: machine.run("test", "-e", "/root/held", check=False)
                           .returncode == 0, 30, "the lock")  # fmt: skip
        pid = machine.systemctl_show("holder.service")["MainPID"]
        for words in (("rollback",), ("upgrade",)):
            refused = tradingctl(machine, *words)
            assert refused.returncode == 5
            assert f"packages are being changed by process {pid} (" in refused.stderr
        assert_in_service(machine, project, project.releases[1])


def test_what_the_administrator_wrote_about_the_worker_stays(
    installed_slim: Snapshot, releases: Releases
) -> None:
    project = releases("answers_500", "good3")
    first, failing, good = project.releases
    secrets = "/etc/trading/secrets/automatictrader-api.env"
    settings = "/etc/trading/automatictrader-api.env"
    environment = "/etc/trading/environment"
    with installed_server(installed_slim, project) as machine:
        assert worker_mode(machine) == "plan-only"
        machine.sh(f"echo AT_WORKER_MODE=paper-send >>{secrets}; echo '# mine' >>{settings}")
        tradingctl(machine, "environment", "production")
        machine.run("systemctl", "restart", "automatictrader-worker.service")
        before = machine.run("sha256sum", secrets, settings, environment).stdout
        project.publish(failing)
        assert install_stack(machine, check=False).returncode == 100
        assert worker_mode(machine) == "paper-send"
        project.publish(good)
        install_stack(machine)
        assert worker_mode(machine) == "paper-send"
        assert tradingctl(machine, "rollback", first).returncode == 0
        assert worker_mode(machine) == "paper-send"
        assert machine.run("sha256sum", secrets, settings, environment).stdout == before


def worker_mode(machine: Machine) -> str:
    """Return the mode that the worker's process was started with."""
    pid = machine.systemctl_show("automatictrader-worker.service")["MainPID"]
    variables = machine.read(f"/proc/{pid}/environ").split("\0")
    (mode,) = (each for each in variables if each.startswith("AT_WORKER_MODE="))
    return mode.removeprefix("AT_WORKER_MODE=")


def take_repository_away(machine: Machine) -> None:
    """Leave apt without any source."""
    machine.run("mv", SOURCES, "/root/sources")
    apt(machine, "update")


def bring_repository_back(machine: Machine) -> None:
    """Undo :func:`take_repository_away`."""
    machine.run("mv", "/root/sources", SOURCES)
    apt(machine, "update")
