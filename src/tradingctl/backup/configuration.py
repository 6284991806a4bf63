"""The administrator's settings of the backups: /etc/trading/backup.env."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tradingctl.errors import BackupError
from tradingctl.paths import Paths

PREFIX = "BACKUP_KEEP_"
PASSED_ON = ("RESTIC_", "AWS_", "B2_", "AZURE_", "GOOGLE_", "OS_", "ST_", "RCLONE_")
"""What restic and its storage are told in its environment."""
QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|.""")
LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


@dataclass(frozen=True)
class Keep:
    """How many backups stay.

    The newest ``last``, the newest of each of the last ``hourly`` hours and ``daily`` days that
    have one, the newest ``upgrade`` that were made before an upgrade, and the newest ``artifacts``
    snapshots.
    """

    last: int = 12
    hourly: int = 24
    daily: int = 14
    upgrade: int = 5
    artifacts: int = 7


@dataclass(frozen=True)
class Configuration:
    """What stays, and the environment of restic, empty when no repository is named."""

    keep: Keep = Keep()
    restic: Mapping[str, str] = field(default_factory=dict)


def read_configuration(paths: Paths) -> Configuration:
    """Return the settings, the defaults when there is no file.

    Raises BackupError naming the file and the line that is wrong.
    """
    file = paths.backup_settings
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Configuration()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{file}: cannot be read: {error}", f"ls -l {file}") from error
    keep = Keep()
    restic: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            name, value = _assignment(file, number, line)
            if name.startswith("BACKUP_"):
                keep = _kept(file, number, name, value, keep)
            elif name.startswith(PASSED_ON):
                restic[name] = value
            else:
                raise _wrong(file, number, f"unknown key {name!r}; known are {_known()}")
    return Configuration(keep, _complete(file, restic))


def _assignment(file: Path, number: int, line: str) -> tuple[str, str]:
    found = LINE.fullmatch(line.strip())
    if not found:
        raise _wrong(file, number, "expected NAME=value")
    try:
        words = shlex.split(found[2])
    except ValueError as error:
        raise _wrong(file, number, f"{found[1]}: {error}") from error
    if len(words) > 1:
        raise _wrong(file, number, f"{found[1]}: a value with blanks needs quotes")
    if words and found[2][0].isspace():
        raise _wrong(file, number, f"{found[1]}: a blank after the = ends the value for a shell")
    if special := _special(found[2]):
        raise _wrong(
            file,
            number,
            f"{found[1]}: a shell, which reads this file for whoever types a command of restic,"
            f" takes {special} for more than a character: the value needs single quotes",
        )
    return found[1], words[0] if words else ""


def _special(value: str) -> str:
    """Return the first character of a value that a shell would not take for itself, or none."""
    before = ":"
    for part in QUOTED.findall(value):
        if part.startswith('"'):
            found = re.search(r"[$`\\]", part)
        else:
            # A tilde is somebody's home at the beginning and after a colon.
            found = re.fullmatch(r"~" if before == ":" and part == "~" else r"[$`;&|<>()]", part)
        if found:
            return found[0]
        before = part
    return ""


def _kept(file: Path, number: int, name: str, value: str, keep: Keep) -> Keep:
    field_ = name.removeprefix(PREFIX).lower()
    if not name.startswith(PREFIX) or field_ not in {each.name for each in fields(Keep)}:
        raise _wrong(file, number, f"unknown key {name!r}; known are {_known()}")
    least = 1 if field_ in ("last", "artifacts") else 0
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) < least:
        raise _wrong(file, number, f"{name}: expected a number, {least} or more, got {value!r}")
    return replace(keep, **{field_: int(value)})


def _complete(file: Path, restic: dict[str, str]) -> dict[str, str]:
    """Return what restic is told; nothing without a repository."""
    if not any(restic.get(key) for key in ("RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE")):
        return {}
    secrets = ("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND")
    if not any(restic.get(key) for key in secrets):
        raise BackupError(
            f"{file}: RESTIC_REPOSITORY is set, and neither {' nor '.join(secrets)}",
            f"editor {file}",
        )
    return restic


def _known() -> str:
    ours = [PREFIX + each.name.upper() for each in fields(Keep)]
    return ", ".join([*ours, *(f"{prefix}*" for prefix in PASSED_ON)])


def _wrong(file: Path, number: int, message: str) -> BackupError:
    return BackupError(f"{file}: line {number}: {message}", f"editor +{number} {file}")
