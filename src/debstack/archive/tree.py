"""Where everything lies in the archive, named once, and how it is written so that it stays.

    pool/main/<l>/<package>/<package>_<version>_<architecture>.deb    immutable
    .gen/<suite>/<N>/{InRelease,Release,Release.gpg,archive-keyring.gpg,main/binary-<arch>/…}
    .gen/<suite>/<N>/{manifest,releases}.json    a generation is immutable
    dists/<suite> -> ../.gen/<suite>/<N>    the only mutable name; its rename is the commit
    .gen/.lock    held by the one publisher, shared by those who read all of it
    .gen/.unfinished    there while the pool is being changed: left behind, it means a sweep
    .fetching    there while scripts/copy-archive fetches: left behind, the archive is not whole

Temporary names start with .tmp-; the next publisher removes what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import ArchiveError

TEMPORARY = ".tmp-"
KEYRING = "archive-keyring.gpg"
"""The public keys that sign a generation, inside it: they change with the index, in one step."""

_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_SYNCING = 32


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

    def keyring(self, suite: str) -> Path:
        """Return where the public keys that sign ``suite`` lie, for the sources of a server."""
        return self.dist(suite) / KEYRING

    @property
    def unfinished(self) -> Path:
        """The mark of a publisher that may have left something in the pool."""
        return self.generations / ".unfinished"

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
        # Where a folder has the name, ln would make the link inside it.
        foreign = link.exists() and not link.is_symlink()
        remedy = [f"mv {link} elsewhere"] if foreign or not numbers else []
        remedy += [f"ln -sfn ../.gen/{suite}/{numbers[-1]} {link}"] if numbers else []
        raise ArchiveError(
            f"{link} does not lead to a generation of {suite}", hint="; then ".join(remedy)
        )


@contextmanager
def locked(tree: Tree, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only publisher; ``waiting`` is called once if another one has to end first."""
    if tree.pool.exists() and not tree.generations.exists():
        raise ArchiveError(
            f"{tree.root} holds an archive that was not made by debstack",
            hint="publish to an empty folder",
        )
    make_folder(tree.generations)
    descriptor = _lock(tree.generations / ".lock", waiting)
    try:
        if (tree.root / ".fetching").exists():
            raise ArchiveError(
                f"{tree.root} was not fetched to the end, and may lack what is published",
                hint="scripts/copy-archive fetch PLACE",
            )
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, waiting: Callable[[], None]) -> int:
    """Return the file at ``path``, open and locked.

    Whoever waits may get one that was replaced meanwhile, as scripts/copy-archive fetch does it:
    another publisher would have the new one.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def unchanging(tree: Tree) -> Iterator[None]:
    """Keep publishers waiting while the archive is read; of a copy without their lock, nobody."""
    lock = tree.generations / ".lock"
    if not lock.exists():
        yield
        return
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def make_folder(path: Path, *, durable: bool = True) -> None:
    """Make a folder and its parents, readable by apt's own user whatever the umask is."""
    if path.is_dir():
        return
    make_folder(path.parent, durable=durable)
    path.mkdir()
    path.chmod(_FOLDER_MODE)
    if durable:
        sync(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file; ``sync_all`` makes it last."""
    with path.open("xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), _FILE_MODE)


@contextmanager
def marked(tree: Tree) -> Iterator[None]:
    """Leave a mark for the next publisher if this one does not get to the end."""
    tree.unfinished.touch()
    sync(tree.generations)
    yield
    tree.unfinished.unlink()


def rename(source: Path, target: Path) -> None:
    """Rename within one folder, and make sure that it lasts."""
    source.rename(target)
    sync(target.parent)


def sync_all(paths: Iterable[Path]) -> None:
    """Write files and folders to disk, many at a time.

    The file system then takes several in one step of its journal, and each step is what takes long.
    """
    with ThreadPoolExecutor(_SYNCING) as pool:
        for _ in pool.map(sync, paths):
            pass


def sync(path: Path) -> None:
    """Write a file's content, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
