"""What uses a file of the tree that no package has is said, before it fails at night."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.unit.tradingctl.adopt.world import API, BOARD, SECRET, WORKER, World

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


def drop_in(world: World, text: str) -> str:
    """Write a drop-in of a packaged unit, which stays."""
    file = f"etc/systemd/system/{WORKER}.service.d/local.conf"
    return str(world.machine.write(file, f"[Service]\n{text}\n"))


@pytest.mark.parametrize(
    "text",
    [
        f"EnvironmentFile=/opt/trading/{API}/.env",
        f"ExecStartPre=/opt/trading/{BOARD}/report.sh --daily",
        f" EnvironmentFile = /opt/trading/{API}/.env",
    ],
)
def test_a_drop_in_that_stops_the_packaged_unit(scripted: World, text: str) -> None:
    database = f"Environment=AT_DB_PATH=/opt/trading/{API}/data/automatictrader.db"
    other = "EnvironmentFile=/opt/trading-of-mine.env"
    file = drop_in(scripted, f"{database}\n{other}\n{text}")
    scripted.unpack()
    assert scripted.run("activate", API) == 5
    assert f"{file} stays, and the packaged unit will not start, for no package has" in (
        scripted.said
    )
    assert "nothing was changed" in scripted.said
    (command,) = re.findall(r"next: (sed .*) && dpkg --configure -a\n", scripted.said)
    assert subprocess.run(["/bin/sh", "-c", command], check=True)
    before, equals, path = text.partition("=/" if "=/" in text else "= /")
    lines = [database, other, f"{before}{equals[:-1]}-/{path}"]
    assert Path(file).read_text().splitlines() == ["[Service]", *lines]
    assert scripted.run("activate", API) == 0, scripted.said


def test_what_a_unit_is_not_the_same_without_is_for_the_administrator(scripted: World) -> None:
    file = drop_in(scripted, f"ExecStart=\nExecStart=/opt/trading/{BOARD}/report.sh {SECRET}")
    scripted.unpack()
    assert scripted.run("activate", API) == 5
    assert f"next: sensible-editor {file}  # change ExecStart=, which names it;" in scripted.said
    assert SECRET not in scripted.said


def test_a_file_that_decides_may_be_a_drop_in(scripted: World) -> None:
    file = drop_in(scripted, f"Environment=AT_DB_PATH=/opt/trading/{API}/data/nowhere.db")
    scripted.unpack()
    assert scripted.run("activate", API) == 5
    (command,) = re.findall(r"next: grep -n AT_DB_PATH (.*)  # ", scripted.said)
    assert file in command.split()


def test_what_a_drop_in_reads_where_it_is_there_is_taken_over(scripted: World) -> None:
    scripted.dot_env(BOARD, "")
    scripted.machine.write(f"opt/trading/{API}/local.env", "LEVEL=2\n")
    file = drop_in(scripted, f"EnvironmentFile=-/opt/trading/{API}/local.env")
    scripted.unpack()
    scripted.run("adopt", "--dry-run")
    assert f"{file} names what no package has: " in scripted.said
    assert scripted.run("activate", API) == 0, scripted.said
    assert "LEVEL=2\n" in scripted.machine.paths.secret_file(API).read_text()


def test_a_unit_of_the_administrators_own_that_stays(scripted: World) -> None:
    scripted.unit("daily.service", BOARD, "report.sh", more="Type=oneshot\n")
    scripted.unpack()
    scripted.run("adopt", "--dry-run")
    file = scripted.machine.paths.local_units / "daily.service"
    (line,) = (line for line in scripted.said.splitlines() if f"{file} names what no" in line)
    assert f"{BOARD}/report.sh" in line


def test_what_lies_behind_a_link_stays_where_it_is(scripted: World) -> None:
    place, real = scripted.machine.paths.base / BOARD, scripted.machine.root / "srv/board"
    real.parent.mkdir()
    place.rename(real)
    place.symlink_to(real)
    scripted.machine.write(CRONTAB, f"5 22 * * * cd {place} && {real}/report.sh; ./report.sh\n")
    scripted.unpack()
    scripted.run("adopt", "--dry-run")
    assert f"for no package has {place}/report.sh\n" in scripted.said
    scripted.machine.write(CRONTAB, f"5 22 * * * cd {place} && {real}/report.sh\n")
    scripted.run("adopt", "--dry-run")
    assert "for no package has" not in scripted.said


def test_directories_that_no_package_writes_stay_and_are_named(world: World) -> None:
    base = world.machine.paths.base
    world.machine.write(f"opt/trading/{API}/logs/api.log", "started\n")
    (base / API / "artifacts").mkdir()
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    assert f"{base / API / 'logs'} stays with the tree: the packaged services do not" in world.said
    assert f"{base / API / 'artifacts'} stays" not in world.said, "there is nothing in it"
    assert f"{base / BOARD / 'logs'} stays" not in world.said, "it is taken along"
    assert world.run("activate", API) == 0, world.said
    assert (base / "adopted" / API / "logs/api.log").read_text() == "started\n"
