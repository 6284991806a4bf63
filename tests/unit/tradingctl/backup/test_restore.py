"""Putting back what a backup holds: nothing is lost, and a crash is no end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tradingctl.backup.writing import (
    NAME,
    create,
    database,
    pairs,
    write_pair,
)
from tests.unit.tradingctl.fakes import Machine, Unheard, stream, stream_unit, unit_state

from tradingctl.backup import catalogue, replace, restore, restore_plan, snapshot
from tradingctl.backup.choose import Request, moment
from tradingctl.backup.manifest import Backup
from tradingctl.cli import main
from tradingctl.deploy.history import read_events
from tradingctl.errors import RestoreError
from tradingctl.inventory import read_inventory

UNIT = "marketdata-stream.service"
START = "systemctl start --no-block --job-mode=ignore-requirements"
TEMPLATES = Path(__file__).parents[4] / "debian-templates"
AT_BOOT = TEMPLATES / "common/payload/lib/systemd/system" / restore.AT_BOOT


class Killed(BaseException):
    """The end of the process at a moment of the test's choice."""


@pytest.fixture
def running(machine: Machine) -> Machine:
    """Give a healthy server with a database of three pairs and some settings."""
    component = stream()
    machine.healthy(component)
    machine.paths.dpkg.mkdir(parents=True)
    machine.write("etc/trading/marketdata-stream.env", "SYMBOLS=HOOD\n")
    machine.write("etc/trading/secrets/marketdata-stream.env", "KEY=k\n").chmod(0o640)
    create(database(machine))
    database(machine).chmod(0o640)
    stops(machine)
    return machine


def stops(machine: Machine) -> None:
    """Let the unit run, be stopped when it is looked at again, and then run again."""
    machine.system.asked = 0
    machine.system.units[NAME] = [
        unit_state(NAME),
        *[unit_state(NAME, ActiveState="inactive")] * 2,
        unit_state(NAME),
    ]


def take(machine: Machine) -> Backup:
    return snapshot.take(machine.server, read_inventory(machine.paths), "manual", "r")


def call(machine: Machine, *words: str) -> int:
    return main(["restore", *words], machine.server)


def add(machine: Machine, n: int) -> None:
    with closing(sqlite3.connect(database(machine), isolation_level=None)) as connection:
        write_pair(connection, n)


def beside(machine: Machine, logs: bool = False) -> list[Path]:
    """Return what lies beside the database, without the logs that SQLite leaves, or with them."""
    return sorted(
        each
        for each in database(machine).parent.iterdir()
        if each != database(machine)
        and not each.name.startswith("ticks.db-")
        and (logs or not each.name.endswith(replace.SIDE_FILES))
    )


def steps(machine: Machine) -> list[str]:
    lines = [" ".join(each) for each in machine.system.commands]
    return [each for each in lines if each.startswith(("deb-systemd-invoke", "systemctl start"))]


def test_it_stops_replaces_starts_and_verifies(running: Machine) -> None:
    made = take(running)
    add(running, 50)
    assert call(running) == 0
    assert pairs(database(running)) == 3
    (aside,) = beside(running)
    assert aside.name.startswith("ticks.db.before-restore-2")
    assert pairs(aside) == 4
    assert steps(running) == [
        f"deb-systemd-invoke stop {UNIT}",
        f"{START} {UNIT}",
    ]
    assert database(running).stat().st_mode & 0o777 == 0o640
    said = running.out.getvalue()
    assert f"restored {database(running)}\n  before  {aside}\n" in said
    assert "OK" in said
    assert f"  mv {aside} {database(running)}\n" in said
    event = list(read_events(running.server))[-1]
    assert (event.event, event.detail) == (
        "restore",
        f"{made.id} restored, OK; before: {aside}",
    )
    assert not running.paths.restore_record.exists()


def test_it_goes_on_although_nobody_can_hear_of_it(running: Machine) -> None:
    take(running)
    add(running, 50)
    running.out, running.err = Unheard(), Unheard()
    assert call(running, "--dry-run") == 1
    assert pairs(database(running)) == 4
    assert call(running) == 0
    assert pairs(database(running)) == 3
    assert steps(running)[-1] == f"{START} {UNIT}"


