"""Remove what nobody needs any more: leftovers of a killed publisher, outdated generations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from debstack.archive import manifest
from debstack.archive.generation import discard
from debstack.archive.manifest import Manifest
from debstack.archive.plan import published_files
from debstack.archive.tree import TEMPORARY, Tree


def outdated(generations: Sequence[Manifest], now: datetime, grace: timedelta) -> list[int]:
    """Return the generations (given oldest first) whose successor is older than ``grace``.

    The successor's age counts, not their own: a client may have fetched the older one just before.
    """
    return [old.generation for old, new in pairwise(generations) if now - new.published > grace]


def collect(tree: Tree, suite: str, now: datetime, grace: timedelta) -> list[str]:
    """Remove the outdated generations of ``suite``, then the pool files of no generation at all.

    Returns what was removed, relative to the root.
    """
    removed = []
    for number in outdated(manifest.load_all(tree, suite), now, grace):
        discard(tree.generation(suite, number))
        removed.append(f".gen/{suite}/{number}")
    return removed + _remove_unpublished(tree)


def clean(tree: Tree) -> list[str]:
    """Remove what a killed publisher left: temporary files, uncommitted generations, their files.

    Returns what was removed, relative to the root. Raises ArchiveError, before anything is removed,
    if a manifest cannot be read: without it, every file of the pool looks unneeded.
    """
    uncommitted = [
        tree.generation(suite, number)
        for suite in tree.suites()
        for number in tree.numbers(suite)
        if number > (tree.live(suite) or 0)
    ]
    published_files(tree)
    leftovers = [*_temporaries(tree), *uncommitted]
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path) if path.name.startswith(TEMPORARY) else discard(path)
        else:
            path.unlink()
    names = [str(path.relative_to(tree.root)) for path in leftovers]
    return names + _remove_unpublished(tree)


def _temporaries(tree: Tree) -> Iterator[Path]:
    for folder in (tree.root / "dists", tree.root / "keys"):
        yield from folder.glob(f"{TEMPORARY}*")
    yield from tree.generations.glob(f"*/{TEMPORARY}*")
    yield from tree.pool.rglob(f"{TEMPORARY}*")


def _remove_unpublished(tree: Tree) -> list[str]:
    known = published_files(tree)
    removed = []
    for path in sorted(tree.pool.rglob("*.deb")):
        name = str(path.relative_to(tree.root))
        if name not in known:
            path.unlink()
            removed.append(name)
    return removed
