"""Files with secrets in them that more people than the services and root can read or change."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from tradingctl.account import Account
from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.envfile import read_variables
from tradingctl.server import Server

ADOPTED = "adopted"
"""Below /opt/trading: the trees that were laid out by hand, put aside."""

KEPT_BY_HAND = ("crontabs", "owners/*", "settings/*", "units/*")
"""Below /var/lib/trading/adoption: directories of what was moved aside, or copied from there."""


def rights_complaints(server: Server, account: Account) -> Iterator[Complaint]:
    """Give the files whose owner or rights are wrong, those of trees laid out by hand too."""
    paths = server.paths
    if paths.secrets.is_dir():
        yield from _wrong(server, paths.secrets, 0o750, "trading", account)
        for file in sorted(paths.secrets.rglob("*")):
            wanted = 0o750 if file.is_dir() else 0o640
            yield from _wrong(server, file, wanted, "trading", account)
    if paths.backup_settings.exists():
        yield from _wrong(server, paths.backup_settings, 0o600, "root", account)
    yield from _named_elsewhere(server, account)
    if paths.backups.is_dir():
        yield from _wrong(server, paths.backups, 0o700, "root", account)
        for file in sorted(paths.backups.glob("*/settings/**/*")):
            if file.is_file() and not file.is_symlink():
                yield from _wrong(server, file, 0o600, "root", account)
    for folder in KEPT_BY_HAND:
        for kept in sorted(paths.adoption.glob(folder)):
            yield from _wrong(server, kept, 0o700, "root", account)
    for file in hand_made(paths.base):
        yield from _open(server, file)


def hand_made(base: Path) -> Iterator[Path]:
    """Give what may hold secrets in the trees that were laid out by hand, and in copies of them.

    A tree may be a link to where it lies.
    """
    trees = [*_folders(base), *_folders(base / ADOPTED)]
    for tree in trees:
        if tree.name not in ("releases", ADOPTED, "backups"):
            for file in sorted(tree.iterdir()):
                if file.name == ".env" or file.name.startswith(".env.") or file.suffix == ".env":
                    yield file
    for archive in sorted(base.glob("backups/*")):
        if ".tar" in archive.suffixes or archive.suffix in (".tgz", ".zip"):
            yield archive


def _folders(folder: Path) -> list[Path]:
    """Return the directories in one, and links to some elsewhere; none of the packages' own."""
    if not folder.is_dir():
        return []
    own = (folder / "releases").resolve()
    found = [each for each in sorted(folder.iterdir()) if each.is_dir()]
    return [each for each in found if not each.resolve().is_relative_to(own)]


def trusted(server: Server) -> int:
    """Return the user that owns settings: root, or in another tree who made it."""
    root = server.paths.root
    return 0 if root == Path("/") else root.stat().st_uid


def _wrong(
    server: Server, file: Path, wanted: int, group: str, account: Account
) -> Iterator[Complaint]:
    """Give a complaint if more may read or change ``file`` than ``wanted`` and ``group`` say."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    target = file.resolve()
    mode = stat.S_IMODE(found.st_mode)
    reasons = []
    if found.st_uid != trusted(server):
        reasons.append(f"belongs to user {found.st_uid}, not to root")
    if mode & 0o070 and found.st_gid not in (0, account.gid) and server.paths.root == Path("/"):
        reasons.append(f"belongs to group {found.st_gid}, not to {group}")
    if mode & ~wanted:
        reasons.append(f"has mode {mode:04o}, at most {wanted:04o} is good")
    if reasons:
        severe = mode & 0o007 or found.st_uid != trusted(server)
        inside = target.is_relative_to(server.paths.root)
        shown = shlex.quote(server.paths.shown(target) if inside else str(target))
        yield Complaint(
            Severity.HIGH if severe else Severity.MEDIUM, "rights", server.paths.shown(file), "",
            "; ".join(reasons), f"chown root:{group} {shown} && chmod {wanted:04o} {shown}",
        )  # fmt: skip


def _named_elsewhere(server: Server, account: Account) -> Iterator[Complaint]:
    """Give the file that holds the password of the backups' repository, wherever it is."""
    named = dict(read_variables(server.paths.backup_settings))
    for variable in ("RESTIC_PASSWORD_FILE", "RESTIC_REPOSITORY_FILE"):
        if place := named.get(variable):
            file = server.paths.root / place.lstrip("/")
            if file.exists():
                yield from _wrong(server, file, 0o600, "root", account)


def _open(server: Server, file: Path) -> Iterator[Complaint]:
    """Give a complaint if everybody can read a file that is the administrator's own."""
    try:
        mode = file.stat().st_mode
        folders = list(file.resolve().parents)
        root = server.paths.root
        passable = all(
            folder.stat().st_mode & 0o001
            for folder in folders
            if folder.is_relative_to(root) and folder != root
        )
    except OSError:
        return
    if mode & 0o004 and passable:
        shown = server.paths.shown(file)
        yield Complaint(
            Severity.HIGH, "open to others", shown, "",
            "was laid out by hand, may hold secrets, and every user of this server can read it",
            f"chmod 600 {shlex.quote(shown)}",
        )  # fmt: skip
