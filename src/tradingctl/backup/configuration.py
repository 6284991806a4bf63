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
    """What stays, and the environment of restic, empty when no repository is named.

    ``shell`` is the first command to make a shell, with which people call restic, read the same;
    empty if it does.
    """

    keep: Keep = Keep()
    restic: Mapping[str, str] = field(default_factory=dict)
    shell: str = ""


def read_configuration(paths: Paths) -> Configuration:
    """Return the settings, the defaults when there is no file.

    Raises BackupError naming the file and the line that is wrong.
    """
    file = paths.backup_settings
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return Configuration()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{file}: cannot be read: {error}", f"ls -l {file}") from error
    keep = Keep()
    restic: dict[str, str] = {}
    shell = ""
    for number, line in enumerate(text.split("\n"), 1):
        if wanted := _other_for_a_shell(line):
            shell = shell or f"sensible-editor +{number} {file}  # for a shell {wanted}"
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            name, value = _assignment(file, number, line)
            if name.startswith("BACKUP_"):
                keep = _kept(file, number, name, value, keep)
            elif name.startswith(PASSED_ON):
                restic[name] = value
            else:
                raise _wrong(file, number, f"unknown key {name!r}; known are {_known()}")
    return Configuration(keep, _complete(file, restic), shell)


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
    return found[1], words[0] if words else ""


def _other_for_a_shell(line: str) -> str:
    """Return what a shell wants of a line that it reads otherwise; empty if it reads the same."""
    if line.lstrip().startswith("#"):
        return ""
    if line.lstrip().startswith(";"):
        return "a comment begins with #"
    if line.endswith("\r"):
        return "no carriage return ends a line"
    value = line.partition("=")[2]
    if value[:1].isspace():
        return "no blank comes after the ="
    before = ":"
    for part in QUOTED.findall(value):
        if part.startswith('"'):
            found = re.search(r"[$`]", part)
        else:
            # A tilde is somebody's home at the beginning and after a colon.
            found = re.fullmatch(r"~" if before == ":" and part == "~" else r"[$`;&|<>()]", part)
        if found:
            return f"a value with {found[0]} needs single quotes"
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
            f"sensible-editor {file}",
        )
    return restic


def _known() -> str:
    ours = [PREFIX + each.name.upper() for each in fields(Keep)]
    return ", ".join([*ours, *(f"{prefix}*" for prefix in PASSED_ON)])


def _wrong(file: Path, number: int, message: str) -> BackupError:
    return BackupError(f"{file}: line {number}: {message}", f"sensible-editor +{number} {file}")
