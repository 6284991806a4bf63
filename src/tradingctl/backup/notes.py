"""What ``status`` says of backups and restores: what is unfinished, what fails, what is overdue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tradingctl import systemd
from tradingctl.backup import artifacts, catalogue
from tradingctl.errors import TradingError
from tradingctl.inventory import service
from tradingctl.report import age_text
from tradingctl.server import Server

INTERVALS = {"trading-backup": 300.0, "trading-backup-artifacts": 86400.0}
"""The services that back up, each with the seconds from one run to the next, by its timer."""


def backup_notes(server: Server) -> Iterator[str]:
    """Give what an administrator should know, a line each; nothing where all is well."""
    try:
        unfinished = server.paths.restore_record.exists()
    except OSError:
        unfinished = False
    if unfinished:
        yield (
            "a restore is not finished, and the services that it stopped stay stopped; unless it is"
            " at work now, next: tradingctl restore"
        )
    with contextlib.suppress(OSError):  # for root alone
        yield from _ahead(server)
    if not systemd.absence(server):
        with contextlib.suppress(TradingError):  # of systemd itself, of which status tells already
            yield from _overdue(server)


def _ahead(server: Server) -> Iterator[str]:
    """Give what is dated in the future, which is compared with nothing until then and stays."""
    now, paths = server.wall(), server.paths
    good, _ = catalogue.read_all(paths)
    known = artifacts.dated(paths.artifact_backups, now)
    places = [
        *(catalogue.directory(paths, each) for each in good if catalogue.is_ahead(each.at, now)),
        *(
            paths.artifact_backups / name
            for name in artifacts.snapshots(paths.artifact_backups)
            if name not in known
        ),
    ]
    if places:
        more = f" and {len(places) - 1} more are" if len(places) > 1 else " is"
        yield (
            f"{places[0]}{more} dated in the future: the clock was wrong then, or it is now"
            f" ({now.astimezone():%Y-%m-%d %H:%M:%S %Z}); next: timedatectl, and where the clock is"
            f" right: rm -r {places[0]}"
        )


def _overdue(server: Server) -> Iterator[str]:
    """Give the backups that failed, or that nobody made in twice the time from one to the next.

    A run that found nothing changed counts as a backup: there was nothing to lose since.
    """
    states = systemd.show(
        server.runner, [each for name in INTERVALS for each in (name, f"{name}.timer")]
    )
    for name, interval in INTERVALS.items():
        run, timer = states[name], states[f"{name}.timer"]
        if timer.load != "loaded" or run.active in ("active", "activating"):
            continue
        # Where no run is known, as after a boot, since the timer was started.
        seconds = server.clock.now() - max(run.ended, timer.since)
        ago = age_text(seconds)
        if run.active == "failed":
            yield (
                f"{service(name)} failed {ago} ago{_newest(server)};"
                f" next: journalctl -u {service(name)} -n 50 --no-pager"
            )
        elif timer.active != "active":
            yield (
                f"{name}.timer is {timer.active}, so that nobody backs up{_newest(server)};"
                f" next: systemctl enable --now {name}.timer"
            )
        elif seconds > 2 * interval:
            yield (
                f"{service(name)} has not run for {ago}{_newest(server)};"
                f" next: systemctl status {name}.timer"
            )


def _newest(server: Server) -> str:
    """Return when the newest backup was made, empty for who may not know."""
    try:
        newest = catalogue.newest(server.paths, server.wall())
        others, _ = catalogue.read_all(server.paths)
    except (TradingError, OSError):
        return ""
    if newest is None:
        return f", and {'every backup is dated in the future' if others else 'there is no backup'}"
    seconds = (server.wall() - newest.at).total_seconds()
    age = age_text(seconds)
    return f", and the newest backup is {age}" + (" old" if int(seconds) >= 0 else "")
