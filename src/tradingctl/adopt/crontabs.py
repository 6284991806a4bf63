"""Lines of crontabs that have to do with the services: found, put out of use, put back.

A line that starts or stops a service by the name of its unit goes on to do so: the packaged units
have the same names. One that starts a service's program by itself would start a second one, as
another account, beside the packaged unit: it is put out of use. Lines are named by file and number,
never shown: they may hold secrets.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl.adopt.successor import Successor
from tradingctl.adopt.unitfiles import UnitFile
from tradingctl.files import write_whole
from tradingctl.inventory import Inventory, service
from tradingctl.paths import Paths

MARK = "# put out of use by tradingctl adopt: "
VERB = r"\b(?:systemctl|service|deb-systemd-invoke)\b"
DEPLOYS = re.compile(r"\bgit\b.*\b(?:pull|fetch|checkout|reset|merge)\b|\bpip3?\b.*\binstall\b")


@dataclass(frozen=True)
class Line:
    """A line of a crontab, and what becomes of it.

    ``disable`` says that it is put out of use; ``reason`` says why, or what else to know.
    """

    file: Path
    number: int
    disable: bool
    reason: str


def files(paths: Paths) -> Iterator[Path]:
    """Give every crontab."""
    folders = [paths.user_crontabs]
    for each in paths.system_crontabs:
        if each.is_file():
            yield each
        else:
            folders.append(each)
    for folder in folders:
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
                yield file


def find(
    paths: Paths,
    inventory: Inventory,
    units: Collection[UnitFile],
    moved: Collection[str],
    successors: Collection[Successor],
) -> list[Line]:
    """Return the lines that concern the services; ``moved`` are units that will be no more.

    ``successors`` tell of a file that a line uses whether it will be there.
    """
    packaged = [service(unit.name) for _, unit in inventory.units()]
    trees = [f"/opt/trading/{component.name}" for component in inventory.components]
    programs = {word for unit in units for word in unit.programs}
    found = []
    for file in files(paths):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            found.append(Line(file, 1, False, "is not UTF-8 and was not looked at"))
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                verdict = _verdict(line, packaged, moved, trees, programs)
                if verdict:
                    disabled, reason = verdict
                    lost = [name for each in successors for name in each.lost(line)]
                    if lost and not disabled:
                        reason += f"; it will fail, for no package has {', '.join(lost)}"
                    found.append(Line(file, number, disabled, reason))
    return found


def _verdict(
    line: str,
    packaged: Collection[str],
    moved: Collection[str],
    trees: Collection[str],
    programs: Collection[str],
) -> tuple[bool, str] | None:
    if re.search(VERB, line):
        gone = [name for name in moved if name not in packaged and _names(line, name)]
        if gone:
            return True, f"starts or stops {', '.join(gone)}, which is moved aside"
        named = [name for name in packaged if _names(line, name)]
        if named:
            return False, f"starts or stops {', '.join(named)}: goes on, with the packaged unit"
    started = sorted(word for word in programs if _holds(line, word))
    if any(tree in line for tree in trees):
        if started:
            return True, f"starts {', '.join(started)} itself, which would run twice"
        if DEPLOYS.search(line):
            return False, "deploys into the tree, which packages do now: remove it"
        return False, "uses a path of the tree: goes on, with the package's files"
    return None


def _names(line: str, unit: str) -> bool:
    return _holds(line, unit) or _holds(line, unit.removesuffix(".service"))


def _holds(line: str, word: str) -> bool:
    return bool(re.search(rf"(?<![\w@.-]){re.escape(word)}(?![\w-]|\.\w)", line))


def disable(file: Path, numbers: Collection[int], copy: Path) -> None:
    """Put lines out of use; the file as it was is kept in ``copy``. May be repeated."""
    if not copy.exists():
        shutil.copy2(file, copy)
        copy.chmod(0o600)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for number in numbers:
        if number <= len(lines) and not lines[number - 1].startswith(MARK):
            lines[number - 1] = MARK + lines[number - 1]
    _write(file, "".join(lines))


def enable(file: Path, copy: Path) -> None:
    """Put back into use what is out of use; a file that nobody else changed is as it was."""
    if not file.exists():
        return  # the administrator removed it
    text = file.read_text(encoding="utf-8")
    lines = [line.removeprefix(MARK) for line in text.splitlines(keepends=True)]
    before = "".join(lines)
    if before != text:
        _write(file, before)
    if copy.exists() and copy.read_text(encoding="utf-8") == before:
        # cron looks at the time of the directory as well, and reads the file anew.
        os.utime(file, ns=(copy.stat().st_atime_ns, copy.stat().st_mtime_ns))


def _write(file: Path, text: str) -> None:
    status = file.stat()
    write_whole(file, text, status.st_mode & 0o7777, status.st_uid, status.st_gid)
