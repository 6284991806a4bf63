"""The databases of an installation by hand: found, checked, copied and given back.

Never by copying files: SQLite's own backup, which takes along what is still in the log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tradingctl.account import Account
from tradingctl.adopt.inforce import InForce
from tradingctl.adopt.trees import Tree
from tradingctl.backup.database import LOG_FILES, Database, copy
from tradingctl.backup.replace import SIDE_FILES
from tradingctl.backup.rights import rights_of
from tradingctl.description import Component
from tradingctl.errors import AdoptionError
from tradingctl.files import sync_directory, sync_file
from tradingctl.server import Server

BUSY_SECONDS = 10.0
MODE = 0o660  # the administrator's account, which wrote before, is in the group
BLOCK = 1 << 20
# Counters of SQLite's that say when something was written, not what (fileformat2, 1.3).
COUNTERS = ((24, 28), (40, 44), (92, 100))


@dataclass(frozen=True)
class OldDatabase:
    """A database in use: what the component calls it, where it is, its size in bytes.

    ``variable`` is the setting that says where it is, when that is not in the tree. ``rows`` are
    its tables with how many rows they have, ``damage`` what SQLite finds wrong with it.
    """

    component: str
    name: str
    file: Path
    size: int
    rows: Mapping[str, int]
    damage: str = ""
    variable: str = ""


@dataclass(frozen=True)
class Unfound:
    """A declared database of which it is not certain which file it is, and why, without a value.

    ``variable`` is the setting that is to say where it is, empty for none.
    """

    component: str
    name: str
    variable: str
    reason: str


def find(
    component: Component,
    tree: Tree,
    folders: Collection[Path],
    settings: InForce,
    fixed: Mapping[str, str],
) -> Iterator[OldDatabase | Unfound]:
    """Give the declared databases, checked while the services go on.

    ``folders`` are the directories that the component's units run in, which relative paths begin
    at. One that is nowhere, and that no setting names, has not been made yet and is left out.
    """
    for state in component.state:
        for base in state.databases:
            name = (PurePosixPath(state.path) / base).as_posix()
            usual = (tree.real / name).resolve()
            known = settings.all or {}
            variable = _variable(name, known, fixed, component.name)
            value = known[variable] if variable else name
            places = {_place(tree, value, folder) for folder in folders or [tree.real]}
            there = {each for each in places if each.is_file()}
            if not variable and usual.is_file():
                there.add(usual)  # an application may take its own folder instead
            if variable in settings.disputed_fixed:
                yield Unfound(component.name, name, variable, "on which the units disagree")
            elif len(there) == 1:
                (file,) = there
                yield look(component.name, name, file, variable if file != usual else "")
            elif there:
                reason = "there is one in more than one of the directories that the units run in"
                yield Unfound(component.name, name, variable, reason)
            elif variable and places != {usual}:
                yield Unfound(component.name, name, variable, "which names no file")


def _variable(
    name: str, settings: Mapping[str, str], fixed: Mapping[str, str], component: str
) -> str:
    """Return the variable in ``settings`` that says where a database is, empty for none."""
    packaged = f"/opt/trading/{component}/{name}"
    known = (each for each, value in fixed.items() if value == packaged and settings.get(each))
    return next(known, "")


def _place(tree: Tree, value: str, folder: Path) -> Path:
    """Return what a path is for a program that runs in ``folder``."""
    return tree.place_of(tree.place_of(folder) / tree.place_of(Path(value))).resolve()


def look(component: str, name: str, file: Path, variable: str = "") -> OldDatabase:
    """Return what there is to know of a database; nothing is written, nobody has to wait."""
    size = sum(
        file.with_name(file.name + suffix).stat().st_size
        for suffix in ("", *LOG_FILES)
        if file.with_name(file.name + suffix).is_file()
    )
    try:
        with _reading(file) as connection:
            lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            found = "" if lines == ["ok"] else "; ".join(lines)
            rows = {} if found else _rows(connection)
    except sqlite3.Error as error:
        found, rows = str(error), {}
    return OldDatabase(component, name, file, size, rows, found, variable)


def count(file: Path) -> Mapping[str, int]:
    """Return how many rows each table has. Raises sqlite3.Error."""
    with _reading(file) as connection:
        return _rows(connection)


def _rows(connection: sqlite3.Connection) -> dict[str, int]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE"
        " '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    counted = {}
    for (table,) in tables:
        name = str(table).replace('"', '""')
        question = f'SELECT count(*) FROM "{name}"'  # noqa: S608  (a name cannot be a parameter)
        counted[str(table)] = int(connection.execute(question).fetchone()[0])
    return counted


def _logged(file: Path) -> bool:
    """Return whether something of the database is still in a log beside it."""
    logs = [file.with_name(file.name + suffix) for suffix in SIDE_FILES]
    return any(each.exists() for each in logs)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    # Nobody has one open that has nothing beside it, and nothing is to be made beside it then. A
    # write that begins meanwhile makes the count that of before.
    how = "mode=ro" if _logged(file) else "mode=ro&immutable=1"
    with (
        rights_of(owner_of(file)),
        contextlib.closing(
            sqlite3.connect(f"file:{quote(str(file))}?{how}", BUSY_SECONDS, uri=True)
        ) as connection,
    ):
        connection.execute("BEGIN")
        yield connection


def owner_of(file: Path) -> Account:
    """Return the account a file belongs to."""
    status = file.stat()
    return Account(status.st_uid, status.st_gid)


def take(server: Server, component: str, source: Path, target: Path, account: Account) -> str:
    """Copy a database that nobody writes to; return what was counted, for people.

    The copy belongs to ``account`` and replaces ``target`` by one rename. Raises AdoptionError,
    BackupError when it is not the same in every table, OSError.
    """
    staged = target.with_name(f".{target.name}.adopting")
    _plain(target.parent)
    staged.unlink(missing_ok=True)
    try:
        # The copy's integrity is checked as it is made.
        _copy(server, component, source, staged)
        before, after = count(source), count(staged)
        if before != after:
            odd = sorted(name for name in before if before[name] != after.get(name))
            raise AdoptionError(
                f"{source} and its copy differ in {', '.join(odd) or 'their tables'}",
                f"sqlite3 {source} 'PRAGMA integrity_check'",
            )
        os.chown(staged, account.uid, account.gid, follow_symlinks=False)
        staged.chmod(MODE)
        sync_file(staged)
        staged.replace(target)
        sync_directory(target.parent)
    except sqlite3.Error as error:
        raise AdoptionError(
            f"{source} cannot be copied: {error}", f"sqlite3 {source} 'PRAGMA integrity_check'"
        ) from error
    finally:
        staged.unlink(missing_ok=True)
    return f"{len(after)} tables, {sum(after.values())} rows"


def _plain(folder: Path) -> None:
    """Raise AdoptionError when a way to the folder is a link, which could lead anywhere."""
    if folder.resolve() != folder.parent.resolve() / folder.name:
        raise AdoptionError(
            f"{folder} is a link, not a directory", f"ls -ld {folder}  # use a bind mount instead"
        )


def _copy(server: Server, component: str, source: Path, target: Path) -> None:
    database = Database(component, source.name, source)
    resting = not _logged(source)
    copy(database, target, owner_of(source), server.clock, resting=resting)


def same(one: Path, other: Path) -> bool:
    """Return whether two databases that nobody writes to certainly hold the same, page by page.

    Of one that has a log beside it nothing is certain.
    """
    return not _logged(one) and not _logged(other) and _same_pages(one, other)


def _same_pages(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        first = True
        while block := left.read(BLOCK):
            against = right.read(BLOCK)
            if first:
                block, against = _without_counters(block), _without_counters(against)
            if block != against:
                return False
            first = False
    return True


def _without_counters(block: bytes) -> bytes:
    for begin, end in COUNTERS:
        block = block[:begin] + bytes(end - begin) + block[end:]
    return block


def give_back(server: Server, component: str, newer: Path, old: Path, stamp: str) -> str:
    """Put what ``newer`` holds in the place of ``old``, which is kept beside; say what was counted.

    Nobody may have either open. May be repeated. Raises as ``take`` does.
    """
    staged = old.with_name(f".{old.name}.giving-back")
    status = old.stat() if old.exists() else old.parent.stat()
    staged.unlink(missing_ok=True)
    _copy(server, component, newer, staged)
    os.chown(staged, status.st_uid, status.st_gid, follow_symlinks=False)
    staged.chmod(status.st_mode & 0o666 if old.exists() else 0o640)
    sync_file(staged)
    kept = old.with_name(f"{old.name}.before-undo-{stamp}")
    if old.exists() and not kept.exists():
        kept.hardlink_to(old)
    for suffix in SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            old.with_name(old.name + suffix).rename(kept.with_name(kept.name + suffix))
    staged.replace(old)
    sync_directory(old.parent)
    found = count(old)
    return f"{len(found)} tables, {sum(found.values())} rows"


def put_aside(database: Path, word: str, stamp: str) -> None:
    """Give a database, and what is beside it, another name. May be repeated."""
    for suffix in ("", *SIDE_FILES):
        there = database.with_name(database.name + suffix)
        if there.exists():
            there.rename(database.with_name(f"{database.name}.{word}-{stamp}{suffix}"))


def remove(database: Path) -> None:
    """Remove a database, and what is beside it, of which another one holds all."""
    for suffix in ("", *SIDE_FILES):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
