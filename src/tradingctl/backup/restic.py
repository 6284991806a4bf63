"""Copies of the backups in a restic repository, when backup.env names one.

restic gets the finished files, never a live database. Its exit code is 0 when everything is there;
1 is a failure, 3 that some file could not be read, and whatever else is a failure too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tradingctl.backup.configuration import Keep, read_configuration
from tradingctl.backup.uploaded import note_uploaded
from tradingctl.errors import BackupError
from tradingctl.process import NOT_FOUND
from tradingctl.server import Server

BACKUPS = "trading-backup"
ARTIFACTS = "trading-artifacts"
SECONDS = 3600.0
# Neither an upgrade nor the next backup of the timer waits for a repository that does not answer.
# What takes longer the first time is done by `tradingctl backup`.
SECONDS_OF = {"upgrade": 300.0, "timer": 200.0}
REASONS = {3: "some files could not be read", 124: "it did not end in time"}


def backup_command(path: Path, tags: Sequence[str], at: datetime) -> list[str]:
    """Return the command that copies ``path``, which was made ``at`` a time, into the repository.

    What is to be kept goes by that time, not by when the repository was there to take it.
    """
    named = [word for tag in tags for word in ("--tag", tag)]
    made = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return ["restic", "backup", "--quiet", *named, "--time", made, "--", str(path)]


def forget_command(tag: str, keep: Sequence[str]) -> list[str]:
    """Return the command that removes what need not stay of the snapshots with a tag.

    They are one group: each has a path of its own.
    """
    return ["restic", "forget", "--quiet", "--tag", tag, "--group-by", "host", *keep, "--prune"]


def upload(
    server: Server,
    restic: Mapping[str, str],
    path: Path,
    tags: Sequence[str],
    at: datetime,
    seconds: float,
) -> None:
    """Copy ``path`` into the repository and note that it is there. Raises BackupError, OSError."""
    _run(server, restic, backup_command(path, tags, at), seconds)
    note_uploaded(server.paths, restic, path.relative_to(server.paths.backups).as_posix())


def forget(server: Server, restic: Mapping[str, str], keep: Keep) -> None:
    """Remove from the repository what need not stay. Raises BackupError."""
    kept = [
        *("--keep-last", str(keep.last), "--keep-tag", "kind=manual"),
        # Not --keep-within-*, which goes back from the newest: one with a wrong date in the future
        # would leave nothing else.
        *(("--keep-hourly", str(keep.hourly)) if keep.hourly else ()),
        *(("--keep-daily", str(keep.daily)) if keep.daily else ()),
    ]
    _run(server, restic, forget_command(BACKUPS, kept), SECONDS)
    kept = ["--keep-last", str(keep.artifacts)]
    _run(server, restic, forget_command(ARTIFACTS, kept), SECONDS)


def _run(server: Server, restic: Mapping[str, str], command: Sequence[str], seconds: float) -> None:
    cache = str(server.paths.restic_cache)
    # The times that it is told are of that zone.
    variables = {"RESTIC_CACHE_DIR": cache, "HOME": "/root", "TZ": "UTC", **restic}
    outcome = server.runner.run(command, timeout=seconds, extra=variables)
    if outcome.code == NOT_FOUND:
        raise BackupError(
            f"{server.paths.backup_settings} names a restic repository, and restic is not"
            " installed",
            "apt-get install restic",
        )
    if outcome.code != 0:
        reason = REASONS.get(outcome.code, "")
        first = read_configuration(server.paths).shell
        then = f"(set -a; . {server.paths.backup_settings}; restic snapshots)"
        raise BackupError(
            f"restic {command[1]} failed with exit code {outcome.code}"
            f"{f' ({reason})' if reason else ''}: {outcome.said}",
            (f"{first}; then {then}" if first else f"{then}  #")
            + " restic init instead makes a new repository",
        )
