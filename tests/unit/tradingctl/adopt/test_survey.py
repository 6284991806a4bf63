"""What is found, and what is said about it, before anything is done."""

from __future__ import annotations

import os
import pwd
import sqlite3

import pytest
from tests.unit.tradingctl.adopt.world import API, BOARD, DASHBOARD, SECRET, WORKER, World

import tradingctl
from tradingctl.adopt import crontabs
from tradingctl.adopt.record import Kind
from tradingctl.inventory import read_inventory

CRONTAB = "var/spool/cron/crontabs/admin"


def dry_run(world: World) -> str:
    """Return what a dry run says."""
    world.unpack()
    world.run("adopt", "--dry-run")
    return world.said


def test_lines_of_crontabs_by_what_they_do(world: World) -> None:
    world.machine.write(
        CRONTAB,
        f"0 22 * * * sudo systemctl stop {WORKER}\n"
        f"@reboot cd /opt/trading/{API} && TOKEN={SECRET} .venv/bin/python {WORKER}.py\n"
        f"1 1 * * * cd /opt/trading/{BOARD} && git pull && pip install -r requirements.txt\n"
        f"# 2 2 * * * cd /opt/trading/{API} && .venv/bin/python {WORKER}.py\n"
        "3 3 * * * /usr/local/bin/backup\n"
        f"4 4 * * * cat /opt/trading/{BOARD}/data/watchlist.csv\n",
    )
    said = dry_run(world)
    file = world.machine.root / CRONTAB
    assert f"{file}:1: starts or stops {WORKER}.service: goes on" in said
    assert f"{file}:2: starts {WORKER}.py itself, which would run twice; put out of use" in said
    assert f"{file}:3: deploys into the tree" in said
    assert f"{file}:4" not in said
    assert f"{file}:5" not in said
    assert f"{file}:6: uses a path of the tree: goes on" in said
    assert SECRET not in said


def test_a_line_is_put_out_of_use_and_back_to_the_letter(world: World) -> None:
    line = f"@reboot cd /opt/trading/{API} && .venv/bin/python {WORKER}.py\n"
    file = world.machine.write(CRONTAB, f"# mine\n{line}5 5 * * * date\n")
    file.chmod(0o600)
    before = file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_mode
    world.install()
    assert file.read_text() == f"# mine\n{crontabs.MARK}{line}5 5 * * * date\n"
    assert file.stat().st_mode == before[2]
    world.run("adopt", "--undo", "--yes")
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_mode) == before


def test_what_the_administrator_writes_into_the_crontab_since_stays(world: World) -> None:
    line = f"@reboot cd /opt/trading/{API} && .venv/bin/python {WORKER}.py\n"
    file = world.machine.write(CRONTAB, line)
    world.install()
    file.write_text(file.read_text() + "6 6 * * * uptime\n")
    world.run("adopt", "--undo", "--yes")
    assert file.read_text() == f"{line}6 6 * * * uptime\n"


def test_settings_come_from_everywhere_and_the_unit_counts_more(world: World) -> None:
    world.machine.write(f"opt/trading/{API}/.env.local", "LEVEL=2\nCOLOUR=red # really\n")
    more = "Environment=LEVEL=1 'AT_WORKER_MODE=plan-only' PYTHONPATH=/x\n"
    for unit in (API, WORKER):
        world.unit(f"{unit}.service", API, f"{unit}.py", more=more, enabled=False)
    said = dry_run(world)
    assert "the worker's mode stays plan-only" in said
    assert "COLOUR: systemd, which reads it for" in said
    assert "not carried over, of the old units alone: PYTHONPATH" in said
    world.install()
    text = world.machine.paths.secret_file(API).read_text()
    assert "LEVEL=2\n" in text
    assert "COLOUR='red # really'\n" in text
    assert "PYTHONPATH" not in text


def test_a_database_elsewhere_is_followed_and_its_variable_left(world: World) -> None:
    elsewhere = world.machine.root / "srv/orders.db"
    world.insert(4, elsewhere)
    world.dot_env(API, f"AT_DB_PATH={elsewhere}\nAT_WORKER_MODE=plan-only\n")
    said = dry_run(world)
    assert "AT_DB_PATH says where it is, and is not carried over" in said
    world.install()
    assert world.count(world.machine.paths.state / API / "data/automatictrader.db") == 4
    assert "AT_DB_PATH" not in world.machine.paths.secret_file(API).read_text()
    assert world.count(elsewhere) == 4


@pytest.mark.parametrize(
    "value", ["data/automatictrader.db", f"/opt/trading/{API}/data/automatictrader.db"]
)
def test_a_database_named_by_its_usual_place_is_that_one(world: World, value: str) -> None:
    world.dot_env(API, f"AT_DB_PATH={value}\n")
    assert "says where it is" not in dry_run(world)


def test_data_on_another_disk_is_taken_over_and_left_where_it_is(world: World) -> None:
    data = world.machine.paths.base / API / "data"
    disk = world.machine.root / "srv/data"
    disk.parent.mkdir()
    data.rename(disk)
    data.symlink_to(disk)
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    world.install()
    assert world.count(world.machine.paths.state / API / "data/automatictrader.db") == 1
    assert {path.name: path.read_bytes() for path in disk.iterdir()} == before
    world.insert(1, world.machine.paths.state / API / "data/automatictrader.db")
    world.run("adopt", "--undo", "--yes")
    assert world.count(disk / "automatictrader.db") == 2
    assert data.readlink() == disk


