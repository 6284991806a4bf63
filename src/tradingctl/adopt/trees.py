"""A tree that was laid out by hand: whose it is, what of its code is not in any commit."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.process import Runner
from tradingctl.server import Server

WRITTEN = ("artifacts", "data", "logs")
"""What applications call the directories that they write."""
SQLITE = b"SQLite format 3\0"
GIT_SECONDS = 20.0


@dataclass(frozen=True)
class Tree:
    """What lies where a component's link belongs: ``place``, which may be a link to ``real``.

    ``code`` says for people which commit it is and what was changed by hand.
    """

    component: str
    place: Path
    real: Path
    owner: str
    code: str

    @property
    def names(self) -> tuple[Path, ...]:
        """The paths by which it is known."""
        known = (Path("/opt/trading", self.component), self.place, self.real)
        return tuple(dict.fromkeys(known))

    def place_of(self, path: Path) -> Path:
        """Return where a path lies that may name the tree by any of its names."""
        inside = (path.relative_to(each) for each in self.names if path.is_relative_to(each))
        return next((self.real / each for each in inside), path)

    @property
    def aside(self) -> Path:
        """Where it is moved to: in the same directory, so that it is one rename."""
        return self.place.parent / "adopted" / self.place.name


def find(server: Server, inventory: Inventory) -> list[Tree]:
    """Return the trees that lie where links of ours belong."""
    found = []
    for component in inventory.components:
        generations = Generations(server.paths, component.name)
        link = server.paths.link(component.name)
        if not component.commit or not generations.hand_made or not link.is_dir():
            continue
        place = link.parent.resolve() / link.name
        real = place.resolve()
        found.append(Tree(component.name, place, real, owner_of(real), _code(server.runner, real)))
    return found


def no_trees(server: Server, inventory: Inventory) -> Iterator[Path]:
    """Give what lies where a link of ours belongs and is no directory."""
    for component in inventory.components:
        link = server.paths.link(component.name)
        if Generations(server.paths, component.name).hand_made and not link.is_dir():
            yield link


def owner_of(path: Path) -> str:
    """Return the owner and group of a file, by name where they have one."""
    status = path.lstat()
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = str(status.st_uid)
    try:
        return f"{user}:{grp.getgrgid(status.st_gid).gr_name}"
    except KeyError:
        return f"{user}:{status.st_gid}"


def _code(runner: Runner, tree: Path) -> str:
    if not (tree / ".git").exists():
        return "no git checkout"
    if not shutil.which("git"):
        return "a git checkout; what was changed in it is not known, for there is no git here"
    status = tree.stat()
    # As its owner: what the checkout's own settings make git start must not be started by root.
    account = ["setpriv", f"--reuid={status.st_uid}", f"--regid={status.st_gid}", "--clear-groups"]
    if os.geteuid() != 0 or status.st_uid == 0:
        account = []
    git = [*account, "git", "--no-optional-locks", "-c", f"safe.directory={tree}", "-C", str(tree)]
    head = runner.run([*git, "rev-parse", "--short", "HEAD"], timeout=GIT_SECONDS)
    changed = runner.run([*git, "status", "--porcelain", "-uno"], timeout=GIT_SECONDS)
    if head.code or changed.code:
        return "a git checkout that git cannot read"
    count = len(changed.output.splitlines())
    said = f"{count} tracked files changed by hand" if count else "no tracked file changed by hand"
    return f"git commit {head.output.strip()}, {said}"


def is_database(path: Path) -> bool:
    """Return whether a file is a SQLite database."""
    with path.open("rb") as stream:
        return stream.read(len(SQLITE)) == SQLITE


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give each file and link below a directory, relative to it; links are not followed."""
    for top, folders, names in os.walk(folder):
        for name in sorted([*names, *(each for each in folders if Path(top, each).is_symlink())]):
            path = Path(top, name)
            yield path.relative_to(folder), path.lstat()


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a directory have."""
    return sum(status.st_size for _, status in files_below(folder))


def device_of(path: Path) -> int:
    """Return the file system that a path is on, or will be once it is made."""
    return next(each for each in (path, *path.parents) if each.exists()).stat().st_dev


def free_bytes(path: Path) -> int:
    """Return how much room there is on the file system of a path, that may not exist yet."""
    status = os.statvfs(next(each for each in (path, *path.parents) if each.exists()))
    return status.f_bavail * status.f_frsize