def test_a_dry_run_says_it_all_and_changes_nothing(running: Machine) -> None:
    made = take(running)
    before = sorted(running.root.rglob("*"))
    assert call(running, "--dry-run") == 0
    assert sorted(running.root.rglob("*")) == before
    assert running.out.getvalue().splitlines()[1:] == [
        "stop     marketdata-stream",
        "restore  /var/lib/trading/marketdata-stream/data/ticks.db: what is there is moved aside",
        "start    those of them that run now, then verify",
        f"leave    {running.paths.settings}: settings are restored with --settings only",
        "nothing was changed",
    ]
    assert running.out.getvalue().startswith(f"backup {made.id}, made at ")
    assert steps(running) == []


def test_a_copy_of_another_schema_is_said(running: Machine) -> None:
    made = take(running)
    with closing(sqlite3.connect(database(running), isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version=8")
    take(running)
    assert call(running, made.id, "--dry-run") == 0
    assert (
        "moved aside; its schema is version 7, in the newest backup 8: the installed release has to"
        " know it\n"
    ) in running.out.getvalue()


def test_it_needs_root(running: Machine) -> None:
    take(running)
    running.euid = 1000
    assert call(running) == 5
    assert "sudo tradingctl restore" in running.err.getvalue()
    assert steps(running) == []


HOLD = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_it_waits_for_no_other_transaction(running: Machine) -> None:
    take(running)
    command = [sys.executable, "-c", HOLD, str(running.paths.dpkg / "lock-frontend")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert call(running) == 5
        holder.communicate(b"")
    assert "packages are being changed by process" in running.err.getvalue()
    assert steps(running) == []


def test_the_rows_of_a_log_that_a_killed_service_left_are_kept_aside(running: Machine) -> None:
    take(running)
    file = database(running)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        write_pair(connection, 60)
        left = {s: file.with_name(file.name + s).read_bytes() for s in ("", "-wal")}
    for suffix, content in left.items():
        file.with_name(file.name + suffix).write_bytes(content)
    assert call(running) == 0
    assert pairs(file) == 3
    assert not file.with_name("ticks.db-wal").exists()
    (aside,) = beside(running)
    with closing(sqlite3.connect(aside)) as connection:
        found = connection.execute("SELECT count(*) FROM pairs WHERE n = 60").fetchone()
    assert found == (2,), "SQLite finds the log beside it"
    log = f"{aside}-wal"
    assert f"mv {aside} {file}\n  mv {log} {file}-wal\n" in running.out.getvalue()


def test_a_live_database_beyond_repair_is_kept_with_its_log(running: Machine) -> None:
    take(running)
    file = database(running)
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).write_bytes(b"rubbish" * 1000 + suffix.encode())
    assert call(running) == 0
    assert pairs(file) == 3
    kept = {each.name.partition("Z")[2]: each.read_bytes()[-4:] for each in beside(running, True)}
    assert kept == {"": b"bish", "-wal": b"-wal", "-shm": b"-shm", "-journal": b"rnal"}


def test_a_database_that_is_gone_comes_back(running: Machine) -> None:
    take(running)
    database(running).unlink()
    assert call(running) == 0
    assert pairs(database(running)) == 3
    assert beside(running) == []


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("copy", "ticks.db: does not have the SHA-256 of the manifest"),
        ("setting", "marketdata-stream.env: does not have the SHA-256 of the manifest"),
        ("manifest", "manifest.json: does not have the SHA-256 of manifest.json.sha256"),
        ("rubbish", "manifest.json: not a manifest"),
        ("missing", "No such file or directory"),
    ],
)
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    running: Machine, which: str, said: str
) -> None:
    good = take(running)
    add(running, 50)
    made = take(running)
    top = running.paths.backups / made.id
    copy = top / made.databases[0].file
    if which == "copy":
        copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    elif which == "setting":
        (top / "settings/marketdata-stream.env").write_text("SYMBOLS=EVIL\n")
    elif which == "manifest":
        text = (top / "manifest.json").read_text()
        (top / "manifest.json").write_text(text.replace('"r"', '"s"'))
    elif which == "rubbish":
        (top / "manifest.json").write_text("{}")
    else:
        copy.unlink()
    assert call(running, "--component", NAME) == 5
    error = running.err.getvalue()
    assert f"the backup {made.id} is damaged, nothing was changed: {top}" in error
    assert said in error
    assert f"  next: tradingctl restore {good.id} --component {NAME}\n" in error
    assert pairs_and_log(running) == 4
    assert beside(running) == []
    assert steps(running) == []


