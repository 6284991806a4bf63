"""Which backups stay: decided as a list with reasons, then done."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tradingctl import tree
from tradingctl.backup import catalogue
from tradingctl.backup.configuration import Keep
from tradingctl.backup.manifest import Backup
from tradingctl.files import sync_directory
from tradingctl.server import Server

PERIODS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d"}


@dataclass(frozen=True)
class Decision:
    """Whether a backup stays, and why."""

    id: str
    stays: bool
    reason: str


def plan(
    backups: Sequence[Backup],
    keep: Keep,
    now: datetime,
    damaged: Collection[str] = (),
    manual_too: bool = False,
) -> list[Decision]:
    """Decide for each of the backups, which are given newest first.

    One that is ``damaged`` or dated in the future counts for nothing and stays to be looked at, so
    the newest good one stays whatever is newer. ``manual_too`` treats backups made by hand as any
    other. Hours and days count that have a backup, not those that have passed: by a clock that is
    wrong, or after a long time without a backup, all of them would be too old.
    """
    reasons: dict[str, str] = {}
    ahead = {each.id for each in backups if catalogue.is_ahead(each.at, now)}
    good = [each for each in backups if each.id not in damaged and each.id not in ahead]
    counted = [each for each in good if manual_too or each.kind != "manual"]
    for each in reversed(backups):
        if each.id in damaged:
            reasons[each.id] = "is damaged and stays to be looked at"
        elif each.id in ahead:
            reasons[each.id] = "is dated in the future"
        elif each.kind == "manual" and not manual_too:
            reasons[each.id] = "was made by hand"
    for word, count in (("hour", keep.hourly), ("day", keep.daily)):
        newest: dict[str, str] = {}
        for each in counted:
            newest.setdefault(each.at.astimezone(UTC).strftime(PERIODS[word]), each.id)
        for period, name in list(newest.items())[:count]:
            reasons.setdefault(name, f"is the newest of the {word} {period}")
    upgrades = [each for each in counted if each.kind == "upgrade"]
    for each in upgrades[: keep.upgrade]:
        reasons.setdefault(each.id, f"is of the last {keep.upgrade} before an upgrade")
    for each in counted[: keep.last]:
        reasons[each.id] = f"is of the last {keep.last}"
    if good:
        reasons.setdefault(good[0].id, "is the newest good one")
    return [
        Decision(each.id, each.id in reasons, reasons.get(each.id, "nothing asks for it"))
        for each in backups
    ]


def prune(server: Server, keep: Keep, manual_too: bool = False) -> list[Decision]:
    """Remove the backups that need not stay and return what was decided.

    Call it with the backups locked. Raises OSError.
    """
    backups, _ = catalogue.read_all(server.paths)
    now = server.wall()
    decisions = plan(backups, keep, now, manual_too=manual_too)
    if all(each.stays for each in decisions):
        return decisions
    # Reading them all takes long, so only as far as one that is good.
    damaged = set()
    for each in backups:
        if catalogue.is_ahead(each.at, now):
            continue  # it stays, and is not the good one that the others may go for
        found = catalogue.damage(server.paths, each)
        if not found:
            break
        server.warn(f"warning: {found}")
        damaged.add(each.id)
    decisions = plan(backups, keep, now, damaged, manual_too)
    for decision in decisions:
        if not decision.stays:
            remove(server, decision.id)
    return decisions


def remove(server: Server, name: str) -> None:
    """Remove a backup such that a crash leaves it whole or under a name that is none."""
    aside = server.paths.backups / f"{catalogue.REMOVED}{name}"
    (server.paths.backups / name).rename(aside)
    sync_directory(server.paths.backups)
    tree.remove(aside)
