"""Where everything lies in the archive, named once, and how it is written so that it stays.

    pool/main/<l>/<package>/<package>_<version>_<architecture>.deb    immutable
    .gen/<suite>/<N>/{InRelease,Release,Release.gpg,manifest.json,main/binary-<arch>/…}    immutable
    dists/<suite> -> ../.gen/<suite>/<N>    the only mutable name; its rename is the commit
    keys/<origin>-archive-keyring.gpg
    .gen/.lock    held by the one publisher

Temporary names start with .tmp-; the next publisher removes what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import ArchiveError

TEMPORARY = ".tmp-"
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True)
class Tree:
    """The archive under ``root``."""

    root: Path

    @property
    def pool(self) -> Path:
        """The folder of all packages, of all suites."""
        return self.root / "pool"

    @property
    def generations(self) -> Path:
        """The folder of all generations; its presence tells our archive from somebody else's."""
        return self.root / ".gen"

    def generation(self, suite: str, number: int) -> Path:
        """Return the folder of one generation."""
        return self.generations / suite / str(number)

    def dist(self, suite: str) -> Path:
        """Return the link that apt follows."""
        return self.root / "dists" / suite

    def keyring(self, origin: str) -> Path:
        """Return where the public keys that sign lie, for the sources of a server."""
        name = re.sub(r"[^a-z0-9.-]+", "-", origin.lower()).strip("-")
        return self.root / "keys" / f"{name}-archive-keyring.gpg"

    def numbers(self, suite: str) -> list[int]:
        """Return the numbers of the complete generations of ``suite``, oldest first."""
        folder = self.generations / suite
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isdecimal())

    def suites(self) -> list[str]:
        """Return the suites that have generations."""
        if not self.generations.is_dir():
            return []
        return sorted(path.name for path in self.generations.iterdir() if path.is_dir())

    def live(self, suite: str) -> int | None:
        """Return the number of the generation that apt sees, None before the first publication.

        Raises ArchiveError if the link is lost or is not ours: what to publish next and what may
        be removed are decided from it.
        """
        link = self.dist(suite)
        if link.is_symlink():
            target = link.readlink()
            if (
                target.parent == Path("../.gen", suite)
                and self.generation(suite, 1).parent.is_dir()
            ):
                return int(target.name)
        elif not link.exists() and self.numbers(suite) in ([], [1]):
            return None
        numbers = self.numbers(suite)
        relink = (
            f"ln -sfn ../.gen/{suite}/{numbers[-1]} {link}" if numbers else f"mv {link} elsewhere"
        )
        raise ArchiveError(f"{link} does not lead to a generation of {suite}", hint=relink)


@contextmanager
def locked(tree: Tree, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only publisher; ``waiting`` is called once if another one has to end first."""
    if tree.pool.exists() and not tree.generations.exists():
        raise ArchiveError(
            f"{tree.root} holds an archive that was not made by debstack",
            hint="publish to an empty folder",
        )
    make_folder(tree.generations)
    descriptor = os.open(tree.generations / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, readable by apt's own user whatever the umask is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir()
    path.chmod(_FOLDER_MODE)
    sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file and sync it; its folder is not synced."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), _FILE_MODE)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file with ``content`` in place of ``path`` with one rename."""
    make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY}{path.name}"
    write_file(temporary, content)
    rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Rename within one folder, and make sure that it lasts."""
    source.rename(target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Write the entries of a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
