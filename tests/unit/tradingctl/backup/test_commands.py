"""``tradingctl backup``, as a person, the timers and restic see it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.tradingctl.backup.writing import create, database, inventory
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.backup import catalogue, snapshot
from tradingctl.cli import main
from tradingctl.deploy.history import read_events
from tradingctl.description import State
from tradingctl.process import Outcome

REPOSITORY = "RESTIC_REPOSITORY=/srv/restic\nRESTIC_PASSWORD=s3cret\n"


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds have passed since whatever was written."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10_000_000_000)


@pytest.fixture
def installed(machine: Machine) -> Machine:
    inventory(machine)
    create(database(machine))
    return machine


def backup(machine: Machine, *words: str) -> int:
    return main(["backup", *words], machine.server)


def ids(machine: Machine) -> list[str]:
    return [each.id for each in catalogue.read_all(machine.paths)[0]]


def said(machine: Machine) -> str:
    text = machine.out.getvalue()
    machine.out.truncate(0)
    machine.out.seek(0)
    return text


def test_by_hand_it_says_what_is_in_it(installed: Machine) -> None:
    assert backup(installed) == 0
    first, *rest = said(installed).splitlines()
    assert first.startswith(f"{ids(installed)[0]}: 1 databases, 2 settings, ")
    assert rest == ["  /var/lib/trading/marketdata-stream/data/ticks.db  0.0 MB"]
    (event,) = read_events(installed.server)
    assert (event.event, event.detail) == ("backup", ids(installed)[0])
    assert event.versions == {"marketdata-stream": stream().version}


def test_it_needs_root(installed: Machine) -> None:
    installed.euid = 1000
    for words in ([], ["--list"], ["--timer"]):
        assert backup(installed, *words) == 5
    assert not installed.paths.backups.exists()


def test_the_timer_backs_up_only_what_changed(installed: Machine) -> None:
    assert backup(installed, "--timer") == 0
    assert "there is no backup yet" in said(installed)
    assert backup(installed, "--timer") == 0
    assert said(installed) == f"nothing changed since {ids(installed)[0]}; no new backup\n"
    assert len(ids(installed)) == 1
    installed.write("etc/trading/stream.env", "MODE=other\n")
    assert backup(installed, "--timer") == 0
    assert "etc/trading/stream.env changed since" in said(installed)
    database(installed).unlink()
    create(database(installed), pairs=9)
    assert backup(installed, "--timer") == 0
    assert f"{database(installed)} was written to since" in said(installed)
    assert len(ids(installed)) == 3
    assert [each.event for each in read_events(installed.server)] == []


@pytest.mark.parametrize("change", ["mode", "gone", "new"])
def test_every_change_of_a_setting_counts(installed: Machine, change: str) -> None:
    backup(installed, "--timer")
    file = installed.paths.secrets / "stream.env"
    if change == "mode":
        file.chmod(0o600)
    elif change == "gone":
        file.unlink()
    else:
        (file.parent / "link.env").symlink_to(file)
    backup(installed, "--timer")
    assert len(ids(installed)) == 2


def test_the_timer_removes_what_need_not_stay_and_nothing_made_by_hand(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", "BACKUP_KEEP_LAST=1\nBACKUP_KEEP_HOURLY=0\n"
                    "BACKUP_KEEP_DAILY=0\n")  # fmt: skip
    backup(installed)
    backup(installed, "--timer")
    installed.write("etc/trading/stream.env", "MODE=other\n")
    backup(installed, "--timer")
    removed = [line for line in said(installed).splitlines() if line.startswith("removed")]
    assert [each.split("-")[-1] for each in ids(installed)] == ["timer", "manual"]
    assert removed == []
    installed.write("etc/trading/stream.env", "MODE=another\n")
    earlier = ids(installed)[0]
    backup(installed, "--timer")
    assert f"removed {earlier}: nothing asks for it" in said(installed)
    assert backup(installed, "--prune") == 0
    assert [each.split("-")[-1] for each in ids(installed)] == ["manual"]


def test_nothing_is_removed_while_a_restore_that_was_cut_short_may_need_it(
    installed: Machine,
) -> None:
    installed.write("etc/trading/backup.env", "BACKUP_KEEP_LAST=1\nBACKUP_KEEP_HOURLY=0\n"
                    "BACKUP_KEEP_DAILY=0\n")  # fmt: skip
    installed.write("var/lib/trading/restore.json", "{}")
    for mode in ("one", "other"):
        installed.write("etc/trading/stream.env", f"MODE={mode}\n")
        backup(installed, "--timer")
    backup(installed, "--prune")
    assert len(ids(installed)) == 3


def test_a_mistake_in_backup_env_is_an_error_after_the_backup(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", "BACKUP_KEEP=1\n")
    assert backup(installed, "--timer") == 5
    assert "backup.env: line 1: unknown key 'BACKUP_KEEP'" in installed.err.getvalue()
    assert len(ids(installed)) == 1


def test_list_shows_them_newest_first(installed: Machine) -> None:
    assert backup(installed, "--list") == 0
    assert said(installed).startswith("no backup yet in ")
    backup(installed)
    backup(installed)
    said(installed)
    installed.write("var/backups/trading/20261125T144846Z-timer/manifest.json", "{}")
    assert backup(installed, "--list") == 0
    lines = said(installed).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ids(installed)
    assert "20261125T144846Z-timer" in lines[3]
    assert "unreadable" in lines[3]
    assert "manifest.json: not a manifest" in installed.err.getvalue()
    assert backup(installed, "--list", "--json") == 0
    data = json.loads(said(installed))
    assert [each["id"] for each in data["backups"]] == ids(installed)
    assert [each["id"] for each in data["unreadable"]] == ["20261125T144846Z-timer"]


def test_restic_gets_the_finished_backup_and_its_secrets_by_the_environment(
    installed: Machine,
) -> None:
    installed.write("etc/trading/backup.env", REPOSITORY)
    assert backup(installed) == 0
    path = installed.paths.backups / ids(installed)[0]
    assert installed.system.ran("restic") == [
        "restic backup --quiet --tag trading-backup --tag kind=manual"
        f" --tag release=2026.11.23.1 --time {made_at(path.name)} -- {path}"
    ]
    (given,) = [each for each in installed.system.variables if each]
    assert given["RESTIC_REPOSITORY"] == "/srv/restic"
    assert given["RESTIC_PASSWORD"] == "s3cret"
    assert given["TZ"] == "UTC"
    assert [each for each in installed.system.commands if "s3cret" in " ".join(each)] == []
    assert installed.paths.uploaded.stat().st_mode & 0o777 == 0o600


def made_at(name: str) -> str:
    """Return the time in the name of a backup, as restic takes it."""
    made = datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ")
    return f"{made:%Y-%m-%d %H:%M:%S}"


def given_to_restic(machine: Machine) -> list[str]:
    return [line.rpartition("/")[2] for line in machine.system.ran("restic backup")]


def test_a_repository_that_was_away_gets_everything_that_it_missed(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", REPOSITORY)
    installed.system.codes["restic backup"] = 1
    for n in range(3):
        installed.write("etc/trading/stream.env", f"MODE={n}\n")
        assert backup(installed, "--timer") == 5
    del installed.system.codes["restic backup"]
    installed.system.commands.clear()
    # Also while something changes in every run.
    installed.write("etc/trading/stream.env", "MODE=again\n")
    assert backup(installed, "--timer") == 0
    assert given_to_restic(installed) == ids(installed)
    assert backup(installed, "--timer") == 0
    assert len(given_to_restic(installed)) == 4


def test_another_repository_gets_all_that_is_kept(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", REPOSITORY)
    backup(installed)
    backup(installed, "--timer")
    installed.system.commands.clear()
    installed.write("etc/trading/backup.env", REPOSITORY.replace("/srv", "/mnt"))
    backup(installed, "--timer")
    assert given_to_restic(installed) == ids(installed)


def test_catching_up_does_not_keep_the_next_backup_waiting(
    installed: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        backup(installed)
    run = installed.system.run

    def slow(command: Sequence[str], *more: Any, **named: Any) -> Outcome:
        installed.clock.time += 40.0 if command[0] == "restic" else 0.0
        return run(command, *more, **named)

    monkeypatch.setattr(installed.system, "run", slow)
    installed.write("etc/trading/backup.env", REPOSITORY)
    assert backup(installed, "--timer") == 0
    newest_first = ids(installed)
    assert given_to_restic(installed) == newest_first[:3]
    assert "note: 2 backups are yet to be uploaded" in installed.err.getvalue()
    assert backup(installed, "--timer") == 0
    assert given_to_restic(installed) == newest_first


@pytest.mark.parametrize("code", [1, 3, 12, 127])
def test_when_restic_fails_the_local_backup_stays_and_the_timer_fails(
    installed: Machine, code: int
) -> None:
    installed.write("etc/trading/backup.env", REPOSITORY)
    installed.system.codes["restic backup"] = code
    assert backup(installed, "--timer") == 5
    (made,) = ids(installed)
    assert f"{made} is complete on this server alone: " in installed.err.getvalue()
    assert catalogue.damage(installed.paths, catalogue.read(installed.paths, made)) == ""
    assert [each.event for each in read_events(installed.server)] == ["backup-failed"]
    # And when the repository is back, it gets what it missed.
    del installed.system.codes["restic backup"]
    assert backup(installed, "--timer") == 0
    assert len(installed.system.ran("restic backup")) == 2
    assert backup(installed, "--timer") == 0
    assert len(installed.system.ran("restic backup")) == 2
    assert ids(installed) == [made]


def test_when_restic_fails_before_an_upgrade_it_is_a_warning(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", REPOSITORY)
    installed.system.codes["restic backup"] = 1
    made = snapshot.take(installed.server, inventory(installed), "upgrade", "r2")
    assert ids(installed) == [made.id]
    assert "warning: " in installed.err.getvalue()
    assert [each.event for each in read_events(installed.server)] == ["backup", "backup-failed"]


def test_backups_do_not_pile_up_while_restic_fails(installed: Machine) -> None:
    installed.write("etc/trading/backup.env", f"{REPOSITORY}BACKUP_KEEP_LAST=1\n"
                    "BACKUP_KEEP_HOURLY=0\nBACKUP_KEEP_DAILY=0\n")  # fmt: skip
    installed.system.codes["restic backup"] = 1
    for n in range(3):
        installed.write("etc/trading/stream.env", f"MODE={n}\n")
        assert backup(installed, "--timer") == 5
    assert len(ids(installed)) == 1


def test_artifacts_are_a_matter_of_declaration(installed: Machine) -> None:
    assert backup(installed, "--artifacts") == 0
    assert said(installed) == "no component declares artifacts\n"
    assert not installed.paths.artifact_backups.exists()


def test_what_a_shell_reads_otherwise_comes_before_a_command_of_restic(installed: Machine) -> None:
    restic = "(set -a; . /etc/trading/backup.env; restic snapshots)"
    for line, said in (
        ("", f"next: {restic}  # restic init instead makes a new repository\n"),
        (
            "RESTIC_X=a$b\n",
            "next: sensible-editor +3 /etc/trading/backup.env  # for a shell a value with"
            f" $ needs single quotes; then {restic} restic init",
        ),
    ):
        installed.write("etc/trading/backup.env", REPOSITORY + line)
        installed.system.codes["restic backup"] = 1
        assert backup(installed) == 5
        assert said in installed.err.getvalue().replace(str(installed.root), "")


def test_the_daily_run_saves_artifacts_and_lets_restic_forget(installed: Machine) -> None:
    installed.describe(stream(state=(State("out", artifacts=True),)))
    installed.write("var/lib/trading/marketdata-stream/out/run 1/result.csv", "a,b\n")
    installed.write("etc/trading/backup.env", REPOSITORY)
    assert backup(installed, "--artifacts") == 0
    (name,) = [each.name for each in installed.paths.artifact_backups.iterdir()]
    assert said(installed) == f"artifacts {name}: 1 files, 0.0 MB, 1 copied\n"
    path = installed.paths.artifact_backups / name
    assert installed.system.ran("restic") == [
        f"restic backup --quiet --tag trading-artifacts --time {made_at(name)} -- {path}",
        "restic forget --quiet --tag trading-backup --group-by host --keep-last 12"
        " --keep-tag kind=manual --keep-hourly 24 --keep-daily 14 --prune",
        "restic forget --quiet --tag trading-artifacts --group-by host --keep-last 7 --prune",
    ]
    # An unchanged snapshot that is there already must not push out an earlier one.
    assert backup(installed, "--artifacts") == 0
    assert given_to_restic(installed) == [name]


def test_artifacts_that_the_repository_missed_are_made_up_for(installed: Machine) -> None:
    installed.describe(stream(state=(State("out", artifacts=True),)))
    installed.write("etc/trading/backup.env", REPOSITORY)
    installed.system.codes["restic backup"] = 1
    installed.write("var/lib/trading/marketdata-stream/out/result.csv", "1")
    assert backup(installed, "--artifacts") == 5
    del installed.system.codes["restic backup"]
    installed.system.commands.clear()
    installed.write("var/lib/trading/marketdata-stream/out/result.csv", "12")
    assert backup(installed, "--artifacts") == 0
    kept = sorted(each.name for each in installed.paths.artifact_backups.iterdir())
    assert sorted(given_to_restic(installed)) == kept
    assert len(kept) == 2


def test_restic_is_not_given_an_hour_or_a_day_where_none_is_to_stay(installed: Machine) -> None:
    installed.describe(stream(state=(State("out", artifacts=True),)))
    installed.write("etc/trading/backup.env", f"{REPOSITORY}BACKUP_KEEP_HOURLY=0\n"
                    "BACKUP_KEEP_DAILY=0\n")  # fmt: skip
    assert backup(installed, "--artifacts") == 0
    assert installed.system.ran("restic forget --quiet --tag trading-backup") == [
        "restic forget --quiet --tag trading-backup --group-by host --keep-last 12"
        " --keep-tag kind=manual --prune"
    ]


def test_what_is_dated_in_the_future_is_neither_uploaded_nor_compared_with(
    installed: Machine,
) -> None:
    right = installed.today
    installed.today += timedelta(days=400)
    backup(installed, "--timer")
    (ahead,) = ids(installed)
    installed.today = right
    installed.write("etc/trading/backup.env", REPOSITORY)
    assert backup(installed, "--timer") == 0
    assert given_to_restic(installed) == [ids(installed)[1]]
    said(installed)
    # And not a new one with every run from then on.
    assert backup(installed, "--timer") == 0
    assert said(installed) == f"nothing changed since {ids(installed)[1]}; no new backup\n"
    assert backup(installed, "--list") == 0
    lines = said(installed).splitlines()
    assert [line.split()[0] for line in lines[1:] if ", in the future" in line] == [ahead]
    # When its time has come it is as any other.
    installed.today += timedelta(days=401)
    backup(installed, "--timer")
    assert ahead in given_to_restic(installed)


def test_artifacts_that_are_dated_in_the_future_are_uploaded_then(installed: Machine) -> None:
    installed.describe(stream(state=(State("out", artifacts=True),)))
    installed.write("var/lib/trading/marketdata-stream/out/result.csv", "1")
    right = installed.today
    installed.today += timedelta(days=400)
    assert backup(installed, "--artifacts") == 0
    installed.today = right
    installed.write("etc/trading/backup.env", REPOSITORY)
    assert backup(installed, "--artifacts") == 0
    assert given_to_restic(installed) == [f"{right:%Y%m%dT%H%M%SZ}"]
