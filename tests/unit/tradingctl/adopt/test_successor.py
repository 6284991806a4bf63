"""What uses a file of the tree that no package has is said, before it fails at night."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.adopt.world import API, BOARD, World

CRONTAB = "var/spool/cron/crontabs/admin"


@pytest.fixture
def scripted(world: World) -> World:
    """Give a server with files of the administrator's own in a tree."""
    for name in ("report.sh", "tools/count.sh", "data/mine.sh"):
        world.machine.write(f"opt/trading/{BOARD}/{name}", "")
    return world


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        (f"/opt/trading/{BOARD}/report.sh", [f"{BOARD}/report.sh"]),
        (f". /opt/trading/{API}/.env; env", [f"{API}/.env"]),
        (f"cd /opt/trading/{BOARD} && ./report.sh <tools/count.sh", ["report.sh", "count.sh"]),
        (f"sudo systemctl stop {API}; /opt/trading/{BOARD}/report.sh", [f"{BOARD}/report.sh"]),
        (f"cd /opt/trading/{BOARD} && cat app.py data/mine.sh logs/x nowhere.sh", []),
        (f"/opt/trading/{BOARD}/nowhere.sh; cd /srv && ./report.sh", []),
    ],
)
def test_a_crontab(scripted: World, command: str, lost: list[str]) -> None:
    file = scripted.machine.write(CRONTAB, f"# mine\n5 22 * * * {command}\n")
    scripted.unpack()
    assert scripted.run("adopt", "--dry-run") == 0, scripted.said
    (line,) = (line for line in scripted.said.splitlines() if f"{file}:2: " in line)
    assert ("it will fail, for no package has" in line) is bool(lost)
    assert all(name in line for name in lost)
    assert "nowhere.sh" not in line
    assert "mine.sh" not in line
