"""``debstack rebuild``: build a release again from its lock, and compare what comes of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from debstack.errors import DebstackError, LockError, RebuildError
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Definition, Target
from debstack.model.lock import Lock, read_lock
from debstack.pipeline.build import (
    Folders,
    demand_machine,
    fetch,
    heaviest_first,
    locked,
    open_release,
    parts,
    plan,
)
from debstack.pipeline.compare import Compared, compare
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.keyring import unmarked
from debstack.pipeline.rooted import rooted
from debstack.pipeline.unsigned import unsigned
from debstack.steps.stage import discard

PREFIX = "rebuild-"


@dataclass(frozen=True)
class Released:
    """A package as a release's manifest names it."""

    package: str
    version: str
    deb: Path


def demand_same_lock(folder: Path, lock: Lock) -> None:
    """Raise LockError if the release in ``folder`` was built from another lock than ``lock``.

    A folder without a lock is taken for one of this lock: the comparison will tell.
    """
    file = folder / "repos.lock"
    if file.is_file() and (theirs := read_lock(file)) != lock:
        raise LockError(
            f"{folder} was built from another lock ({theirs.release}) than packaging/repos.lock"
            f" ({lock.release}) is",
            hint="check out the commit that has its lock: git log packaging/repos.lock",
        )


def reopen(project: Path, definition: Definition, lock: Lock, target: Target) -> Release:
    """Return the release that the lock describes, as ``open_release`` does for a build.

    Raises LockError: of other definitions, or by another debstack, it is not the same again.
    """
    try:
        return open_release(project, definition, lock, target)
    except LockError as error:
        # A build's hint is to lock, which would pin another release.
        raise LockError(
            error.message,
            hint="check out the commit that has this lock (git log packaging/repos.lock), and use"
            " the debstack that built the release",
            details=error.details,
        ) from error


@contextmanager
def workplace(folders: Folders, log: Log) -> Iterator[Path]:
    """Give an empty folder to build again in, which is gone afterwards.

    It is beside what is built otherwise: there is room, where /tmp may be in memory. Meanwhile no
    other build of the project runs, so what is left there is of one that was killed, and goes. Of a
    package that fails the log stays: build/rebuild-PACKAGE.log.
    """
    with locked(folders, log):
        for abandoned in folders.build.glob(f"{PREFIX}*/"):
            discard(abandoned)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folders.build) as name:
            try:
                yield Path(name)
            except DebstackError as failure:
                _keep_log(failure, Path(name), folders.build)
                raise


def _keep_log(failure: DebstackError, place: Path, build: Path) -> None:
    log = failure.log
    if log is None or not log.is_relative_to(place) or not log.is_file():
        return
    package = log.parent.name.partition("_")[0]
    failure.log = build / f"{PREFIX}{package}.log"
    shutil.copyfile(log, failure.log)
    failure.hint = (
        failure.hint or f"read the log; see whether it can be built: debstack build {package}"
    )


def released(folder: Path, target: Target, only: Collection[str] = ()) -> tuple[Released, ...]:
    """Return the packages of the release in ``folder`` for a target, or those in ``only``.

    They are what its manifest names. Raises RebuildError if it or one of them is not there.
    """
    found = _manifest(folder, target)
    names = [each.package for each in found]
    if unknown := [each for each in only if each not in names]:
        raise RebuildError(
            f"{folder} has no package {unknown[0]} for {target.name}",
            hint=f"it has {', '.join(names)}",
        )
    found = tuple(each for each in found if not only or each.package in only)
    for each in found:
        if not each.deb.is_file():
            raise RebuildError(
                f"{each.deb} is missing, which {target.name}.json names",
                hint="copy the release again, whole",
            )
    return found


def _manifest(folder: Path, target: Target) -> tuple[Released, ...]:
    file = folder / f"{target.name}.json"
    try:
        return tuple(
            Released(each["package"], each["version"], folder / Path(each["file"]).name)
            for each in json.loads(file.read_text("utf-8"))["packages"]
        )
    except FileNotFoundError as error:
        raise RebuildError(
            f"{folder} holds no release built for {target.name}",
            hint="without --target it is built again for what it was built for",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RebuildError(
            f"{file} is not the manifest of a release, or not all of it: {error}",
            hint="copy the release again, whole",
        ) from error


def rebuild(
    release: Release,
    packages: Collection[Released],
    keys: Keys,
    place: Path,
    workshop: Workshop,
    *,
    in_root: bool,
) -> list[Compared]:
    """Build packages of ``release`` again below ``place``, unsigned, and compare each.

    Of one that differs the .buildinfo, which names the tools, is kept beside ``place``. Raises
    RebuildError if one has another version here, and what ``build`` raises.
    """
    folders = Folders(place / "build", place / "dist")
    actions = plan(release, folders, keys, [each.package for each in packages])
    versions = {each.package: each.version for each in actions}
    _demand_versions(release, packages, versions)
    demand_machine(release.target, workshop.runner)
    sources = fetch(release, versions, workshop)
    orders = [parts(release, keys, each, sources, workshop) for each in actions]
    make = rooted if in_root else unsigned
    outcome = make(
        release, heaviest_first(release, orders), folders.shelf(release.target), workshop
    )
    if outcome.failure:
        raise outcome.failure
    made = {each.package: each.left for each in outcome.made}
    compared = []
    for each in packages:
        left = made[each.package]
        found = compare(each.package, each.deb, left.deb, workshop.runner)
        if found.state == "differs":
            kept = place.parent / f"{PREFIX}{left.buildinfo.name}"
            shutil.copyfile(left.buildinfo, kept)
            found = replace(found, buildinfo=kept)
        compared.append(found)
    return compared


def _demand_versions(
    release: Release, packages: Collection[Released], versions: Mapping[str, str]
) -> None:
    for each in packages:
        if versions[each.package] != each.version:
            keys = unmarked(each.version) == release.version(each.package)
            raise RebuildError(
                f"{each.package} is {each.version} there, and {versions[each.package]} here",
                hint="its version names the keys of another machine, which are not committed:"
                " name the other packages, without it"
                if keys
                else "it was built from another lock: check out the commit that has it: git log"
                " packaging/repos.lock",
            )
