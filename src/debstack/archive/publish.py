"""Publish packages in a suite: plan, then apply with one rename as the commit.

Killed at any moment, the archive is either as before or as after, and the next publication works.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from debstack import gpg
from debstack.archive import collection, manifest
from debstack.archive.generation import Writer
from debstack.archive.plan import Addition, Plan, check, plan
from debstack.archive.suite import Publication, Suite
from debstack.archive.tree import (
    TEMPORARY,
    Tree,
    locked,
    make_folder,
    rename,
    replace_file,
    sync_folder,
)
from debstack.digest import sha256_of
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.log import Log
from debstack.process import Runner

_CHUNK = 1 << 20


def publish(
    root: Path,
    suite: Suite,
    debs: Sequence[Path],
    keys: Sequence[Key],
    *,
    now: datetime,
    grace: timedelta,
    runner: Runner,
    log: Log,
    approve: Callable[[Plan], None] = lambda _: None,
) -> Publication:
    """Add ``debs`` to what ``suite`` offers, signed by all ``keys``, and return what came of it.

    ``now`` is the time of publication (aware), ``grace`` how long a superseded generation stays.
    ``approve`` is shown what is going to happen, and raises if it must not.
    Nothing is written if the suite has the packages already and is valid for more than half of its
    time. Raises ArchiveError, SigningError; the suite is then as it was.
    """
    check(suite, keys, now)
    tree = Tree(root)
    with locked(tree, lambda: log.say("archive", "another publisher is at work, waiting for it")):
        for name in collection.clean(tree):
            log.say("archive", f"removed what a stopped publication left: {name}")
        planned = plan(root, suite, debs, keys, now, runner)
        if not planned.reason and planned.live:
            return Publication(suite.name, planned.live, (), unchanged=True)
        approve(planned)
        return _apply(tree, planned, keys, now=now, grace=grace, runner=runner, log=log)


def _apply(
    tree: Tree,
    planned: Plan,
    keys: Sequence[Key],
    *,
    now: datetime,
    grace: timedelta,
    runner: Runner,
    log: Log,
) -> Publication:
    suite = planned.suite
    for addition in planned.additions:
        _ingest(tree, addition)
        log.say(addition.package.name, f"{addition.package.version}: {addition.reason}")
    generations = manifest.load_all(tree, suite.name)
    late = collection.outdated(generations, now, grace)
    retained = [each for each in generations if each.generation not in late]
    with gpg.signing(keys, runner) as ring:
        number = Writer(tree, suite, ring, retained).write(planned.packages, now)
        _export(tree, suite, ring.public)
    _commit(tree, suite.name, number)
    collection.collect(tree, suite.name, now, grace)
    log.say("archive", f"{suite.name} generation {number}: {planned.reason}")
    added = tuple(addition.package for addition in planned.additions)
    return Publication(suite.name, number, added, unchanged=False)


def _ingest(tree: Tree, addition: Addition) -> None:
    """Copy a package into the pool, unless another suite has it there already."""
    package = addition.package
    target = tree.root / package.filename
    if target.exists():
        if sha256_of(target) != package.sha256:
            raise ArchiveError(
                f"{target} was changed after it was published",
                hint=f"restore it: cp {addition.source} {target}",
            )
        return
    make_folder(target.parent)
    temporary = target.with_name(f"{TEMPORARY}{target.name}")
    if _copy(addition.source, temporary) != package.sha256:
        temporary.unlink()
        raise ArchiveError(f"{addition.source} changed while it was published", hint="try again")
    rename(temporary, target)


def _copy(source: Path, target: Path) -> str:
    """Copy, sync and return the sha256 of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fchmod(writer.fileno(), 0o644)
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _export(tree: Tree, suite: Suite, public: bytes) -> None:
    path = tree.keyring(suite.origin)
    if not path.exists() or path.read_bytes() != public:
        replace_file(path, public)


def _commit(tree: Tree, suite: str, number: int) -> None:
    link = tree.dist(suite)
    make_folder(link.parent)
    temporary = link.with_name(f"{TEMPORARY}{suite}")
    temporary.symlink_to(Path("../.gen", suite, str(number)))
    sync_folder(link.parent)
    rename(temporary, link)