def test_a_database_that_nobody_declared_is_no_plain_file(world: World) -> None:
    world.insert(3, world.machine.paths.base / BOARD / "data/mine.db")
    world.install()
    assert world.count(world.machine.paths.state / BOARD / "data/mine.db") == 3
    (step,) = (each for each in world.adoption.of(Kind.FILES) if each.component == BOARD)
    assert "not backed up: mine.db" in step.note
    world.insert(1, world.machine.paths.state / BOARD / "data/mine.db")
    world.run("adopt", "--undo", "--yes")
    assert world.count(world.machine.paths.base / BOARD / "data/mine.db") == 4


def test_what_is_in_the_log_of_a_killed_service_is_taken_along(world: World) -> None:
    holding = sqlite3.connect(world.old_database, isolation_level=None)
    holding.execute("INSERT INTO intents VALUES (2)")
    copies = {
        end: world.old_database.with_name(world.old_database.name + end).read_bytes()
        for end in ("", "-wal")
    }
    holding.close()
    for end, content in copies.items():
        world.old_database.with_name(world.old_database.name + end).write_bytes(content)
    assert world.install() == 0, world.said
    assert world.count(world.machine.paths.state / API / "data/automatictrader.db") == 2


def test_drop_ins_and_masks_are_kept_and_reported(world: World) -> None:
    world.machine.write(f"etc/systemd/system/{WORKER}.service.d/nice.conf", "[Service]\nNice=5\n")
    file = world.machine.paths.local_units / f"{DASHBOARD}.service"
    file.unlink()
    file.symlink_to("/dev/null")
    said = dry_run(world)
    assert f"{WORKER}.service.d/nice.conf is kept" in said
    assert f"{DASHBOARD}.service is masked by the administrator, and stays so" in said
    world.install()
    assert (world.machine.paths.local_units / f"{WORKER}.service.d/nice.conf").is_file()
    assert str(file.readlink()) == "/dev/null"


def test_what_was_prepared_in_the_secret_file_counts_more(world: World) -> None:
    world.machine.write(f"etc/trading/secrets/{API}.env", "AT_BEARER_TOKEN=prepared\n")
    world.install()
    text = world.machine.paths.secret_file(API).read_text()
    assert text.index(SECRET) < text.index("AT_BEARER_TOKEN=prepared")
    world.run("adopt", "--undo", "--yes")
    assert world.machine.paths.secret_file(API).read_text() == "AT_BEARER_TOKEN=prepared\n"


def test_packages_that_are_only_unpacked_can_be_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.machine.root
    world.unpack()
    unpacked = root / "root/unpacked"
    for part in ("usr/share/trading", "lib/systemd/system"):
        (unpacked / part).parent.mkdir(parents=True, exist_ok=True)
        (root / part).rename(unpacked / part)
    program = unpacked / "usr/share/traderunner-common/tradingctl/__init__.py"
    monkeypatch.setattr(tradingctl, "__file__", str(program))
    assert world.run("adopt", "--dry-run") == 0, world.said
    assert f"tree {world.machine.paths.base / API}" in world.said
    assert world.run("adopt") == 5
    assert "only unpacked" in world.said


def test_artifacts_on_another_disk_are_copied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.machine.paths.base / BOARD / "artifacts"
    disk = world.machine.root / "srv/artifacts"
    disk.parent.mkdir()
    source.rename(disk)
    source.symlink_to(disk)
    assert "is on another disk: copied" in dry_run(world)
    world.install()
    live = world.machine.paths.state / BOARD / "artifacts"
    assert (live / "report.html").read_text() == "no trades\n"
    assert (disk / "report.html").is_file()
    (live / "new.html").write_text("a trade\n")
    world.run("adopt", "--undo", "--yes")
    assert (disk / "new.html").read_text() == "a trade\n"


def test_the_account_that_wrote_the_data_goes_on_to(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    account = pwd.getpwnam("daemon")
    for name in (API, BOARD):
        os.chown(world.machine.paths.base / name, account.pw_uid, account.pw_gid)
    assert "add   daemon\n          -> trading" in dry_run(world)
    world.install()
    assert world.systemd.ran("usermod --append --groups trading daemon")
    assert (world.machine.paths.state / API / "data").stat().st_mode & 0o7777 == 0o2770
    world.run("adopt", "--undo", "--yes")
    assert world.systemd.ran("gpasswd --delete daemon trading")


def test_nothing_by_hand_is_nothing_to_do(world: World) -> None:
    world.install()
    assert world.run("adopt", "--dry-run") == 0
    assert "nothing was installed by hand" in world.said
    assert read_inventory(world.machine.paths)


def test_what_enables_a_unit_is_in_the_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.rename_api(monkeypatch)
    wants = world.machine.paths.local_units / "multi-user.target.wants"
    (wants / f"{WORKER}.service").unlink()
    said = dry_run(world)
    for reason in (
        f"hides the packaged unit; {wants}/{DASHBOARD}.service enables that then",
        "hides the packaged unit; is not enabled, nor will that be",
        f"runs what the package runs; {wants}/api.service is removed",
    ):
        assert f", {reason}\n" in said


def test_every_file_of_settings_is_in_the_plan(world: World) -> None:
    local = world.machine.write(f"opt/trading/{API}/.env.local", "LEVEL=2\n")
    assert f"; with what is in {local}\n" in dry_run(world)
