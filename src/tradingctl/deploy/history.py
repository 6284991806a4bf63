"""What happened to the releases of this server: a log of JSON lines, and the journal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from tradingctl.deploy.actor import actor
from tradingctl.report import table
from tradingctl.server import Server


@dataclass(frozen=True)
class Event:
    """One event: when (UTC, ISO 8601), which word, of which release, by whom.

    ``detail`` is a sentence for people, ``check`` the check that decided, ``versions`` the packages
    concerned. Never holds a secret: the log is readable by everybody.
    """

    at: str
    event: str
    release: str
    by: str
    detail: str = ""
    check: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def record(
    server: Server,
    event: str,
    release: str = "",
    detail: str = "",
    check: str = "",
    versions: Mapping[str, str] | None = None,
) -> None:
    """Append an event to the log and the journal. A log that cannot be written is a warning."""
    entry = Event(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        event=event,
        release=release,
        by=actor(server),
        detail=detail,
        check=check,
        versions=dict(versions or {}),
    )
    line = json.dumps(asdict(entry), ensure_ascii=False, sort_keys=True)
    path = server.paths.deploy_log
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # One write of one line: two writers at once do not mix. One that a crash cut short
            # must not swallow the next.
            size = os.fstat(descriptor).st_size
            start = "\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else ""
            os.write(descriptor, _encoded(f"{start}{line}\n"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        server.warn(f"warning: {path}: {error.strerror}; the event is in the journal alone")
    said = " ".join(filter(None, (event, release, detail, f"by {entry.by}")))
    # For the journal is UTF-8 whatever the locale is.
    said = os.fsdecode(_encoded(said))
    server.runner.run(["logger", "-t", "tradingctl", "-p", "user.notice", "--", said])


def _encoded(text: str) -> bytes:
    """Return ``text`` in UTF-8, of a name that is not UTF-8 each sign as JSON has it."""
    return text.encode("utf-8", "backslashreplace")


def read_events(server: Server) -> Iterator[Event]:
    """Give the events, oldest first; a line that is none is left out. Raises OSError."""
    known = {each.name for each in fields(Event)}
    try:
        lines = server.paths.deploy_log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            data = json.loads(line)
            yield Event(**{key: value for key, value in data.items() if key in known})
        except (ValueError, TypeError, AttributeError):
            continue  # a crash cut it short, or another version wrote it


def once_each(events: Iterable[Event]) -> list[Event]:
    """Return the events, of backups that failed in a row the last alone, with their number.

    While a repository is away there is one every five minutes, and nothing else would be seen.
    """
    shown: list[Event] = []
    row = 0
    for each in events:
        if shown and each.event == shown[-1].event == "backup-failed":
            row += 1
            shown[-1] = replace(each, detail=f"{each.detail} ({row} in a row)")
        else:
            row = 1
            shown.append(each)
    return shown


def history_text(events: list[Event]) -> str:
    """Return events as a table for people, each on one line."""
    if not events:
        return "no event yet"
    rows = [("WHEN", "EVENT", "RELEASE", "BY", "WHAT")]
    rows += [
        (each.at[:19].replace("T", " "), each.event, each.release or "-", each.by,
         " ".join("; ".join(filter(None, (each.check, each.detail))).split()))
        for each in events
    ]  # fmt: skip
    return table(rows)
