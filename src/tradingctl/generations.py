"""The generations of a component and the link to the one that runs.

A generation is complete when it bears its name: it is made under a name that begins with a dot and
then renamed. dpkg replaces files by renaming new inodes into place, so a generation of hard links
keeps its bits when its package is upgraded or removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradingctl import tree
from tradingctl.errors import HandMadeError, TradingError
from tradingctl.files import sync_directory
from tradingctl.paths import Paths


@dataclass(frozen=True)
class Generations:
    """The generations of the component ``name``."""

    paths: Paths
    name: str

    @property
    def active(self) -> str:
        """The version that the link points to, empty when there is no link of ours."""
        link = self.paths.link(self.name)
        if not link.is_symlink():
            return ""
        target = link.readlink()
        return target.name if target.parent == Path("releases", self.name) else ""

    @property
    def hand_made(self) -> bool:
        """Whether something that is not our link lies where the link belongs."""
        return os.path.lexists(self.paths.link(self.name)) and not self.active

    def refuse_hand_made(self) -> None:
        """Raise HandMadeError when something that is not our link lies where the link belongs."""
        link = self.paths.link(self.name)
        if not self.hand_made:
            return
        if link.is_symlink():
            what = f"a link to {link.readlink()}"
        else:
            what = "a directory" if link.is_dir() else "a file"
        raise HandMadeError(
            f"{link} is {what} that no package made; nothing was changed",
            f"mv {link} {link}.by-hand && dpkg --configure -a",
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second activation of the component out, and clear away what a crash left."""
        folder = self.paths.generations(self.name)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for leftover in folder.glob(".*"):
                tree.remove(leftover)
            yield
        finally:
            os.close(descriptor)

    def stage(self, version: str) -> Path | None:
        """Return a fresh copy of what dpkg unpacked, None when the generation is there and intact.

        Raises TradingError when the package's files are missing, OSError when the copy fails.
        """
        shipped = self.paths.shipped(self.name)
        if not (shipped / "RELEASE.json").is_file():
            raise TradingError(
                f"{shipped}/RELEASE.json of component {self.name} is missing",
                f"apt-get install --reinstall {self.name}",
            )
        if not tree.difference(shipped, self.paths.generation(self.name, version)):
            return None
        staged = self.paths.generations(self.name) / f".new-{version}"
        try:
            if not tree.duplicate(shipped, staged):
                # dpkg brought its own files to the disk, and hard links are those.
                os.sync()
        except BaseException:
            tree.remove(staged)
            raise
        return staged

    def install(self, staged: Path, version: str) -> None:
        """Give a staged copy its name, in place of a generation that was not intact."""
        final = self.paths.generation(self.name, version)
        aside = final.parent / f".old-{version}"
        if final.exists():
            final.rename(aside)
        staged.rename(final)
        tree.remove(aside)

    def flip(self, version: str) -> None:
        """Point the link at a generation, by one rename: the link is never absent or half made."""
        link = self.paths.link(self.name)
        temporary = link.parent / f".{self.name}.new"
        tree.remove(temporary)
        temporary.symlink_to(Path("releases", self.name, version))
        temporary.replace(link)
        sync_directory(link.parent)

    def complete(self, version: str) -> bool:
        """Return whether there is a generation that can run."""
        return (self.paths.generation(self.name, version) / "RELEASE.json").is_file()

    def surplus(self, keep: Collection[str]) -> list[Path]:
        """Return the generations that may go: neither active nor to be kept."""
        folder = self.paths.generations(self.name)
        stay = {self.active, *keep}
        found = [each for each in folder.iterdir() if not each.name.startswith(".")]
        return sorted(each for each in found if each.name not in stay)

    def remove_all(self) -> None:
        """Remove the link, if it is ours, and every generation."""
        if self.active:
            self.paths.link(self.name).unlink()
        tree.remove(self.paths.generations(self.name))
        for folder in (self.paths.base / "releases", self.paths.base):
            # Not empty, a mount point or a link of the administrator: then it stays.
            with contextlib.suppress(OSError):
                folder.rmdir()