def pairs_and_log(machine: Machine) -> int:
    with closing(sqlite3.connect(database(machine))) as connection:
        (count,) = connection.execute("SELECT count(DISTINCT n) FROM pairs").fetchone()
    return int(count)


def test_without_any_intact_one_there_is_no_command_to_offer(running: Machine) -> None:
    made = take(running)
    (running.paths.backups / made.id / made.databases[0].file).unlink()
    assert call(running) == 5
    assert "no other backup is intact" in running.err.getvalue()


def test_a_time_takes_the_newest_at_or_before_it(running: Machine) -> None:
    made = []
    for hour in (10, 12, 14):
        running.today = datetime(2026, 11, 25, hour, 30, tzinfo=UTC)
        made.append(take(running).id)
        add(running, hour)
    for text, chosen in {
        "2026-11-25T12:30Z": made[1],
        "2026-11-25 14:29:59+00:00": made[1],
        "2026-11-25T11:00:00Z": made[0],
        "2027-01-01": made[2],
    }.items():
        assert call(running, "--at", text, "--dry-run") == 0
        assert f"backup {chosen}, made" in running.out.getvalue(), text
        running.out.truncate(0)
    assert call(running, "--at", "2026-11-25T10:29Z") == 5
    assert f"the oldest is {made[0]}" in running.err.getvalue()
    assert call(running, "--at", "yesterday") == 5
    assert "--at 'yesterday' is not a time such as" in running.err.getvalue()
    assert call(running, "20200101T000000Z-timer") == 5
    assert "there is no backup '20200101T000000Z-timer'" in running.err.getvalue()


