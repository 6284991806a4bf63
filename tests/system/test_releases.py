"""The releases that scenarios upgrade to: their faults show on a server, and end with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.system.machine import Snapshot
from tests.system.project import Project
from tests.system.releases import RELEASES, releases_after
from tests.system.stack import (
    API,
    STREAM,
    assert_healthy,
    install_stack,
    installed_server,
)

pytestmark = pytest.mark.system

COMPONENT = "automatictrader-api"


def test_release_after_a_fault_is_free_of_it(
    releases: Callable[..., Project], slim: Project, installed_slim: Snapshot
) -> None:
    project = releases("answers_500", "good3")
    first, faulty, good = project.releases
    assert (first, good) == (slim.release, project.release)
    assert project.source(COMPONENT, "app.py") == slim.source(COMPONENT, "app.py")
    with installed_server(installed_slim, project) as machine:
        install_stack(machine)
        assert_healthy(machine)
        project.publish(faulty)
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert f"release {faulty}: FAILED" in failed.output
        project.publish()
        upgraded = install_stack(machine)
        assert f"release {good}: OK" in upgraded.output
        for url in (API, STREAM):
            assert machine.http(f"{url}/parts").json()["labels"] == ["good3", "good3"]


def test_port_is_taken_as_long_as_the_release_is_there(
    releases: Callable[..., Project], installed_slim: Snapshot
) -> None:
    project = releases("port_taken")
    with installed_server(installed_slim, project) as machine:
        project.publish()
        failed = install_stack(machine, check=False)
        assert failed.returncode == 100
        assert "-m marketdata_stream.runner" in failed.output, "the holder of the port is named"
        assert_healthy(machine)  # on the first release again


def test_a_test_may_change_its_copy(releases: Callable[..., Project]) -> None:
    one, other = releases("changed_settings"), releases("changed_settings")
    assert one.root != other.root
    one.commit(COMPONENT, {"README.md": "changed\n"})
    assert one.release != other.release == releases("changed_settings").release


def test_unknown_release_is_refused(slim: Project) -> None:
    assert "good4" not in RELEASES
    with pytest.raises(KeyError):
        releases_after(slim, slim.root.parent, "good4")
