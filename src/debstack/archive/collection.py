"""Remove what nobody needs any more: leftovers of a killed publisher, outdated generations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from debstack.archive import manifest
from debstack.archive.content import files, needed
from debstack.archive.generation import discard
from debstack.archive.manifest import Manifest
from debstack.archive.tree import TEMPORARY, Tree
from debstack.errors import ArchiveError


@dataclass(frozen=True)
class Outdated:
    """What nobody needs any more: generations, and files of the pool that they alone had."""

    generations: tuple[tuple[str, int], ...]
    files: tuple[str, ...]


def outdated(generations: Sequence[Manifest], now: datetime, grace: timedelta) -> list[int]:
    """Return the generations (given oldest first) that were superseded longer ago than ``grace``.

    The successor's age counts, not their own: a client may have fetched the older one just before.
    A successor that a wrong clock dated in the future was there when the next one came. One that is
    dated before what it came after says nothing of when that was: the next one counts.
    """
    late, after = [], datetime.min.replace(tzinfo=UTC)
    for n, old in enumerate(generations):
        if old.published <= now:
            after = max(after, old.published)
        successors = [new.published for new in generations[n + 1 :] if new.published >= after]
        if now - min(successors, default=now) > grace:
            late.append(old.generation)
    return late


def find_outdated(tree: Tree, now: datetime, grace: timedelta) -> Outdated:
    """Return what is outdated in all suites.

    Raises ArchiveError if one of them cannot be read: it may need what another one does not.
    """
    late, candidates, kept = [], set[str](), []
    for suite in tree.suites():
        generations = manifest.load_all(tree, suite)
        going = outdated(generations, now, grace)
        kept += [(suite, number) for number in tree.numbers(suite) if number not in going]
        for old, new in pairwise(generations):
            if old.generation in going:
                late.append((suite, old.generation))
                candidates |= set(new.dropped)
    if candidates:
        for suite, number in kept:
            candidates -= files(tree, suite, number)
    return Outdated(tuple(late), tuple(sorted(candidates)))


def remove(tree: Tree, old: Outdated) -> list[str]:
    """Remove what is outdated, and return it, relative to the root.

    The generations go first, so that none names a file that is gone; what drops the files goes
    with them, so that the tree has to be ``marked`` meanwhile.
    """
    for suite, number in old.generations:
        discard(tree.generation(suite, number))
    for name in old.files:
        (tree.root / name).unlink(missing_ok=True)
    return [*(f".gen/{suite}/{number}" for suite, number in old.generations), *old.files]


def clean(tree: Tree) -> list[str]:
    """Remove what a killed publisher left: temporary files, uncommitted generations, their files.

    Returns what was removed, relative to the root. Raises ArchiveError, before anything is removed,
    if an index cannot be read: without it, every file of the pool looks unneeded.
    """
    uncommitted = [each for suite in tree.suites() for each in _uncommitted(tree, suite)]
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


def _uncommitted(tree: Tree, suite: str) -> list[Path]:
    try:
        live = tree.live(suite) or 0
    except ArchiveError:
        return []  # which one is live is lost: the suite's own commands say so, not another's
    return [tree.generation(suite, number) for number in tree.numbers(suite) if number > live]


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