def test_a_time_without_a_zone_is_local() -> None:
    assert moment("2026-11-25 14:30") == datetime(2026, 11, 25, 14, 30).astimezone()
    assert moment("2026-11-25T14:30Z") == datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_a_time_at_the_end_of_the_calendar_is_no_crash(
    running: Machine, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    take(running)
    for zone in ("Europe/Berlin", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert call(running, "--at", text, "--dry-run") in (0, 5)
    monkeypatch.undo()
    time.tzset()
    running.write("var/backups/trading/20261399T000000Z-manual/manifest.json", "{}")
    assert call(running, "--at", "2026-11-25", "--dry-run") == 0


LOOK = "timedatectl  # where the clock is right:"


def test_the_newest_that_is_dated_in_the_future_is_taken_by_its_id_alone(running: Machine) -> None:
    right = running.today
    older = take(running)
    running.today += timedelta(days=400)
    ahead = take(running)
    running.today = right
    for words in ([], ["--at", "2029-01-01"]):
        assert call(running, *words, "--component", NAME) == 5
        said = running.err.getvalue()
        assert f"the newest backup, {ahead.id}, is dated in the future: " in said
        assert f"; nothing was changed; the newest of the others is {older.id}\n" in said
        restores = [f"tradingctl restore {each.id} --component {NAME}" for each in (older, ahead)]
        assert f"next: {LOOK} {'; else '.join(restores)}\n" in said
        running.err.truncate(0)
    assert call(running, "--at", "2026-11-25", "--dry-run") == 0
    assert f"backup {older.id}, made" in running.out.getvalue()
    assert call(running, ahead.id, "--dry-run") == 0
    assert f"backup {ahead.id}, made" in running.out.getvalue()


def test_with_a_clock_that_is_behind_no_backup_is_taken_for_the_newest(running: Machine) -> None:
    made = [take(running).id for _ in range(2)]
    running.today -= timedelta(days=400)
    assert call(running) == 5
    assert "is dated in the future" in running.err.getvalue()
    said = running.err.getvalue()
    assert f"; all others are, too\n  next: {LOOK} tradingctl restore {made[1]}\n" in said


def test_of_the_intact_ones_that_of_the_future_is_named_last(running: Machine) -> None:
    older, damaged = take(running), take(running)
    (running.paths.backups / damaged.id / damaged.databases[0].file).unlink()
    right = running.today
    running.today += timedelta(days=400)
    take(running)
    running.today = right
    assert call(running, damaged.id) == 5
    assert f"the newest intact one is {older.id}" in running.err.getvalue()


def test_an_unreadable_newer_one_is_not_passed_over(running: Machine) -> None:
    take(running)
    running.write("var/backups/trading/29991231T000000Z-timer/manifest.json", "{}")
    assert call(running) == 5
    assert "the backup 29991231T000000Z-timer is damaged" in running.err.getvalue()


def test_settings_stay_unless_asked_for_and_are_then_kept_aside(running: Machine) -> None:
    take(running)
    secret = running.paths.secrets / "marketdata-stream.env"
    plain = running.paths.settings / "marketdata-stream.env"
    secret.write_text("KEY=new\n")
    secret.chmod(0o600)
    plain.unlink()
    assert call(running) == 0
    assert (secret.read_text(), plain.exists()) == ("KEY=new\n", False)
    stops(running)
    assert call(running, "--settings") == 0
    assert secret.read_text() == "KEY=k\n"
    assert secret.stat().st_mode & 0o777 == 0o640
    assert plain.read_text() == "SYMBOLS=HOOD\n"
    (aside,) = secret.parent.glob("marketdata-stream.env.before-restore-*")
    assert aside.read_text() == "KEY=new\n"
    assert aside.stat().st_mode & 0o777 == 0o600


def test_the_way_back_of_a_file_with_a_blank_in_its_name_can_be_typed(running: Machine) -> None:
    notes = running.write("etc/trading/my notes.env", "A=old\n")
    take(running)
    notes.write_text("A=new\n")
    assert call(running, "--settings") == 0
    undo = running.out.getvalue().partition("to undo it:\n")[2].splitlines()
    script = "\n".join(each for each in undo if not each.startswith("  systemctl"))
    subprocess.run(["/bin/sh", "-euc", script], check=True)
    assert notes.read_text() == "A=new\n"


def test_settings_come_back_whatever_their_names_are(running: Machine) -> None:
    odd = Path(os.fsdecode(os.fsencode(running.paths.settings) + b"/B\xf6rse.env"))
    odd.write_text("MODE=a\n")
    made = take(running)
    assert catalogue.damage(running.paths, catalogue.read(running.paths, made.id)) == ""
    odd.write_text("MODE=b\n")
    assert call(running, "--settings") == 0
    assert odd.read_text() == "MODE=a\n"
    (aside,) = running.paths.settings.glob("*.before-restore-*")
    assert aside.read_text() == "MODE=b\n"
    event = list(read_events(running.server))[-1]
    assert event.detail.endswith(str(aside)), "the log can say which"
    stops(running)
    odd.unlink()
    assert call(running, "--settings") == 0
    assert odd.read_text() == "MODE=a\n"


def test_links_among_the_settings_come_back(running: Machine) -> None:
    elsewhere = running.write("srv/api.env", "TOKEN=t\n")
    link = running.paths.secrets / "api.env"
    link.symlink_to(elsewhere)
    take(running)
    link.unlink()
    assert call(running, "--settings") == 0
    assert link.readlink() == elsewhere
    link.unlink()
    elsewhere.unlink()
    stops(running)
    assert call(running, "--settings") == 0
    assert not link.is_symlink()
    assert link.read_text() == "TOKEN=t\n"


def test_a_restore_never_changes_whether_orders_are_sent(running: Machine) -> None:
    secret = running.paths.secrets / "marketdata-stream.env"
    secret.write_text("AT_WORKER_MODE=paper-send\n")
    take(running)
    secret.write_text("AT_WORKER_MODE='plan-only'\n")
    assert call(running, "--settings") == 5
    said = running.err.getvalue()
    assert "would change AT_WORKER_MODE of marketdata-stream from plan-only to paper-send" in said
    assert secret.read_text() == "AT_WORKER_MODE='plan-only'\n"
    assert steps(running) == []


@pytest.mark.parametrize(
    ("file", "then", "now", "said"),
    [
        ("environment", "TRADING_ENVIRONMENT=production\n", "TRADING_ENVIRONMENT=staging\n",
         "would change what this machine is from staging to production"),
        ("environment", "TRADING_ENVIRONMENT='staging'\n", "TRADING_ENVIRONMENT=production\n",
         "would change what this machine is from production to staging"),
        ("orders-on-staging", "paper-send\n", "# no longer\n",
         "would change the mode that is allowed outside of production from none to paper-send"),
    ],
)  # fmt: skip
def test_a_restore_never_changes_where_orders_may_be_sent(
    running: Machine, file: str, then: str, now: str, said: str
) -> None:
    running.write(f"etc/trading/{file}", then)
    take(running)
    written = running.write(f"etc/trading/{file}", now)
    assert call(running, "--settings") == 5
    assert said in running.err.getvalue()
    assert written.read_text() == now
    assert steps(running) == []
    written.write_text(f"# the same\n{then}")
    assert call(running, "--settings") == 0


def test_what_stays_beside_restored_settings_counts_for_whether_orders_are_sent(
    running: Machine,
) -> None:
    secret = running.paths.secrets / "marketdata-stream.env"
    take(running)
    # What overrides the other one now would be gone.
    running.write("etc/trading/environment", "AT_WORKER_MODE=paper-send\n")
    secret.write_text("AT_WORKER_MODE=plan-only\n")
    assert call(running, "--settings") == 5
    said = running.err.getvalue()
    assert "would change AT_WORKER_MODE of marketdata-stream from plan-only to paper-send" in said
    assert secret.read_text() == "AT_WORKER_MODE=plan-only\n"


def test_a_worker_that_sends_is_not_made_to_send_again_by_accident(running: Machine) -> None:
    secret = running.paths.secrets / "marketdata-stream.env"
    secret.write_text("AT_WORKER_MODE=paper-send\n")
    made = take(running)
    assert call(running) == 5
    said = running.err.getvalue()
    assert "AT_WORKER_MODE of marketdata-stream is paper-send: it would handle again" in said
    assert f"  next: tradingctl restore {made.id} --accept-repeats" in said
    assert steps(running) == []
    assert call(running, "--accept-repeats") == 0
    assert secret.read_text() == "AT_WORKER_MODE=paper-send\n"


def test_units_that_start_later_are_stopped_too_and_only_what_ran_is_started(
    running: Machine,
) -> None:
    later = stream_unit(name="later", order=20, port=0, required=False)
    resting = stream_unit(name="resting", order=30, port=0, required=False)
    earlier = stream_unit(name="earlier", order=1, port=0, required=False)
    running.describe(
        stream(),
        stream(name="other", package="other", units=(earlier, later, resting), state=()),
    )
    take(running)
    gone = unit_state("x", ActiveState="inactive")
    running.system.units["later"] = [unit_state("later"), gone, gone, unit_state("later")]
    running.system.units["resting"] = [gone]
    call(running)
    assert steps(running) == [
        "deb-systemd-invoke stop later.service",
        f"deb-systemd-invoke stop {UNIT}",
        f"{START} {UNIT} later.service",
    ]


def test_a_unit_that_has_failed_is_started(running: Machine) -> None:
    take(running)
    failed = unit_state(NAME, ActiveState="failed")
    running.system.units[NAME] = [failed, failed, unit_state(NAME)]
    assert call(running) == 0
    assert steps(running)[-1] == f"{START} {UNIT}"


def test_a_unit_that_failed_when_the_market_closed_rests(running: Machine) -> None:
    take(running)
    running.write("run/trading/market-closed", f'["{NAME}"]')
    running.system.units[NAME] = [unit_state(NAME, ActiveState="failed")]
    assert call(running) == 0
    assert steps(running) == []


def test_where_nothing_ran_nothing_is_started_or_verified(running: Machine) -> None:
    take(running)
    running.system.units[NAME] = [unit_state(NAME, ActiveState="inactive")]
    assert call(running) == 0
    assert steps(running) == []
    assert "not verified: no service ran" in running.out.getvalue()


def test_a_unit_that_does_not_stop_is_the_end_of_it(running: Machine) -> None:
    take(running)
    add(running, 50)
    running.system.stubborn.add(NAME)
    running.system.units[NAME] = [unit_state(NAME)]
    assert call(running) == 5
    assert f"{UNIT} did not stop; nothing was changed" in running.err.getvalue()
    untouched(running)


def test_a_process_that_has_it_open_is_the_end_of_it(running: Machine) -> None:
    take(running)
    add(running, 50)
    running.process(99, "/", "/user.slice")
    (running.paths.proc / "99/fd/3").symlink_to(database(running))
    assert call(running) == 5
    assert "still open in process 99 (python99 -m app)" in running.err.getvalue()
    untouched(running)
    assert steps(running)[-1] == f"{START} {UNIT}"


def untouched(machine: Machine) -> None:
    assert pairs_and_log(machine) == 4
    assert beside(machine) == []
    assert not machine.paths.restore_record.exists()
    assert list(read_events(machine.server))[-1].event == "restore-failed"


def test_a_link_in_the_way_is_refused(running: Machine) -> None:
    take(running)
    precious = running.write("root/precious", "precious")
    database(running).unlink()
    database(running).symlink_to(precious)
    assert call(running) == 5
    assert "is not a file" in running.err.getvalue()
    assert precious.read_text() == "precious"


def test_an_unhealthy_service_afterwards_is_said_with_the_way_back(running: Machine) -> None:
    take(running)
    running.system.units[NAME] = [
        unit_state(NAME),
        unit_state(NAME, ActiveState="failed"),
    ]
    assert call(running) == 1
    said = running.out.getvalue()
    assert "FAILED" in said
    undo = said.partition("to undo it:\n")[2].splitlines()
    assert undo[0] == f"  systemctl stop {UNIT}"
    assert undo[-1] == f"  systemctl start {UNIT}"


def dies_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, count: int) -> None:
    """Let the process end at the ``count``-th call of a function."""
    real: Callable[..., Any] = getattr(place, name)
    left = [count]

    def die(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*arguments, **named)

    monkeypatch.setattr(place, name, die)


@pytest.mark.parametrize("by", ["command", "boot"])
@pytest.mark.parametrize(
    ("function", "count"), [("link", 0), ("unlink", 0), ("fsync", 0), ("rename", 0), ("rename", 1)]
)
def test_after_a_kill_at_any_moment_it_ends_well(
    running: Machine, function: str, count: int, by: str
) -> None:
    component = stream(state=(stream().state[0], stream().state[0].__class__("more", ("more.db",))))
    running.describe(component)
    more = running.paths.state / NAME / "more/more.db"
    create(more)
    take(running)
    for file in (more, database(running)):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            write_pair(connection, 70)
    # A log that cannot be written back, so that there is one to be moved.
    more.with_name("more.db-wal").write_bytes(b"rubbish")
    with pytest.MonkeyPatch.context() as patched:
        real = restore._replace

        def replaced(*arguments: Any) -> Any:
            dies_at(patched, os, function, count)
            return real(*arguments)

        patched.setattr(restore, "_replace", replaced)
        with pytest.raises(Killed):
            call(running)
    assert running.paths.restore_record.exists()
    assert running.paths.restore_record.stat().st_mode & 0o777 == 0o600
    for file in (more, database(running)):
        assert pairs_of(file) in (3, 4), "a whole database at every moment"
    running.system.commands.clear()
    stops(running)
    if by == "boot":
        assert call(running, "--resume") == 0
        assert steps(running) == []
    else:
        assert call(running) == 0
        assert "a restore was cut short: it is finished now" in running.out.getvalue()
        assert steps(running)[-1] == f"{START} {UNIT}"
    for file in (more, database(running)):
        assert pairs_of(file) == 3
        (aside,) = [
            each
            for each in file.parent.glob(f"{file.name}.before-restore-*")
            if not each.name.endswith(replace.SIDE_FILES)
        ]
        assert pairs_of(aside) == 4
        assert list(file.parent.glob(".*")) == []
    assert not running.paths.restore_record.exists()


def pairs_of(file: Path) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = connection.execute("SELECT count(DISTINCT n) FROM pairs").fetchone()
    return int(count)


def test_a_kill_before_the_units_stop_leaves_a_restore_that_can_be_finished(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    add(running, 50)
    with monkeypatch.context() as patched:
        # As by kill -9: nothing is cleaned up.
        patched.setattr(restore, "_stop", lambda *a: os_exit())
        patched.setattr(replace, "unstage", lambda *a: None)
        patched.setattr(restore, "_start", lambda *a: None)
        patched.setattr(restore, "_forget", lambda *a: None)
        with pytest.raises(Killed):
            call(running)
    stops(running)
    assert call(running) == 0
    assert pairs(database(running)) == 3
    assert steps(running)[-1] == f"{START} {UNIT}"


@pytest.mark.parametrize("moment", ["_forget", "unstage", "_start"])
def test_a_kill_while_it_backs_out_is_never_taken_for_a_restore_that_was_done(
    running: Machine, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    take(running)
    add(running, 50)
    # The unit does not stop, and the process ends while everything is put back.
    running.system.stubborn.add(NAME)
    running.system.units[NAME] = [unit_state(NAME)]
    with monkeypatch.context() as patched:
        dies_at(patched, replace if moment == "unstage" else restore, moment, 0)
        with pytest.raises(Killed):
            call(running)
    finished = running.paths.restore_record.exists()
    running.system.units[NAME] = [unit_state(NAME, ActiveState="inactive")]
    assert call(running, "--resume") == 0
    assert pairs(database(running)) == (3 if finished else 4)
    done = [each.event for each in read_events(running.server)].count("restore")
    assert done == (1 if finished else 0)


def os_exit() -> None:
    raise Killed


def test_at_boot_there_is_nothing_to_do_as_a_rule(running: Machine) -> None:
    assert call(running, "--resume") == 0
    assert running.system.commands == []


def test_at_boot_services_start_whatever_else_is_wrong_where_no_restore_was_cut_short(
    running: Machine,
) -> None:
    running.write(f"usr/share/trading/components/{NAME}.json", "")
    assert call(running, "--resume") == 0


def test_at_boot_it_fails_and_is_not_forgotten_while_the_backup_is_not_there(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    with monkeypatch.context() as patched:
        dies_at(patched, os, "link", 0)
        with pytest.raises(Killed):
            call(running, "--settings")
    running.paths.backups.rename(running.root / "not-mounted")
    assert call(running, "--resume") == 5
    assert main(["status"], running.server) == 0
    assert "note         a restore is not finished" in running.out.getvalue()
    assert "next: tradingctl restore\n" in running.out.getvalue()
    (running.root / "not-mounted").rename(running.paths.backups)
    assert call(running, "--resume") == 0


def test_what_a_boot_did_not_start_is_started_once_the_restore_is_finished(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    add(running, 50)
    # Restored while the unit did not run, and cut short.
    down = unit_state(NAME, ActiveState="inactive")
    running.system.units[NAME] = [down]
    with monkeypatch.context() as patched:
        dies_at(patched, os, "link", 0)
        with pytest.raises(Killed):
            call(running)
    running.system.units["trading-restore"] = [unit_state("", ActiveState="failed")]
    running.system.asked = 0
    running.system.units[NAME] = [*[down] * 4, unit_state(NAME)]
    assert call(running) == 0
    assert running.system.ran("systemctl start") == [
        f"{START} {UNIT}",
        "systemctl start trading-restore.service",
    ]


@pytest.mark.parametrize(("cut_short", "code"), [(False, 0), (True, 1)])
def test_a_boot_needs_tradingctl_only_for_a_restore_that_was_cut_short(
    machine: Machine, cut_short: bool, code: int
) -> None:
    """Every service requires this unit, also where the installed tradingctl does not run."""
    if cut_short:
        machine.write("var/lib/trading/restore.json", "{}\n")
    (line,) = re.findall(r"^ExecStart=(.*)$", AT_BOOT.read_text(), re.MULTILINE)
    command = line.replace("/usr/bin/tradingctl", "/bin/false")
    command = command.replace("/var/lib/trading/restore.json", str(machine.paths.restore_record))
    assert subprocess.run(shlex.split(command), check=False).returncode == code


def test_a_lost_connection_does_not_leave_services_stopped(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    swap = replace.swap

    def lost(*arguments: Any) -> list[Path]:
        os.kill(os.getpid(), signal.SIGHUP)
        return swap(*arguments)

    def ends(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(replace, "swap", lost)
    earlier = signal.signal(signal.SIGHUP, ends)
    try:
        assert call(running) == 0
        assert signal.getsignal(signal.SIGHUP) is ends
    finally:
        signal.signal(signal.SIGHUP, earlier)
    assert steps(running)[-1] == f"{START} {UNIT}"


def test_what_is_still_open_is_not_replaced_when_a_restore_is_finished(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    add(running, 50)
    with monkeypatch.context() as patched:
        dies_at(patched, os, "link", 0)
        with pytest.raises(Killed):
            call(running)
    running.process(4999, "/", "/user.slice")
    (running.paths.proc / "4999/fd/9").symlink_to(database(running))
    before = pairs_and_log(running)
    running.system.units[NAME] = [unit_state(NAME, ActiveState="inactive")]
    assert call(running) == 5
    assert "is still open in process 4999" in running.err.getvalue()
    assert pairs_and_log(running) == before
    assert running.paths.restore_record.exists()


def test_what_is_for_the_boot_does_not_replace_a_database_that_a_service_has_open(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(running)
    add(running, 50)
    with monkeypatch.context() as patched:
        dies_at(patched, os, "link", 0)
        with pytest.raises(Killed):
            call(running)
    # Somebody started the service after all.
    (running.paths.proc / "4711/fd/9").symlink_to(database(running))
    before = pairs_and_log(running)
    assert call(running, "--resume") == 5
    assert "still open in process 4711" in running.err.getvalue()
    assert running.err.getvalue().endswith("  next: tradingctl restore\n")
    assert pairs_and_log(running) == before
    assert running.paths.restore_record.exists()


def test_a_record_that_cannot_be_read_is_named(running: Machine) -> None:
    running.write("var/lib/trading/restore.json", "{}")
    with pytest.raises(RestoreError, match=r"restore\.json: cannot be read"):
        restore.read_record(running.server)


def test_a_backup_at_the_same_time_is_waited_for(running: Machine) -> None:
    take(running)
    with catalogue.locked(running.server):
        assert call(running) == 5
    assert "in use by another backup or restore" in running.err.getvalue()
    assert steps(running) == []


def test_what_is_printed_undoes_it(running: Machine) -> None:
    take(running)
    add(running, 50)
    assert call(running) == 0
    # A log of the restored database, which must not be found beside the other one.
    database(running).with_name("ticks.db-wal").write_bytes(b"rubbish")
    undo = running.out.getvalue().partition("to undo it:\n")[2].splitlines()
    script = "\n".join(each for each in undo if not each.startswith("  systemctl"))
    subprocess.run(["/bin/sh", "-euc", script], check=True)
    assert pairs_and_log(running) == 4
    assert pairs(database(running).with_name("ticks.db.restored")) == 3


def test_a_copy_that_goes_bad_after_it_was_chosen_is_not_put_in_place(running: Machine) -> None:
    made = take(running)
    add(running, 50)
    inventory = read_inventory(running.paths)
    planned = restore_plan.plan(running.server, inventory, Request())
    create(running.paths.backups / made.id / "other.db")
    (running.paths.backups / made.id / "other.db").replace(
        running.paths.backups / made.id / made.databases[0].file
    )
    with pytest.raises(RestoreError, match=r"ticks\.db: does not have the SHA-256 of the manifest"):
        restore.restore(running.server, inventory, planned)
    untouched(running)
    assert steps(running) == []


def test_directories_of_settings_get_mode_and_owner_back(running: Machine) -> None:
    running.paths.secrets.chmod(0o750)
    take(running)
    running.paths.secrets.chmod(0o755)
    assert call(running, "--settings") == 0
    assert running.paths.secrets.stat().st_mode & 0o777 == 0o750
    assert list(running.paths.settings.glob("*.before-restore-*")) == []
