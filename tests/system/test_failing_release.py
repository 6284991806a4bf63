"""A release that builds, proves that it starts, and yet does not work on the server.

The fault shows only under systemd, so that nothing but the installation can find it. What was good
before is one printed command away, and what was written meanwhile is still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
from tests.system.machine import Machine, Result
from tests.system.project import Project
from tests.system.stack import (
    UNITS,
    active_units,
    assert_healthy,
    install_stack,
    installed,
    intents,
    last_good,
    next_command,
    planned_intent,
    post_intent,
    server,
    tradingctl,
)

pytestmark = pytest.mark.system

COMPONENT = "automatictrader-api"

# systemd sets INVOCATION_ID for what it starts; the proof of the build does not.
ANSWERS_500 = """

@app.middleware("http")
async def broken_on_a_server(request: Any, call_next: Any) -> Any:
    if "INVOCATION_ID" in os.environ:
        LOG.error("this release is broken on a server")
        return Response("broken on purpose", 500)
    return await call_next(request)
"""
CRASHES = """
import os
if "INVOCATION_ID" in os.environ:
    raise RuntimeError("this release cannot start on a server")
"""
SQUATTER = ("systemd-run", "--quiet", "--unit=squatter", "python3", "-m", "http.server", "9001")


def with_fault(release: Project, root: Path, path: str, text: str) -> Project:
    """Return a project whose next release has a fault in a file of the order intent API; built."""
    project = release.copy(root)
    definition = project.root / "packaging" / "components" / f"{COMPONENT}.toml"
    short = definition.read_text().replace("\norder = ", "\ndeadline = 6\norder = ")
    definition.write_text(short)  # for the tests not to wait in vain for longer
    project.commit(COMPONENT, {path: text})
    project.build()
    return project


@pytest.fixture(scope="module")
def answers_500(release: Project, projects: Path) -> Project:
    """Return a project with a built release whose API answers 500 on a server; not published."""
    text = release.source(COMPONENT, "app.py") + ANSWERS_500
    return with_fault(release, projects / "answers-500", "app.py", text)


@pytest.fixture(scope="module")
def crashes(release: Project, projects: Path) -> Project:
    """Return a project with a built release whose worker crashes on a server; not published."""
    before, future, rest = release.source(COMPONENT, "worker.py").partition("annotations\n")
    return with_fault(release, projects / "crashes", "worker.py", before + future + CRASHES + rest)


@dataclass(frozen=True)
class Report:
    """What the gate says of one unit: what is wrong, and the end of its journal."""

    finding: str
    journal: str


def report_on(unit: str, output: str) -> Report:
    """Return the gate's report on a unit that failed; AssertionError if it is not complete."""
    _, found, text = output.partition(f"\n{unit}.service FAILED\n")
    assert found, f"{unit} is not reported:\n{output}"
    finding, _, journal = text.partition("         the last 20 lines of its journal\n")
    for part in ("           expected  ", "           got       ", "           next      "):
        assert part in finding
    lines = list(takewhile(lambda line: line.startswith("           "), journal.splitlines()))
    assert 0 < len(lines) <= 20
    return Report(finding, "\n".join(lines))


@pytest.fixture(scope="module")
def first(base: Path, answers_500: Project, projects: Path) -> Iterator[tuple[Machine, Result]]:
    """Return a server whose first release fails, and what apt said."""
    project = answers_500.copy(projects / "first")
    project.publish()
    with server(base, project) as machine:
        yield machine, install_stack(machine, check=False)


def test_first_installation_fails_and_says_why(first: tuple[Machine, Result]) -> None:
    machine, failed = first
    assert failed.returncode == 100
    report = report_on("automatictrader-api", failed.output)
    assert "health check" in report.finding
    assert "expected  status 200 from http://127.0.0.1:8080/healthz" in report.finding
    assert "got       status 500 broken on purpose" in report.finding
    assert next_command(failed.output) == "journalctl -u automatictrader-api.service -n 100"
    assert "broken on a server" in machine.sh(next_command(failed.output)).stdout
    assert "traderunner-stack" not in installed(machine)
    assert last_good(machine) is None
    assert tradingctl(machine, "verify").returncode == 3


def test_failed_upgrade_prints_the_command_that_takes_it_back(
    base: Path, release: Project, answers_500: Project, projects: Path
) -> None:
    project = answers_500.copy(projects / "upgrade")
    with server(base, project) as machine:
        install_stack(machine)
        good = installed(machine)
        post_intent(machine, "before-the-upgrade")
        before = planned_intent(machine, "before-the-upgrade")

        project.publish()
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("automatictrader-api", failed.output)
        assert "expected  status 200" in report.finding
        assert "got       status 500" in report.finding
        record = last_good(machine)
        assert record is not None
        assert record["release"] == release.release
        assert intents(machine) == [before]

        take_back(machine, failed.output)
        assert_healthy(machine)
        assert installed(machine) == good
        assert intents(machine) == [before]
        assert post_intent(machine, "afterwards") == 201


def test_crash_at_start_is_shown_with_its_journal(
    base: Path, release: Project, crashes: Project, projects: Path
) -> None:
    project = crashes.copy(projects / "crash")
    with server(base, project) as machine:
        install_stack(machine)
        project.publish()
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("automatictrader-worker", failed.output)
        assert "unit state" in report.finding
        assert "RuntimeError: this release cannot start on a server" in report.journal
        others = [unit for unit in UNITS if unit != "automatictrader-worker"]
        assert active_units(machine) == others, "one failing service takes no other down"
        take_back(machine, failed.output)
        assert_healthy(machine)


def test_port_held_by_another_process_names_the_holder(base: Path, release: Project) -> None:
    with server(base, release) as machine:
        machine.run(*SQUATTER)
        machine.wait_for_http("http://127.0.0.1:9001/")
        holder = machine.systemctl_show("squatter.service")["MainPID"]
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        report = report_on("trading-dashboard-v2", failed.output)
        assert "port 9001" in report.finding
        assert f"held by process {holder} (" in report.finding
        assert "-m http.server 9001)" in report.finding
        assert last_good(machine) is None
        assert machine.http("http://127.0.0.1:9001/").status == 200, "the holder is left alone"

        machine.run("systemctl", "stop", "squatter.service")
        machine.run("dpkg", "--configure", "-a")
        assert_healthy(machine)


def take_back(machine: Machine, output: str) -> None:
    """Type the printed command to the letter, and agree when it asks."""
    command = next_command(output)
    assert command.startswith("apt-get install ")
    machine.sh(command, stdin="y\n", timeout=300)
