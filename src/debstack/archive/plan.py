"""What a command would change in a suite, found by reading alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from debian.debian_support import Version

from debstack.archive import content, manifest
from debstack.archive.content import About, Content, PublishedRelease
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package
from debstack.archive.release import constant_fields
from debstack.archive.suite import Suite
from debstack.archive.tree import Tree
from debstack.digest import sha256_of
from debstack.errors import ArchiveError
from debstack.gpg import Key

CLOCKS_DIFFER = timedelta(minutes=1)
"""What is dated further ahead was published with a clock that was wrong."""


@dataclass(frozen=True)
class Addition:
    """A package that the suite does not have yet, the file it comes from, and why it is added."""

    package: Package
    source: Path
    reason: str


@dataclass(frozen=True)
class Plan:
    """The next generation of ``suite``: all its ``content``, what is new in it, and why it is made.

    ``offered`` are the packages of the release in question with their files, also those that the
    suite has already; ``dropped`` are files of the pool that leave the index. An empty ``reason``
    means that the live generation (its number is ``live``) is already it.
    """

    suite: Suite
    live: int | None
    content: Content
    reason: str
    offered: tuple[tuple[Package, Path], ...] = ()
    additions: tuple[Addition, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Live:
    """The generation that apt sees, None and empty before the first publication."""

    manifest: Manifest | None
    content: Content

    @property
    def number(self) -> int | None:
        """The number of the generation."""
        return self.manifest.generation if self.manifest else None


def live(tree: Tree, suite: str) -> Live:
    """Return what apt sees of ``suite``. Raises ArchiveError if it cannot be read."""
    number = tree.live(suite)
    if number is None:
        return Live(None, Content())
    return Live(manifest.load(tree, suite, number), content.load(tree, suite, number))


def plan_publication(
    tree: Tree,
    suite: Suite,
    offered: Sequence[tuple[Package, Path]],
    about: About | None,
    keys: Sequence[Key],
    now: datetime,
) -> Plan:
    """Return what publishing packages would do, as the release that ``about`` names if it does.

    Raises ArchiveError for what must not be published: see ``check`` and ``check_immutable``.
    """
    check(suite, keys, now)
    current = live(tree, suite.name)
    present = {each.filename: each.sha256 for each in current.content.packages}
    seen: dict[str, str] = {}
    for package, deb in offered:
        if package.architecture not in (*suite.architectures, "all"):
            raise ArchiveError(
                f"{deb}: {package.architecture} is no architecture of {suite.name}, which has"
                f" {', '.join(suite.architectures)}",
                hint="build it for the target of that suite: debstack build --target NAME",
            )
        first = seen.setdefault(package.filename, package.sha256)
        remedy = _NEW_VERSION if about else _NEW_TOOL
        check_immutable(package, first, deb, remedy)
        published = present.get(package.filename) or _published(tree, package)
        check_immutable(package, published or package.sha256, deb, remedy)
    return _adding(tree, suite, current, offered, about, keys, now)


def plan_promotion(
    tree: Tree, source: Suite, target: Suite, name: str, keys: Sequence[Key], now: datetime
) -> Plan:
    """Return what offering the release ``name`` of ``source`` in ``target`` as well would do.

    Raises ArchiveError if ``source`` does not have it.
    """
    check(target, keys, now)
    found = live(tree, source.name).content
    release = found.release(name)
    if release is None:
        raise _not_there(source.name, name, found)
    packages = found.of(release)
    lost = set(release.files) - {each.filename for each in packages}
    if lost:
        raise ArchiveError(
            f"{source.name} lacks packages of {name}: {', '.join(sorted(lost))}",
            hint=f"publish the release again: debstack publish dist/{name}",
        )
    offered = [(package, tree.root / package.filename) for package in packages]
    current = live(tree, target.name)
    return _adding(tree, target, current, offered, release.about, keys, now)


def plan_withdrawal(
    tree: Tree, suite: Suite, names: Sequence[str], keys: Sequence[Key], now: datetime, reason: str
) -> Plan:
    """Return what taking the releases ``names`` out of ``suite`` would do.

    Raises ArchiveError if one of them is not there.
    """
    check(suite, keys, now)
    current = live(tree, suite.name)
    for name in names:
        if current.content.release(name) is None:
            raise _not_there(suite.name, name, current.content)
    left = current.content.without(names)
    return _taking_out(suite, current, left, reason if names else "")


def plan_removal(
    tree: Tree, suite: Suite, versions: Sequence[str], keys: Sequence[Key], now: datetime
) -> Plan:
    """Return what taking packages of no release out of ``suite``, by their versions, would do.

    Raises ArchiveError if there is none of one of the ``versions``.
    """
    check(suite, keys, now)
    current = live(tree, suite.name)
    for version in versions:
        if current.content.without_versions([version]) == current.content:
            there = ", ".join(f"{each.name} {each.version}" for each in current.content.packages)
            raise ArchiveError(
                f"{suite.name} has no {version}", hint=f"it has {there or 'no package at all'}"
            )
    left = current.content.without_versions(versions)
    return _taking_out(suite, current, left, f"removed {', '.join(versions)}")


def plan_refresh(
    tree: Tree, suite: Suite, keys: Sequence[Key], now: datetime, *, force: bool
) -> Plan:
    """Return whether ``suite`` has to be signed anew, or will be because of ``force``.

    Raises ArchiveError if what it offers is for another architecture than the suite is now.
    """
    check(suite, keys, now)
    current = live(tree, suite.name)
    check_architecture(suite, current.content)
    history = _history(tree, suite.name, current)
    reason = why(suite, history, [], keys, now) if history else ""
    if force and history and not reason:
        reason = "asked for"
    return Plan(suite, current.number, current.content, reason)


def check(suite: Suite, keys: Sequence[Key], now: datetime) -> None:
    """Raise ArchiveError if ``keys`` may not sign ``suite``; ValueError for a time without zone."""
    suite.check()
    if now.tzinfo is None:
        raise ValueError("the time of a publication needs a time zone")
    if not keys or len({key.fingerprint for key in keys}) != len(keys):
        raise ArchiveError(
            f"{suite.name} needs one or more signing keys, all different",
            hint="see who signs with: debstack key list",
        )
    if suite.production and any(key.development for key in keys):
        raise ArchiveError(
            f"{suite.name} is a production suite and the repository key is a development key",
            hint="debstack key new package; debstack key new repository; then build again",
        )


def check_architecture(suite: Suite, offered: Content) -> None:
    """Raise ArchiveError for a package that no index of ``suite`` would name: clients lose it.

    It is there because the suite had another architecture when it was published.
    """
    for package in offered.packages:
        if package.architecture not in (*suite.architectures, "all"):
            ours = ", ".join(suite.architectures)
            tool = f"archive tool --remove {package.version}"
            take_out = "unpublish RELEASE --channel CHANNEL --allow-empty"
            raise ArchiveError(
                f"{suite.name} offers {package.name} {package.version} for {package.architecture},"
                f" and is for {ours} now: no server would find it any more",
                hint=f"let the target be for {package.architecture} again in packaging/stack.toml;"
                f" to change to {ours}, take out all that the suite offers first:"
                f" debstack {take_out if offered.releases else tool}",
            )


_NEW_VERSION = "give it a new version with: debstack lock --rebuild {}"
# Its version names the commit that it was made of.
_NEW_TOOL = "give it a new version with: git commit; make self-deb"


def check_immutable(
    package: Package, published: str, deb: Path, remedy: str = _NEW_VERSION
) -> None:
    """Raise ArchiveError if the file of this name is published with another sha256.

    ``remedy`` says how such a package (its name at ``{}``) comes to a new version.
    """
    if package.sha256 != published:
        raise ArchiveError(
            f"{package.filename} is published with other content",
            hint="signed with another key: use the earlier one; built with other tools: "
            + remedy.format(package.name),
            details=[f"published: sha256 {published}", f"{deb}: sha256 {package.sha256}"],
        )


def additions_of(
    offered: Iterable[tuple[Package, Path]], current: Sequence[Package]
) -> tuple[Addition, ...]:
    """Return which of the ``offered`` packages are not in ``current``, each once, and why.

    ``current`` is in the order of the index.
    """
    present = {package.filename for package in current}
    newest = {package.name: package.version for package in current}
    fresh = {each.filename: (each, deb) for each, deb in offered if each.filename not in present}
    return tuple(
        Addition(package, deb, _reason(package, newest.get(package.name)))
        for package, deb in fresh.values()
    )


def why(
    suite: Suite,
    history: Sequence[Manifest],
    additions: Sequence[Addition],
    keys: Sequence[Key],
    now: datetime,
) -> str:
    """Return why a new generation is needed, or nothing if the live one serves.

    It is the last one of the ``history``.
    """
    if not history:
        return "first publication"
    live = history[-1]
    if additions:
        return f"{len(additions)} package{'s' if len(additions) != 1 else ''} to add"
    if sorted(live.signers) != sorted(key.fingerprint for key in keys):
        return "other signing keys"
    if live.release != constant_fields(suite, development=any(key.development for key in keys)):
        return "the description of the suite changed"
    if live.published - now > CLOCKS_DIFFER:
        return "it is dated in the future"
    taken = newest_taken(history, now)
    if taken and taken is not live:
        return f"it is dated before generation {taken.generation}, whose clients ignore it"
    if live.valid_until - now <= suite.valid_for / 2:
        return "less than half of its validity is left"
    return ""


def newest_taken(generations: Iterable[Manifest], now: datetime) -> Manifest | None:
    """Return the generation with the latest date that is not to come, None if there is none.

    Clients that have it ignore what is dated before. With a right clock they take none that is
    dated in the future.
    """
    taken = (each for each in generations if each.published - now <= CLOCKS_DIFFER)
    return max(taken, key=lambda each: (each.published, each.generation), default=None)


def _adding(
    tree: Tree,
    suite: Suite,
    current: Live,
    offered: Sequence[tuple[Package, Path]],
    about: About | None,
    keys: Sequence[Key],
    now: datetime,
) -> Plan:
    additions = additions_of(offered, current.content.packages)
    release = None
    if about is not None:
        files = tuple(sorted({package.filename for package, _ in offered}))
        release = PublishedRelease(about, now.replace(microsecond=0), files)
        there = current.content.release(about.release)
        if there and (there.about, there.files) == (about, files):
            release = None
    reason = why(suite, _history(tree, suite.name, current), additions, keys, now)
    if not reason and release is not None:
        reason = f"{release.name} is to be recorded"
    added = current.content.adding((each.package for each in additions), release)
    check_architecture(suite, added)
    dropped = _dropped(current, added)
    return Plan(suite, current.number, added, reason, tuple(offered), additions, dropped)


def _taking_out(suite: Suite, current: Live, left: Content, reason: str) -> Plan:
    check_architecture(suite, left)
    return Plan(suite, current.number, left, reason, dropped=_dropped(current, left))


def _dropped(current: Live, after: Content) -> tuple[str, ...]:
    kept = {each.filename for each in after.packages}
    return tuple(each.filename for each in current.content.packages if each.filename not in kept)


def _history(tree: Tree, suite: str, current: Live) -> list[Manifest]:
    """Return the generations that clients may have, the live one last."""
    if current.manifest is None:
        return []
    earlier = [each for each in tree.numbers(suite) if each < current.manifest.generation]
    return [*(manifest.load(tree, suite, each) for each in earlier), current.manifest]


def _published(tree: Tree, package: Package) -> str | None:
    """Return the sha256 of a file that another suite, or an older generation, has in the pool."""
    path = tree.root / package.filename
    return sha256_of(path) if path.is_file() else None


def _not_there(suite: str, name: str, found: Content) -> ArchiveError:
    names = ", ".join(each.name for each in found.releases) or "no release at all"
    return ArchiveError(
        f"{name} is not in {suite}, which has {names}",
        hint="see what is where with: debstack archive list",
    )


def _reason(package: Package, newest: str | None) -> str:
    if newest is None:
        return "new package"
    newer = Version(package.version) > Version(newest)
    return f"{'newer' if newer else 'not newer'} than {newest}"
