"""Which backup a restore takes: proved to be intact before anything is touched."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tradingctl.backup import catalogue
from tradingctl.backup.catalogue import Unreadable
from tradingctl.backup.manifest import Backup
from tradingctl.errors import RestoreError
from tradingctl.paths import Paths


@dataclass(frozen=True)
class Request:
    """What somebody asked for; ``id`` and ``at`` are empty for the newest backup.

    ``component`` restores the databases of one, ``settings`` what is in /etc/trading too.
    ``accept_repeats`` is needed where a worker sends orders.
    """

    id: str = ""
    at: str = ""
    component: str = ""
    settings: bool = False
    accept_repeats: bool = False

    def command(self, backup: str) -> str:
        """Return the command that asks for the same of another backup."""
        words = ["tradingctl", "restore", backup]
        words += ["--component", self.component] if self.component else []
        words += ["--settings"] if self.settings else []
        words += ["--accept-repeats"] if self.accept_repeats else []
        return shlex.join(words)


def choose(paths: Paths, request: Request, now: datetime) -> Backup:
    """Return the backup that is asked for.

    Raises RestoreError when there is none or when it is damaged, then naming the newest that is
    intact; and when the newest is dated in the future, unless it is asked for by its id.
    """
    good, bad = catalogue.read_all(paths)
    dated = [each for each in good if not catalogue.is_ahead(each.at, now)]
    chosen = _named(paths, request, good, bad) if request.id else _newest(paths, request, good, bad)
    found = chosen.reason if isinstance(chosen, Unreadable) else catalogue.damage(paths, chosen)
    if found or isinstance(chosen, Unreadable):
        # Of the intact ones the command names one that is dated in the future last.
        others = sorted(good, key=lambda each: each not in dated)
        raise _refusal(paths, request, chosen.id, found, others)
    if not request.id and chosen not in dated:
        raise _ahead(request, chosen, dated, now)
    return chosen


def _named(
    paths: Paths, request: Request, good: Sequence[Backup], bad: Sequence[Unreadable]
) -> Backup | Unreadable:
    named: dict[str, Backup | Unreadable] = {each.id: each for each in good}
    named |= {each.id: each for each in bad}
    if request.id in named:
        return named[request.id]
    raise RestoreError(
        f"there is no backup {request.id!r} in {paths.backups}", "tradingctl backup --list"
    )


def _newest(
    paths: Paths, request: Request, good: Sequence[Backup], bad: Sequence[Unreadable]
) -> Backup | Unreadable:
    """Return the newest, or the newest of a time; one that cannot be read is not passed over."""
    limit = moment(request.at) if request.at else None
    fitting = [each for each in good if limit is None or each.at <= limit]
    broken = [each for each in bad if limit is None or _was_made_by(each.id, limit)]
    newest = [each.id for each in fitting[:1]]
    if broken and (not newest or catalogue.order(broken[0].id) > catalogue.order(newest[0])):
        return broken[0]
    if fitting:
        return fitting[0]
    if not good:
        raise RestoreError(f"there is no backup in {paths.backups}", "tradingctl backup")
    raise RestoreError(
        f"no backup was made at or before {request.at}; the oldest is {good[-1].id}",
        "tradingctl backup --list",
    )


def _was_made_by(name: str, limit: datetime) -> bool:
    try:
        return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) <= limit
    except ValueError:
        return False  # there is no such time, and so no backup of it


def moment(text: str) -> datetime:
    """Return a time: ISO 8601, local time unless it names its zone. Raises RestoreError."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError) as error:
        raise RestoreError(
            f"--at {text!r} is not a time such as 2026-11-25T14:30 or 2026-11-25T13:30Z",
            "tradingctl backup --list",
        ) from error


def _ahead(
    request: Request, chosen: Backup, dated: Sequence[Backup], now: datetime
) -> RestoreError:
    """Return that the newest is dated in the future, and which is the newest of the others.

    What it holds may be new or old; who looks at the clock and at both knows.
    """
    message = (
        f"the newest backup, {chosen.id}, is dated in the future: the clock was wrong when it was"
        f" made, or it is now ({now.astimezone():%Y-%m-%d %H:%M:%S %Z}); nothing was changed"
    )
    look, this = "timedatectl  # where the clock is right:", request.command(chosen.id)
    if not dated:
        return RestoreError(f"{message}; all others are, too", f"{look} {this}")
    return RestoreError(
        f"{message}; the newest of the others is {dated[0].id}",
        f"{look} {request.command(dated[0].id)}; else {this}",
    )


def _refusal(
    paths: Paths, request: Request, name: str, found: str, good: Sequence[Backup]
) -> RestoreError:
    intact = next(
        (each for each in good if each.id != name and not catalogue.damage(paths, each)), None
    )
    message = f"the backup {name} is damaged, nothing was changed: {found}"
    if intact is None:
        return RestoreError(f"{message}; no other backup is intact", "tradingctl backup --list")
    return RestoreError(
        f"{message}; the newest intact one is {intact.id}", request.command(intact.id)
    )
