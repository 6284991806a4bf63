"""Which backups the restic repository has got, so that it is given what it missed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from tradingctl.files import write_whole
from tradingctl.paths import Paths


def uploaded(paths: Paths, restic: Mapping[str, str]) -> set[str]:
    """Return the backups, named from the directory of all, that the repository has got.

    A list that is missing, damaged or of another repository is empty: what the repository has
    already costs no space there when it gets it again.
    """
    try:
        data = json.loads(paths.uploaded.read_text(encoding="utf-8"))
        if data["repository"] == _repository(restic):
            return set(map(str, data["backups"]))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return set()


def note_uploaded(paths: Paths, restic: Mapping[str, str], name: str) -> None:
    """Note that the repository has got a backup, and forget those that are gone. Raises OSError."""
    there = [each for each in uploaded(paths, restic) if (paths.backups / each).is_dir()]
    data = {"repository": _repository(restic), "backups": sorted({*there, name})}
    write_whole(paths.uploaded, json.dumps(data, indent=2) + "\n", 0o600)


def _repository(restic: Mapping[str, str]) -> str:
    # Not the address itself, which may hold a password.
    named = [restic.get(key, "") for key in ("RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE")]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()
