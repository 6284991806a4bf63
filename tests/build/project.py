"""A copy of this project in a folder of its own, built with the copy's own code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debstack.process import SYSTEM_PATH, Result, Runner, network_environment

ROOT = Path(__file__).parents[2]

_LEFT_BY_A_RUN = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}

# Brings the digests in repos.lock up to date with what it says of commits, trees and locks: what
# somebody would have to do who wants to smuggle something past `lock --check`.
_ADJUST = """
import hashlib
from dataclasses import replace
from pathlib import Path
from debstack.model.lock import read_lock
from debstack.model.places import lock_file, locks_folder, requirements_lock
from debstack.model.reading import load
from debstack.pipeline.packages import input_digest

root = Path.cwd()
definition, lock = load(root), read_lock(lock_file(root))
components = {
    name: replace(each, requirements={
        target: hashlib.sha256(
            (locks_folder(root) / requirements_lock(target, name)).read_bytes()
        ).hexdigest()
        for target in each.requirements
    })
    for name, each in lock.components.items()
}
packages = {
    name: replace(each, inputs={
        target.name: input_digest(root, name, definition, components.get(name), target)
        for target in definition.stack.targets
    })
    for name, each in lock.packages.items()
}
replace(lock, components=components, packages=packages).write(lock_file(root))
"""


@dataclass(frozen=True)
class Run:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    def document(self) -> Any:
        """Return standard output as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Project:
    """A project in ``root``; ``environment`` is added to what its commands get."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def dist(self) -> Path:
        """Where results go."""
        return self.root / "dist"

    @property
    def lock_file(self) -> Path:
        """The release lock."""
        return self.root / "packaging/repos.lock"

    def debstack(self, *arguments: str) -> Run:
        """Run the copy's own debstack in it."""
        return self.python("-m", "debstack", *arguments)

    def python(self, *arguments: str) -> Run:
        """Run Python with the copy's own code in it."""
        passed = {name: os.environ[name] for name in ("DEBSTACK_CACHE_DIR", "XDG_CACHE_HOME")
                  if name in os.environ}  # fmt: skip
        env = network_environment() | passed | {"PYTHONPATH": str(self.root / "src")}
        result = Runner().capture(
            [sys.executable, *arguments], cwd=self.root, env=env | dict(self.environment),
            check=False,
        )  # fmt: skip
        return _run(result)

    def need(self, *arguments: str) -> Run:
        """Run debstack and demand that it ends well."""
        run = self.debstack(*arguments)
        assert run.returncode == 0, f"debstack {' '.join(arguments)}\n{run.stdout}{run.stderr}"
        return run

    def adjust_lock(self) -> None:
        """Make every digest in repos.lock agree with the files and with the other digests."""
        run = self.python("-c", _ADJUST)
        assert run.returncode == 0, run.stderr

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace the first ``old`` in a file below packaging/."""
        path = self.root / "packaging" / file
        text = path.read_text("utf-8")
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1), "utf-8")

    def fork(self, folder: Path, environment: Mapping[str, str] | None = None) -> Project:
        """Return a copy that has the same keys and repositories, and has built nothing."""
        shutil.copytree(
            self.root, folder, symlinks=True,
            ignore=lambda where, names: [
                name for name in names
                if Path(where, name) in (self.root / "dist", self.root / "build/packages")
            ],
        )  # fmt: skip
        return Project(folder, environment or self.environment)


def copy_of_this_project(folder: Path) -> Project:
    """Copy what git knows of this project, or would add, to ``folder``.

    Not the public keys, if there are any: nobody who runs the tests has the private ones.
    """
    for name in _project_files():
        if name.startswith("packaging/keys/"):
            continue
        source, target = ROOT / name, folder / name
        # A file that is deleted and not yet committed is still listed.
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    Runner().run([folder / "scripts/make-samples"], cwd=folder)
    return Project(folder)


def cache_folder() -> Path:
    """Return where debstack keeps wheels and sources."""
    given = os.environ.get("DEBSTACK_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "debstack"


def copy_wheels(folder: Path) -> Path:
    """Return a cache of its own with the wheels of the user's cache; its files are shared."""
    shutil.copytree(cache_folder() / "wheels", folder / "wheels", copy_function=_link_or_copy)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the hash and the time of change of every file below ``folder``."""
    return {path.relative_to(folder).as_posix(): _state(path) for path in _files(folder)}


def missing_tools(*programs: str) -> str:
    """Return a text that names those of ``programs`` that are not installed."""
    missing = [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _project_files() -> list[str]:
    """Return the paths of the project's files: what git says, or what is not left by a run."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = Runner().capture(command, cwd=ROOT, check=False)
    if listing.returncode == 0:
        return [name for name in listing.text.split("\0") if name]
    # Unpacked from an archive, or owned by somebody whom git does not trust.
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
    return [
        str(path)
        for path in paths
        if not _LEFT_BY_A_RUN & set(path.parts) and path.parts[0] not in ("build", "dist")
    ]


def _run(result: Result) -> Run:
    return Run(result.returncode, result.text, result.stderr.decode("utf-8", "replace"))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file())


def _state(path: Path) -> tuple[str, int]:
    if path.is_symlink():
        return f"-> {path.readlink()}", path.lstat().st_mtime_ns
    return sha256(path), path.stat().st_mtime_ns


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
