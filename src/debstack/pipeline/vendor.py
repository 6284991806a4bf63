"""``debstack vendor``: a folder with everything that building the locked release fetches.

It has the cache's own layout, files named by what is in them, and nothing in it is believed: wheels
are hashed when they are taken from it, and mirrors by git (debstack.mirror).
"""

from __future__ import annotations

import fcntl
import filecmp
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import SourceError
from debstack.log import Log
from debstack.model.requirements import RequirementsLock
from debstack.model.trust import policy
from debstack.model.uv import uv_lock
from debstack.pipeline.contents import Release, Workshop
from debstack.steps.fetch import Places, Wanted, mirrored
from debstack.steps.stage import discard
from debstack.steps.wheels import cached, collect

_INCOMING = ".incoming-"
_LOCK = ".lock"


@dataclass(frozen=True)
class Vendored:
    """What the folder has now: files and bytes, how many were new, and those of no use to it."""

    files: int
    size: int
    added: int
    foreign: tuple[Path, ...]


def vendor(releases: Sequence[Release], folder: Path, workshop: Workshop) -> Vendored:
    """Copy what ``releases`` (the locked one, for each target) need from the cache to ``folder``.

    The sources were fetched before. Nothing is removed but what a run that was killed left half
    copied. Raises DependencyError or SourceError.
    """
    wanted: dict[Path, Path] = {}
    for release in releases:
        for lock in _locks(release):
            collect(
                lock, workshop.cache, release.target, workshop.runner,
                offline=workshop.offline, vendor=workshop.vendor,
            )  # fmt: skip
        wanted |= {
            source.relative_to(_base(source, workshop)): source
            for source in _sources(release, workshop)
        }
    added = 0
    with _alone(folder, workshop.log):
        # In a cache others fetch at the same time, under the same names.
        if folder.resolve() != workshop.cache.resolve():
            for abandoned in folder.glob(f"*/*/{_INCOMING}*/"):
                discard(abandoned)
        for relative, source in wanted.items():
            added += _copy(source, folder / relative)
    present = {path for path in folder.rglob("*") if path.is_file()} - {folder / _LOCK}
    foreign = tuple(sorted(present - {folder / each for each in wanted}))
    size = sum((folder / each).stat().st_size for each in wanted)
    return Vendored(len(wanted), size, added, foreign)


@contextmanager
def _alone(folder: Path, log: Log) -> Iterator[None]:
    """Let one at a time write into the folder: what is half copied there is nobody's then."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.say("vendor", f"another one writes into {folder}, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _locks(release: Release) -> Iterator[RequirementsLock]:
    # For source packages, and to make packages in a root.
    yield uv_lock(release.target)
    for component in release.definition.components:
        yield release.requirements(component.name)
        if component.python.install == "wheel":
            yield release.build_requirements(component.name)


def _sources(release: Release, workshop: Workshop) -> Iterator[Path]:
    places = Places(release.project, workshop.cache, workshop.vendor)
    for component in release.definition.components:
        locked = release.lock.components[component.name]
        trusted = policy(component.source, release.project / "packaging")
        mirror = mirrored(Wanted(locked.url, locked.commit, trusted), places)
        if mirror is None:
            raise SourceError(
                f"commit {locked.commit} of {locked.url} vanished from the cache {workshop.cache}",
                hint="run it again",
            )
        yield mirror
    for lock in _locks(release):
        yield from (cached(workshop.cache, each) for each in lock.wheels)


def _base(source: Path, workshop: Workshop) -> Path:
    inside = source.is_relative_to(workshop.cache) or workshop.vendor is None
    return workshop.cache if inside else workshop.vendor or workshop.cache


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless it is there with the same content; return whether it was not."""
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=target.parent) as folder:
        new = Path(folder) / target.name
        shutil.copyfile(source, new)
        new.chmod(0o644)
        new.replace(target)
    return True
