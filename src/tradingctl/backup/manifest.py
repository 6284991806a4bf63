"""What a backup holds: written beside the copies, read before anything relies on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from tradingctl.errors import BackupError

SCHEMA = 1
MANIFEST = "manifest.json"
CHECKSUM = "manifest.json.sha256"
LIST = "tradingctl backup --list"
"""The next command where a backup is not what it should be."""
KINDS = ("upgrade", "manual", "timer")


@dataclass(frozen=True)
class SavedDatabase:
    """The copy ``file`` of a database; ``seen`` are the original's files when it was made.

    ``name`` is below the component's state, ``file`` below the backup.
    """

    component: str
    name: str
    source: str
    file: str
    size: int
    sha256: str
    user_version: int
    seen: Mapping[str, str]
    settled: bool


@dataclass(frozen=True)
class SavedSetting:
    """A file, directory or link below /etc/trading with its mode and owner.

    Of a link ``target`` is where it leads, and ``file`` the copy of what it leads to.
    """

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    target: str = ""
    file: str = ""
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Backup:
    """A complete backup; ``created_at`` is UTC, ISO 8601. ``absent`` did not exist at the time."""

    id: str
    kind: str
    release: str
    created_at: str
    packages: Mapping[str, str]
    databases: tuple[SavedDatabase, ...] = ()
    absent: tuple[str, ...] = ()
    settings: tuple[SavedSetting, ...] = ()
    notes: tuple[str, ...] = field(default=())
    schema: int = SCHEMA

    @property
    def at(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.created_at)

    @property
    def copies(self) -> tuple[SavedDatabase | SavedSetting, ...]:
        """Everything that is in it."""
        return (*self.databases, *self.settings)

    @property
    def size(self) -> int:
        """The bytes of all copies."""
        return sum(each.size for each in self.copies)

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of every copy by its place below the backup."""
        return {each.file: each.sha256 for each in self.copies if each.file}

    def to_json(self) -> str:
        """Return the text of the manifest."""
        # In ASCII: a file below /etc/trading may have a name that is not UTF-8.
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def parse(text: str, origin: str) -> Backup:
    """Return the backup that a manifest describes. Raises BackupError naming the file."""
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}, expected {SCHEMA}")
        databases = tuple(SavedDatabase(**each) for each in data.pop("databases"))
        settings = tuple(SavedSetting(**each) for each in data.pop("settings"))
        absent, notes = (tuple(map(str, data.pop(key))) for key in ("absent", "notes"))
        backup = Backup(**data, absent=absent, notes=notes, databases=databases, settings=settings)
        _require(backup.at.tzinfo is not None, "created_at without a time zone")
        _require(backup.kind in KINDS, f"kind {backup.kind!r}")
        for path in (name for each in backup.copies for name in (each.file, each.name)):
            _require(_below(path), f"file {path!r}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{origin}: not a manifest: {error}", LIST) from error
    return backup


def _require(right: bool, message: str) -> None:
    if not right:
        raise ValueError(message)


def _below(path: Any) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts
