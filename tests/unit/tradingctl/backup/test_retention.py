"""What stays of the backups, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.unit.tradingctl.backup.writing import create, database, inventory
from tests.unit.tradingctl.fakes import Machine

from tradingctl.backup import catalogue, retention, snapshot
from tradingctl.backup.configuration import Keep
from tradingctl.backup.manifest import Backup
from tradingctl.backup.retention import Decision, plan

NOW = datetime(2026, 11, 25, 14, 50, tzinfo=UTC)


def made(ago: timedelta, kind: str = "timer") -> Backup:
    at = NOW - ago
    return Backup(f"{at:%Y%m%dT%H%M%SZ}-{kind}", kind, "r", at.isoformat(), {})


def every(step: timedelta, count: int, kind: str = "timer") -> list[Backup]:
    return [made(step * n, kind) for n in range(count)]


def stay(decisions: list[Decision]) -> dict[str, str]:
    return {each.id: each.reason for each in decisions if each.stays}


def test_the_newest_stay_and_the_newest_of_each_hour_and_day() -> None:
    backups = every(timedelta(minutes=5), 12 * 24 * 40)
    found = stay(plan(backups, Keep(), NOW))
    assert list(found) == [each.id for each in backups if each.id in found], "in their order"
    reasons = list(found.values())
    assert reasons.count("is of the last 12") == 12
    # The newest of this hour and of the one before are among the last twelve.
    hours = [f"{NOW - timedelta(hours=n):%Y-%m-%d %H:00}" for n in range(2, 24)]
    days = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in range(2, 14)]
    assert reasons[12:] == [
        *(f"is the newest of the hour {hour}" for hour in hours),
        *(f"is the newest of the day {day}" for day in days),
    ]
    assert found["20261124T235500Z-timer"] == "is the newest of the hour 2026-11-24 23:00"
    assert found["20261120T235500Z-timer"] == "is the newest of the day 2026-11-20"
    assert "20261101T235500Z-timer" not in found


def test_each_rule_alone() -> None:
    none = Keep(last=1, hourly=0, daily=0, upgrade=0)
    backups = every(timedelta(minutes=20), 9)
    assert stay(plan(backups, none, NOW)) == {backups[0].id: "is of the last 1"}
    hourly = stay(plan(backups, Keep(last=1, hourly=2, daily=0, upgrade=0), NOW))
    assert hourly == {
        "20261125T145000Z-timer": "is of the last 1",
        "20261125T135000Z-timer": "is the newest of the hour 2026-11-25 13:00",
    }
    upgrades = [made(timedelta(days=n + 1), "upgrade") for n in range(4)]
    kept = stay(plan([*backups, *upgrades], Keep(last=1, hourly=0, daily=0, upgrade=2), NOW))
    assert list(kept) == [backups[0].id, upgrades[0].id, upgrades[1].id]
    assert kept[upgrades[0].id] == "is of the last 2 before an upgrade"


def test_a_long_time_without_a_backup_makes_none_too_old() -> None:
    backups = every(timedelta(minutes=5), 12 * 24 * 20)
    found = stay(plan(backups, Keep(), NOW))
    assert stay(plan(backups, Keep(), NOW + timedelta(days=400))) == found


def test_a_clock_that_is_far_ahead_once_costs_one_hour_and_one_day() -> None:
    backups = every(timedelta(minutes=5), 12 * 24 * 20)
    before = stay(plan(backups, Keep(), NOW))
    wrong = NOW + timedelta(days=400)
    ahead = Backup(f"{wrong:%Y%m%dT%H%M%SZ}-timer", "timer", "r", wrong.isoformat(), {})
    after = stay(plan([ahead, *backups], Keep(), wrong))
    assert before.keys() - after.keys() == {"20261124T155500Z-timer", "20261112T235500Z-timer"}


def test_what_is_dated_in_the_future_stays_and_counts_for_nothing() -> None:
    backups = every(timedelta(minutes=5), 12 * 24 * 20)
    ahead = every(timedelta(minutes=-10), 40)[:0:-1]
    found = stay(plan([*ahead, *backups], Keep(), NOW))
    future = dict.fromkeys((each.id for each in ahead), "is dated in the future")
    assert found == {**future, **stay(plan(backups, Keep(), NOW))}
    assert len(future) == 39
    asked = stay(plan([*ahead, *backups], Keep(), NOW, manual_too=True))
    assert asked == found


def test_a_clock_that_was_moved_a_little_makes_no_future() -> None:
    backups = every(timedelta(minutes=-4), 2)[::-1]
    none = Keep(last=1, hourly=0, daily=0, upgrade=0)
    assert stay(plan(backups, none, NOW)) == {backups[0].id: "is of the last 1"}


def test_what_was_made_by_hand_stays_until_asked_otherwise() -> None:
    backups = [made(timedelta(0)), made(timedelta(days=300), "manual")]
    none = Keep(last=1, hourly=0, daily=0, upgrade=0)
    assert plan(backups, none, NOW)[1] == Decision(backups[1].id, True, "was made by hand")
    asked = plan(backups, none, NOW, manual_too=True)
    assert asked[1] == Decision(backups[1].id, False, "nothing asks for it")


def test_the_newest_good_one_stays_whatever_is_newer() -> None:
    backups = every(timedelta(hours=30), 4)
    damaged = {backups[0].id, backups[1].id}
    none = Keep(last=1, hourly=0, daily=0, upgrade=0)
    assert plan(backups, none, NOW, damaged) == [
        Decision(backups[0].id, True, "is damaged and stays to be looked at"),
        Decision(backups[1].id, True, "is damaged and stays to be looked at"),
        Decision(backups[2].id, True, "is of the last 1"),
        Decision(backups[3].id, False, "nothing asks for it"),
    ]


def test_nothing_is_decided_about_nothing() -> None:
    assert plan([], Keep(), NOW) == []


def test_what_need_not_stay_is_removed(machine: Machine) -> None:
    create(database(machine))
    ids = [snapshot.take(machine.server, inventory(machine), "timer", "r").id for _ in range(4)]
    keep = Keep(last=2, hourly=0, daily=0)
    decisions = retention.prune(machine.server, keep)
    assert [each.id for each in decisions if not each.stays] == [ids[1], ids[0]]
    assert sorted(each.name for each in machine.paths.backups.iterdir()) == sorted(ids[2:])


def test_a_damaged_newest_one_protects_the_one_before(machine: Machine) -> None:
    create(database(machine))
    ids = [snapshot.take(machine.server, inventory(machine), "timer", "r").id for _ in range(3)]
    newest = catalogue.read(machine.paths, ids[2])
    copy = machine.paths.backups / ids[2] / newest.databases[0].file
    copy.write_bytes(b"rotten")
    retention.prune(machine.server, Keep(last=1, hourly=0, daily=0))
    assert sorted(each.name for each in machine.paths.backups.iterdir()) == sorted(ids[1:])
    assert f"warning: {copy}: does not have the SHA-256" in machine.err.getvalue()


def test_one_of_the_future_does_not_vouch_for_the_others(machine: Machine) -> None:
    create(database(machine))
    right = machine.today
    machine.today += timedelta(days=400)
    snapshot.take(machine.server, inventory(machine), "timer", "r")
    machine.today = right
    ids = [snapshot.take(machine.server, inventory(machine), "timer", "r").id for _ in range(3)]
    newest = catalogue.read(machine.paths, ids[2])
    (machine.paths.backups / ids[2] / newest.databases[0].file).write_bytes(b"rotten")
    decisions = retention.prune(machine.server, Keep(last=1, hourly=0, daily=0))
    assert [each.id for each in decisions if not each.stays] == [ids[0]]
