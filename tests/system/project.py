"""Throw-away projects: debstack's own files, what was built of them, and changes to them.

A project here is a copy of this repository's files that runs its own debstack, so that a test can
commit, lock, build and publish without touching the repository, whatever state that is in. What was
built already comes along by hard links: only what a test changes is built.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.shared import link_deb_or_copy

REPOSITORY = Path(__file__).parents[2]
TARGET = "bookworm"
BUILD_SECONDS = 900.0

FOLDERS = ("debian-templates", "packaging", "scripts", "src")

_AUTHOR = {
    "GIT_AUTHOR_NAME": "tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class Project:
    """A project in the folder ``root``, as it is built and published for one Debian release."""

    root: Path
    target: str = TARGET

    @property
    def archive(self) -> Path:
        """The apt repository that ``publish`` writes."""
        return self.root / "dist" / "apt"

    @property
    def lock(self) -> Mapping[str, Any]:
        """What packaging/repos.lock says."""
        return tomllib.loads((self.root / "packaging" / "repos.lock").read_text())

    @property
    def release(self) -> str:
        """The id of the locked release."""
        return str(self.lock["release"])

    @property
    def releases(self) -> list[str]:
        """The ids of all releases that were built, from the first to the last."""
        folders = (path for path in (self.root / "dist").iterdir() if path.name != "apt")
        names = (path.name for path in folders if not path.name.startswith("."))
        return sorted(names, key=lambda name: [int(part) for part in name.split(".")])

    @property
    def commits(self) -> dict[str, str]:
        """The locked commit of each component."""
        return {name: each["commit"] for name, each in self.lock["components"].items()}

    def on(self, target: str) -> Project:
        """Return the same project for another Debian release."""
        return replace(self, target=target)

    def deb(self, package: str) -> Path:
        """Return the package of the locked release, as ``build`` left it."""
        (found,) = (path for path in self.debs() if path.name.startswith(f"{package}_"))
        return found

    def debs(self) -> list[Path]:
        """Return every package of the locked release, as ``build`` left it."""
        folder = self.root / "dist" / self.release
        manifest = json.loads((folder / f"{self.target}.json").read_text())
        return sorted(folder / each["file"] for each in manifest["packages"])

    def debstack(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the project's own debstack; AssertionError with its output if it fails."""
        return _run(
            [sys.executable, "-m", "debstack", "--project", str(self.root), *arguments],
            env={"PYTHONPATH": str(self.root / "src")},
            check=check,
        )

    def build(self) -> None:
        """Build the locked release."""
        self.debstack("build", "--target", self.target)

    def publish(self, release: str | None = None) -> None:
        """Publish a release that was built in the archive: by its id, or the locked one."""
        folder = self.root / "dist" / (release or self.release)
        self.debstack("publish", "--target", self.target, str(folder))

    def commit(self, component: str, changes: Mapping[str, str]) -> None:
        """Commit new contents of files to a component's sample repository and lock that commit."""
        self.push(component, changes)
        self.lock_again(component)

    def push(self, component: str, changes: Mapping[str, str], *, afresh: bool = False) -> None:
        """Commit new contents of files to a component's sample repository.

        With ``afresh`` the other files are again those of its first commit. Nothing happens if
        nothing changes.
        """
        bare = self.root / "build" / "samples" / f"{component}.git"
        with tempfile.TemporaryDirectory() as clone:
            git = ["git", "-C", clone]
            _run(["git", "clone", "-q", str(bare), clone], env=_AUTHOR)
            if afresh:
                first = _run([*git, "rev-list", "--max-parents=0", "HEAD"], env=_AUTHOR).stdout
                _run([*git, "read-tree", "-u", "--reset", first.strip()], env=_AUTHOR)
            for path, content in changes.items():
                (Path(clone) / path).write_text(content)
            _run([*git, "add", "-A"], env=_AUTHOR)
            if _run([*git, "status", "--porcelain"], env=_AUTHOR).stdout:
                _run([*git, "commit", "-q", "-m", "A change for a test"], env=_AUTHOR)
                _run([*git, "push", "-q", "origin", "HEAD:main"], env=_AUTHOR)

    def lock_again(self, *components: str) -> None:
        """Lock the next release: of these components what was pushed, of the others the same."""
        named = [word for each in components for word in ("--component", each)]
        self.debstack("lock", *named)

    def source(self, component: str, path: str) -> str:
        """Return a file of a component's sample repository, as last committed."""
        bare = self.root / "build" / "samples" / f"{component}.git"
        return _run(["git", "--git-dir", str(bare), "show", f"main:{path}"], env=_AUTHOR).stdout

    def copy(self, root: Path) -> Project:
        """Return a copy in the folder ``root``, which must not exist; packages are linked."""
        # What is linked is only ever replaced, never written to, by debstack.
        shutil.copytree(self.root, root, symlinks=True, copy_function=link_deb_or_copy)
        return replace(self, root=root)


def project_of_repository(root: Path, change: Callable[[Path], None] | None = None) -> Project:
    """Return a copy of this repository's files in ``root``, with what was built of them so far.

    If the lock does not describe the files, as is usual while they are being edited, or once
    ``change`` has edited those in the folder that it is given, the copy gets a lock of its own,
    and what differs from the last build has to be built.
    """
    for name in FOLDERS:
        # The tests have no private keys, so they want no public ones.
        ignored = shutil.ignore_patterns("__pycache__", *(["keys"] if name == "packaging" else []))
        shutil.copytree(REPOSITORY / name, root / name, symlinks=True, ignore=ignored)
    if (REPOSITORY / "build" / "keys").is_dir():
        shutil.copytree(REPOSITORY / "build" / "keys", root / "build" / "keys")
    if change is not None:
        change(root)
    project = Project(root)
    _run([str(root / "scripts" / "make-samples")])
    in_step = project.debstack("lock", "--check", check=False).returncode == 0
    if not in_step:
        project.debstack("lock")
    locked = tuple(
        f"{name}_{each['changed_in']}" for name, each in project.lock["packages"].items()
    )
    for record in REPOSITORY.glob("build/packages/*/*/build.json"):
        # A package of the stack names the exact versions of one lock: of another it is of no use.
        stack = record.parent.name.startswith("traderunner-stack_")
        if record.parent.name.startswith(locked) and (in_step or not stack):
            target = root / record.parent.relative_to(REPOSITORY)
            target.mkdir(parents=True)
            for file in filter(Path.is_file, record.parent.iterdir()):
                link_deb_or_copy(str(file), str(target / file.name))
    return project


def _run(
    command: list[str], env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
        env={**os.environ, **(env or {})},
        check=False,
    )
    failed = check and done.returncode != 0
    assert not failed, f"{command} ended {done.returncode}:\n{done.stdout}"
    return done
