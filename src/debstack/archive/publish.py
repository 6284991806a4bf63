"""Change what a suite offers: plan, then apply with one rename as the commit.

Killed at any moment, the archive is either as before or as after, and the next command works.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from debstack import gpg
from debstack.archive import collection, manifest
from debstack.archive.content import About
from debstack.archive.generation import Writer
from debstack.archive.manifest import Manifest
from debstack.archive.package import read_package
from debstack.archive.plan import (
    CLOCKS_DIFFER,
    Addition,
    Plan,
    check,
    newest_taken,
    plan_promotion,
    plan_publication,
    plan_refresh,
    plan_removal,
    plan_withdrawal,
)
from debstack.archive.suite import Publication, Suite
from debstack.archive.tree import (
    TEMPORARY,
    Tree,
    locked,
    make_folder,
    marked,
    rename,
    sync_all,
)
from debstack.digest import sha256_of
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.log import Log
from debstack.process import Runner

_CHUNK = 1 << 20
# apt refuses an index that is dated ten seconds ahead of its own clock.
_AHEAD = timedelta(seconds=4)
_SECOND = timedelta(seconds=1)

Approve = Callable[[Plan], None]
"""Is shown what is going to happen, and raises if it must not."""


@dataclass(frozen=True)
class Publisher:
    """Changes the archive under ``root``; one at a time, others wait.

    ``clock`` tells the time (aware). It is asked when no other publisher is at work any more: what
    waited would be dated before what it waited for, and clients ignore that. ``grace`` is how long
    a superseded generation stays, and with it the packages that only it had. Every method raises
    ArchiveError or SigningError; the suite is then as it was.
    """

    root: Path
    clock: Callable[[], datetime]
    grace: timedelta
    runner: Runner
    log: Log

    @property
    def tree(self) -> Tree:
        """Where everything lies."""
        return Tree(self.root)

    def publish(
        self,
        suite: Suite,
        debs: Sequence[Path],
        keys: Sequence[Key],
        about: About | None = None,
        approve: Approve = lambda _: None,
    ) -> Publication:
        """Add ``debs`` to what ``suite`` offers, signed by all ``keys``.

        Nothing is written if the suite has the packages already, as the release that ``about``
        names, and is valid for more than half of its time.
        """
        check(suite, keys, self.clock())
        offered = [(read_package(deb), deb) for deb in debs]
        return self._change(
            lambda now: plan_publication(self.tree, suite, offered, about, keys, now),
            keys,
            approve,
        )

    def promote(
        self,
        source: Suite,
        target: Suite,
        release: str,
        keys: Sequence[Key],
        approve: Approve = lambda _: None,
    ) -> Publication:
        """Offer what ``release`` has in ``source`` in ``target`` too: the very same files."""
        return self._change(
            lambda now: plan_promotion(self.tree, source, target, release, keys, now),
            keys,
            approve,
        )

    def withdraw(
        self,
        suite: Suite,
        releases: Sequence[str],
        keys: Sequence[Key],
        reason: str,
        approve: Approve = lambda _: None,
    ) -> Publication:
        """Take releases out of the index; their packages stay in the pool for the grace period."""
        return self._change(
            lambda now: plan_withdrawal(self.tree, suite, releases, keys, now, reason),
            keys,
            approve,
        )

    def remove(self, suite: Suite, versions: Sequence[str], keys: Sequence[Key]) -> Publication:
        """Take packages of no release out of the index, as ``withdraw`` does those of releases."""
        return self._change(
            lambda now: plan_removal(self.tree, suite, versions, keys, now), keys, lambda _: None
        )

    def refresh(self, suite: Suite, keys: Sequence[Key], *, force: bool = False) -> Publication:
        """Sign ``suite`` anew if half of its time is over, or its keys or description changed."""
        return self._change(
            lambda now: plan_refresh(self.tree, suite, keys, now, force=force),
            keys,
            lambda _: None,
        )

    def collect(self) -> list[str]:
        """Remove what was superseded longer than the grace period ago; return what it was."""
        with self._alone():
            old = collection.find_outdated(self.tree, self.clock(), self.grace)
            with marked(self.tree):
                return collection.remove(self.tree, old)

    def _change(
        self, make_plan: Callable[[datetime], Plan], keys: Sequence[Key], approve: Approve
    ) -> Publication:
        if not self.tree.generations.exists():
            make_plan(self.clock())  # what is refused leaves no trace, not even the lock
        with self._alone():
            now = self.clock()
            planned = make_plan(now)
            if not planned.reason:
                return Publication(planned.suite.name, planned.live or 0, (), (), unchanged=True)
            approve(planned)
            return self._apply(planned, keys, now)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        def waiting() -> None:
            self.log.say("archive", "another publisher is at work, waiting for it")

        with locked(self.tree, waiting):
            for name in collection.clean(self.tree):
                self.log.say("archive", f"removed what a stopped publication left: {name}")
            yield

    def _apply(self, planned: Plan, keys: Sequence[Key], now: datetime) -> Publication:
        tree, suite = self.tree, planned.suite
        try:
            with marked(tree):
                self._ingest(planned.additions)
                number = self._write(planned, keys, now)
                _commit(tree, suite.name, number)
                self._collect(suite.name, now)
        except BaseException as error:
            with suppress(OSError, ArchiveError):
                collection.clean(tree)  # what was written takes the room that others need
            if isinstance(error, OSError):
                raise self._unwritable(planned, error) from error
            raise
        self.log.say("archive", f"{suite.name} generation {number}: {planned.reason}")
        added = tuple(addition.package for addition in planned.additions)
        return Publication(suite.name, number, added, planned.dropped, unchanged=False)

    def _unwritable(self, planned: Plan, error: OSError) -> ArchiveError:
        name, live = planned.suite.name, self.tree.live(planned.suite.name)
        what = "as it was" if live == planned.live else f"published, generation {live}"
        return ArchiveError(
            f"{self.root} cannot be written: {error}",
            hint=f"{name} is {what}; make room (df -h {self.root}), then try again",
        )

    def _write(self, planned: Plan, keys: Sequence[Key], now: datetime) -> int:
        suite = planned.suite
        generations = manifest.load_all(self.tree, suite.name)
        late = collection.outdated(generations, now, self.grace)
        retained = [each for each in generations if each.generation not in late]
        date = self._date(suite.name, generations, now)
        with gpg.signing(keys, self.runner) as ring:
            writer = Writer(self.tree, suite, ring, retained)
            return writer.write(planned.content, planned.dropped, date)

    def _date(self, suite: str, generations: Sequence[Manifest], now: datetime) -> datetime:
        """Return the time to publish under: clients ignore what is not a second newer.

        Unless that is in the future by more than clocks differ: no client with a right clock has
        taken the last one, and none would take one that is newer still.
        """
        date = now.astimezone(UTC).replace(microsecond=0)
        for last in generations[-1:]:
            if last.published - now > CLOCKS_DIFFER:
                self.log.warn(
                    f"{suite}: generation {last.generation} is dated"
                    f" {last.published:%Y-%m-%d %H:%M} UTC, which is not yet: its publisher's clock"
                    f" was wrong, or this one's is. The new one is dated {date:%Y-%m-%d %H:%M} UTC;"
                    " if this clock is wrong, set it and run: debstack refresh"
                )
        taken = newest_taken(generations, now)
        if taken is None or date > taken.published:
            return date
        ahead = taken.published + _SECOND - now
        if ahead > _AHEAD:
            time.sleep((ahead - _AHEAD).total_seconds())
        return taken.published + _SECOND

    def _collect(self, published: str, now: datetime) -> None:
        """Remove what is outdated; damage in another suite is no failure of what was published."""
        try:
            old = collection.find_outdated(self.tree, now, self.grace)
        except ArchiveError as error:
            self.log.warn(
                f"{published} is published; what is outdated stays: {error.message}. See what else"
                " is wrong with: debstack archive verify"
            )
            return
        collection.remove(self.tree, old)

    def _ingest(self, additions: Sequence[Addition]) -> None:
        """Copy packages into the pool, unless another suite has them there already."""
        copied = []
        for addition in additions:
            if _ingest(self.tree, addition):
                copied.append(self.tree.root / addition.package.filename)
            reason = f"{addition.package.version}: {addition.reason}"
            self.log.say(addition.package.name, reason)
        folders = {folder for path in copied for folder in path.relative_to(self.root).parents}
        sync_all([*copied, *(self.root / folder for folder in folders)])


def _ingest(tree: Tree, addition: Addition) -> bool:
    """Copy a package into the pool; return whether it was not there yet."""
    package = addition.package
    target = tree.root / package.filename
    if target.exists():
        if sha256_of(target) != package.sha256:
            raise ArchiveError(
                f"{target} was changed after it was published",
                hint=f"restore it: cp {addition.source} {target}",
            )
        return False
    make_folder(target.parent, durable=False)
    temporary = target.with_name(f"{TEMPORARY}{target.name}")
    if _copy(addition.source, temporary) != package.sha256:
        temporary.unlink()
        raise ArchiveError(f"{addition.source} changed while it was published", hint="try again")
    temporary.rename(target)
    return True


def _copy(source: Path, target: Path) -> str:
    """Copy and return the sha256 of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        os.fchmod(writer.fileno(), 0o644)
    return digest.hexdigest()


def _commit(tree: Tree, suite: str, number: int) -> None:
    link = tree.dist(suite)
    make_folder(link.parent)
    temporary = link.with_name(f"{TEMPORARY}{suite}")
    temporary.symlink_to(Path("../.gen", suite, str(number)))
    rename(temporary, link)
