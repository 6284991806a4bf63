"""Remove what nobody needs any more: leftovers of a killed publisher, outdated generations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from debstack.archive import manifest
from debstack.archive.content import needed
from debstack.archive.generation import discard
from debstack.archive.manifest import Manifest
from debstack.archive.tree import TEMPORARY, Tree


def outdated(generations: Sequence[Manifest], now: datetime, grace: timedelta) -> list[int]:
    """Return the generations (given oldest first) whose successor is older than ``grace``.

    The successor's age counts, not their own: a client may have fetched the older one just before.
    """
    return [old.generation for old, new in pairwise(generations) if now - new.published > grace]


def collect(tree: Tree, now: datetime, grace: timedelta) -> list[str]:
    """Remove the outdated generations of every suite, then the packages that only they had.

    Returns what was removed, relative to the root.
    """
    removed, candidates = [], set[str]()
    for suite in tree.suites():
        generations = manifest.load_all(tree, suite)
        late = outdated(generations, now, grace)
        for old, new in pairwise(generations):
            if old.generation in late:
                discard(tree.generation(suite, old.generation))
                removed.append(f".gen/{suite}/{old.generation}")
                candidates |= set(new.dropped)
    if not candidates:
        return removed
    gone = sorted(candidates - needed(tree, tree.suites()))
    for name in gone:
        (tree.root / name).unlink(missing_ok=True)
    return removed + gone


def clean(tree: Tree) -> list[str]:
    """Remove what a killed publisher left: temporary files, uncommitted generations, their files.

    Returns what was removed, relative to the root. Raises ArchiveError, before anything is removed,
    if an index cannot be read: without it, every file of the pool looks unneeded.
    """
    uncommitted = [
        tree.generation(suite, number)
        for suite in tree.suites()
        for number in tree.numbers(suite)
        if number > (tree.live(suite) or 0)
    ]
    stopped = tree.unfinished.exists()
    if stopped:
        needed(tree, tree.suites())
    leftovers = [*_temporaries(tree, pool=stopped), *uncommitted]
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path) if path.name.startswith(TEMPORARY) else discard(path)
        else:
            path.unlink()
    names = [str(path.relative_to(tree.root)) for path in leftovers]
    if stopped:
        names += _remove_unneeded(tree)
        tree.unfinished.unlink()
    return names


def unneeded(tree: Tree) -> list[Path]:
    """Return the files of the pool that no generation needs."""
    known = needed(tree, tree.suites())
    paths = sorted(tree.pool.rglob("*"))
    return [
        path
        for path in paths
        if not path.is_dir() and str(path.relative_to(tree.root)) not in known
    ]


def _temporaries(tree: Tree, *, pool: bool) -> Iterator[Path]:
    yield from (tree.root / "dists").glob(f"{TEMPORARY}*")
    yield from tree.generations.glob(f"*/{TEMPORARY}*")
    if pool:
        yield from tree.pool.rglob(f"{TEMPORARY}*")


def _remove_unneeded(tree: Tree) -> list[str]:
    removed = [path for path in unneeded(tree) if path.suffix == ".deb"]
    for path in removed:
        path.unlink()
    return [str(path.relative_to(tree.root)) for path in removed]
