"""Something that is no installation lies where a component belongs: it is not touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.stack import assert_healthy, install_stack, last_good, server

pytestmark = pytest.mark.system

PLACE = "/opt/trading/automatictrader-api"


def test_file_made_by_hand_stays_and_the_next_step_works(os_base: Path, slim: Project) -> None:
    with server(os_base, slim) as machine:
        machine.run("mkdir", "/opt/trading")
        machine.write(PLACE, "notes of the administrator's")

        refused = install_stack(machine, check=False)
        assert refused.returncode == 100
        assert f"{PLACE} is no directory" in refused.output
        assert "nothing was changed" in refused.output
        assert machine.read(PLACE) == "notes of the administrator's"
        assert last_good(machine) is None
        assert_nothing_runs(machine)

        step, *others = re.findall(rf"^  next: (mv {PLACE} .*)$", refused.output, re.MULTILINE)
        assert set(others) <= {step}, "every component says the same"
        machine.sh(str(step), timeout=300)
        assert_healthy(machine)
        assert machine.read(f"{PLACE}.by-hand") == "notes of the administrator's"


def assert_nothing_runs(machine: Machine) -> None:
    """Assert that no packaged unit runs beside it."""
    running = machine.systemctl_show("automatictrader-api.service")["ActiveState"]
    assert running != "active"
