"""Something of the administrator's lies where a component belongs: it is not touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.stack import assert_healthy, install_stack, last_good, server

pytestmark = pytest.mark.system

TREE = "/opt/trading/automatictrader-api"


def lay_out_by_hand(machine: Machine) -> None:
    """Make what a deployment by hand leaves: code, a virtual environment, secrets, data in use."""
    machine.sh(
        f"mkdir -p {TREE}/data {TREE}/.venv/bin '{TREE}/a folder' && cd {TREE}"
        " && echo AT_BEARER_TOKEN=by-hand >.env && chmod 600 .env && echo code >app.py"
        " && ln -s /usr/bin/python3 .venv/bin/python"
    )
    rows = "CREATE TABLE t (x); INSERT INTO t VALUES (1)"
    machine.run("sqlite3", f"{TREE}/data/automatictrader.db", rows)
    machine.run("chown", "-R", "1000:1000", TREE)


def look_at(machine: Machine, tree: str) -> str:
    """Return names, kinds, modes, owners, times and contents of all that is in a tree."""
    form = "%P %y %m %U:%G %T@ %s %l\\n"
    listed = machine.run("find", tree, "-printf", form).stdout.splitlines()
    digests = machine.sh(f"cd {tree} && find . -type f -exec sha256sum {{}} +").stdout.splitlines()
    return "\n".join(sorted(listed) + sorted(digests))


def test_directory_made_by_hand_stays_and_the_next_step_works(base: Path, release: Project) -> None:
    with server(base, release) as machine:
        lay_out_by_hand(machine)
        before = look_at(machine, TREE)

        refused = install_stack(machine, check=False)
        assert refused.returncode == 100
        assert f"{TREE} is a directory that no package made; nothing was changed" in refused.output
        assert look_at(machine, TREE) == before
        assert last_good(machine) is None
        running = machine.systemctl_show("automatictrader-api.service")["ActiveState"]
        assert running != "active", "the packaged unit does not run code made by hand"

        (step,) = re.findall(rf"^  next: (mv {TREE} .*)$", refused.output, re.MULTILINE)
        machine.sh(str(step), timeout=300)
        assert_healthy(machine)
        assert look_at(machine, f"{TREE}.by-hand") == before
