"""Components without the stack: a bad version of one is taken back, and no other one moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.machine import Snapshot
from tests.system.project import Project
from tests.system.rollback import RECORD, blocked, events, exists, kept, versions_of
from tests.system.stack import (
    apt,
    assert_healthy,
    install_stack,
    installed,
    installed_server,
    tradingctl,
)

pytestmark = pytest.mark.system

API = "automatictrader-api"
STACK = "traderunner-stack"


def test_bad_version_of_one_is_taken_back_to_the_version_that_ran(
    installed_slim: Snapshot, releases: Callable[..., Project]
) -> None:
    project = releases("good2", "answers_500")
    first, second, third = project.releases
    with installed_server(installed_slim, project) as machine:
        apt(machine, "remove", "--allow-remove-essential", STACK)
        before = installed(machine)
        project.publish(second)
        apt(machine, "update")
        apt(machine, "install", API)
        good = {**before, API: versions_of(project, second)[API]}
        assert installed(machine) == good
        assert kept(machine) == [first, "components"]

        project.publish(third)
        apt(machine, "update")
        failed = apt(machine, "install", API, check=False)
        assert failed.returncode == 100
        assert f"apt-mark hold {API}" in failed.output
        assert installed(machine) == good
        assert_healthy(machine)

        # With the stack come all the others, which go back as well; so does the stack. What is
        # disabled and ran runs again, although the release that failed has ended it.
        machine.run("systemctl", "disable", f"{API}.service")
        assert install_stack(machine, check=False).returncode == 100
        assert (installed(machine), blocked(machine)) == (good, [third])
        assert_healthy(machine)
        assert events(machine)[-1] == ("rolled-back", "components")
        assert not exists(machine, RECORD)
        assert tradingctl(machine, "rollback", first).returncode == 0
        assert STACK in installed(machine)
        assert kept(machine) == [first]
