"""The state and log directories of a component, and the release's own files in them.

The state directory belongs to the services, who could lay a link in root's way; so every step goes
from one opened directory to the next and follows no link.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from tradingctl.account import Account
from tradingctl.description import Component
from tradingctl.errors import TradingError
from tradingctl.paths import Paths

SHARED = 0o2770
"""The mode of what is in the state directory: the administrator's account, in the services' group,
may write there, and what it makes is the group's too."""
_NEW_FILES = "system.posix_acl_default"
# Owner and group as the program that makes a file asks, others nothing (linux/posix_acl_xattr.h).
_GROUP_WRITES = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, 0xFFFFFFFF)
    for tag, rights in ((0x01, 7), (0x04, 7), (0x20, 0))
)
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_directories(
    paths: Paths, component: Component, account: Account, taken_over: bool = True
) -> None:
    """Make the state and log directories that are missing, and give the others to ``account``.

    Before everything is ``taken_over`` only those of root: who prepared another disk made them.
    Those of somebody else may be in use by hand. Raises OSError, TradingError.
    """
    top = paths.state / component.name
    top.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    wanted = [(top, state.path) for state in component.state]
    if component.logs:
        paths.logs.mkdir(mode=0o755, parents=True, exist_ok=True)
        wanted.append((paths.logs / component.name, "."))
    for root, relative in wanted:
        with _opened(root.parent, root.name, account, None if taken_over else 0) as folder:
            for part in PurePosixPath(relative).parts:
                folder.enter(part, SHARED)


def shared_places(paths: Paths) -> list[Path]:
    """Return the directories above all components that are not root's, or not 0755."""
    found = [place for place in (paths.base, paths.logs) if place.is_dir()]
    return [place for place in found if not place.is_symlink() and not _is_roots(place)]


def _is_roots(place: Path) -> bool:
    there = place.stat()
    return there.st_uid in (0, os.geteuid()) and there.st_mode & 0o7777 == 0o755


def take_places(paths: Paths) -> None:
    """Make them root's: who owns a directory can exchange what lies in it. Raises OSError."""
    for place in shared_places(paths):
        os.chown(place, os.geteuid(), os.getegid())
        place.chmod(0o755)


def link_tracked(paths: Paths, component: Component, tree: Path, account: Account) -> list[str]:
    """Link the files that ``tree`` ships for the state directories; return what stands in the way.

    Each returned text names a file of the administrator's that stays as it is.
    """
    kept = []
    for relative in _tracked_files(component, tree):
        target = _target(component, relative)
        with _opened(paths.state, component.name, account) as folder:
            for part in PurePosixPath(relative).parts[:-1]:
                folder.enter(part, SHARED)
            name = PurePosixPath(relative).name
            found = folder.link_at(name)
            if found == target:
                continue
            if found is not None and not _ours(component, found):
                kept.append(
                    f"{paths.state / component.name / relative} is not of the package and stays;"
                    f" the release's own is {target}"
                )
                continue
            if found is not None:
                folder.remove(name)
            folder.link(name, target)
    return kept


def prune_tracked(paths: Paths, component: Component, tree: Path | None) -> None:
    """Remove our links to files that ``tree`` does not ship; all of them for no tree."""
    shipped = set(_tracked_files(component, tree)) if tree else set()
    top = paths.state / component.name
    for state in component.state:
        for folder, _, files, descriptor in os.fwalk(top / state.path, follow_symlinks=False):
            for name in files:
                relative = (Path(folder) / name).relative_to(top).as_posix()
                found = _link_at(descriptor, name)
                if found and _ours(component, found) and relative not in shipped:
                    os.unlink(name, dir_fd=descriptor)


def _tracked_files(component: Component, tree: Path) -> Iterator[str]:
    """Give the files below ``.tracked``, relative to it and so to the state directory."""
    tracked = tree / ".tracked"
    for state in component.state:
        if state.tracked:
            for folder, _, files in os.walk(tracked / state.path):
                for name in sorted(files):
                    yield (Path(folder) / name).relative_to(tracked).as_posix()


def _target(component: Component, relative: str) -> str:
    # Not below the temporary root of a test or of DPKG_ROOT: it is read on the server itself.
    return f"/opt/trading/{component.name}/.tracked/{relative}"


def _ours(component: Component, target: str) -> bool:
    return target.startswith(f"/opt/trading/{component.name}/.tracked/")


def _let_group_write(descriptor: int) -> None:
    """Keep the umask of who makes a file out of a shared directory, by a default ACL (acl(5)).

    SQLite makes its log with the umask, and gives it the database's mode a moment later. A service
    that opens it in that moment, as when it starts beside a script, may only read it, and SQLite
    then fails every write of that service ("attempt to write a readonly database") until it ends.
    What the administrator set stays.
    """
    try:
        os.getxattr(descriptor, _NEW_FILES)
    except OSError as missing:
        if missing.errno != errno.ENODATA:  # a file system without ACLs
            return
        os.setxattr(descriptor, _NEW_FILES, _GROUP_WRITES)


def _link_at(descriptor: int, name: str) -> str | None:
    """Return what the link ``name`` points to, empty for what is no link, None for nothing."""
    try:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else ""


class _Folder:
    """An open directory that one can go down from."""

    def __init__(
        self, path: Path, descriptor: int, account: Account, owner: int | None = -1
    ) -> None:
        self.path = path
        self.descriptor = descriptor
        self.account = account
        self.owner = owner
        """Whose directories are given to the account; None is everybody, -1 nobody."""

    def enter(self, name: str, mode: int = 0o750) -> None:
        """Go into the directory ``name``, which is made when missing."""
        made = True
        try:
            os.mkdir(name, 0o700, dir_fd=self.descriptor)
        except FileExistsError:
            made = False
        try:
            below = os.open(name, DIRECTORY, dir_fd=self.descriptor)
        except OSError as error:
            raise TradingError(
                f"{self.path / name} is not a directory: {error.strerror}",
                f"ls -l {self.path}  # to have it on another disk, use a bind mount, not a link",
            ) from error
        if made:
            self._give(below, mode)
        elif self.owner in (None, os.fstat(below).st_uid):
            # Not every file system has owners; whether the services can write they show themselves.
            with suppress(OSError):
                self._give(below, mode)
        os.close(self.descriptor)
        self.descriptor = below
        self.path /= name

    def _give(self, descriptor: int, mode: int) -> None:
        found = os.fstat(descriptor)
        wanted = (self.account.uid, self.account.gid, mode)
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != wanted:
            os.fchown(descriptor, self.account.uid, self.account.gid)
            os.fchmod(descriptor, mode)
        if mode == SHARED:
            _let_group_write(descriptor)

    def link_at(self, name: str) -> str | None:
        return _link_at(self.descriptor, name)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self.descriptor)

    def link(self, name: str, target: str) -> None:
        os.symlink(target, name, dir_fd=self.descriptor)


@contextmanager
def _opened(parent: Path, name: str, account: Account, owner: int | None = -1) -> Iterator[_Folder]:
    folder = _Folder(parent, os.open(parent, os.O_RDONLY | os.O_DIRECTORY), account, owner)
    try:
        folder.enter(name)
        yield folder
    finally:
        os.close(folder.descriptor)
