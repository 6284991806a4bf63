"""What publishing would change, found by reading alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from debian.debian_support import Version

from debstack.archive import manifest
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package, read_package
from debstack.archive.release import constant_fields
from debstack.archive.suite import Suite
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.process import Runner


@dataclass(frozen=True)
class Addition:
    """A package that the suite does not have yet, the file it comes from, and why it is added."""

    package: Package
    source: Path
    reason: str


@dataclass(frozen=True)
class Plan:
    """The next generation: all its ``packages``, which of them are new, and why it is made.

    An empty ``reason`` means that the live generation (its number is ``live``) is already it.
    """

    suite: Suite
    live: int | None
    additions: tuple[Addition, ...]
    packages: tuple[Package, ...]
    reason: str


def plan(
    root: Path,
    suite: Suite,
    debs: Sequence[Path],
    keys: Sequence[Key],
    now: datetime,
    runner: Runner,
) -> Plan:
    """Return what publishing ``debs`` would do, without writing anything.

    Raises ArchiveError for what must not be published: see ``check`` and ``check_immutable``.
    """
    check(suite, keys, now)
    tree = Tree(root)
    number = tree.live(suite.name)
    live = manifest.load(tree, suite.name, number) if number else None
    offered = [(read_package(deb, runner), deb) for deb in debs]
    known = published_files(tree)
    for package, deb in offered:
        if package.architecture not in (*suite.architectures, "all"):
            raise ArchiveError(f"{deb}: {package.architecture} is no architecture of {suite.name}")
        check_immutable(package, known.setdefault(package.filename, package), deb)
    current = live.packages if live else ()
    additions = additions_of(offered, current)
    packages = sorted(
        (*current, *(each.package for each in additions)), key=lambda each: each.order
    )
    reason = why(suite, live, additions, keys, now)
    return Plan(suite, number, additions, tuple(packages), reason)


def check(suite: Suite, keys: Sequence[Key], now: datetime) -> None:
    """Raise ArchiveError if ``keys`` may not sign ``suite``; ValueError for a time without zone."""
    suite.check()
    if now.tzinfo is None:
        raise ValueError("the time of a publication needs a time zone")
    if not keys or len({key.fingerprint for key in keys}) != len(keys):
        raise ArchiveError(f"{suite.name} needs one or more signing keys, all different")
    if suite.production and any(key.development for key in keys):
        raise ArchiveError(
            f"{suite.name} is a production suite and the repository key is a development key",
            hint="export DEBSTACK_PACKAGE_KEY=FINGERPRINT DEBSTACK_REPO_KEY=FINGERPRINT",
        )


def check_immutable(package: Package, published: Package, deb: Path) -> None:
    """Raise ArchiveError if a file of this name is published with other bits."""
    if package.sha256 != published.sha256:
        raise ArchiveError(
            f"{package.filename} is published with other content",
            hint="signed with another key: use the earlier one; built with other tools: give it a"
            f" new version with: debstack lock --rebuild {package.name}",
            details=[f"published: sha256 {published.sha256}", f"{deb}: sha256 {package.sha256}"],
        )


def published_files(tree: Tree) -> dict[str, Package]:
    """Return every package of every generation of every suite, by its file name."""
    return {
        package.filename: package
        for suite in tree.suites()
        for generation in manifest.load_all(tree, suite)
        for package in generation.packages
    }


def additions_of(
    offered: Sequence[tuple[Package, Path]], current: Sequence[Package]
) -> tuple[Addition, ...]:
    """Return which of the ``offered`` packages are not in ``current``, each once, and why."""
    present = {package.filename for package in current}
    newest = {package.name: package.version for package in sorted(current, key=lambda p: p.order)}
    fresh = {each.filename: (each, deb) for each, deb in offered if each.filename not in present}
    return tuple(
        Addition(package, deb, _reason(package, newest.get(package.name)))
        for package, deb in fresh.values()
    )


def why(
    suite: Suite,
    live: Manifest | None,
    additions: Sequence[Addition],
    keys: Sequence[Key],
    now: datetime,
) -> str:
    """Return why a new generation is needed, or nothing if the live one serves."""
    if live is None:
        return "first publication"
    if additions:
        return f"{len(additions)} package{'s' if len(additions) != 1 else ''} to add"
    if sorted(live.signers) != sorted(key.fingerprint for key in keys):
        return "other signing keys"
    if live.release != constant_fields(suite, development=any(key.development for key in keys)):
        return "the description of the suite changed"
    if live.valid_until - now <= suite.valid_for / 2:
        return "less than half of its validity is left"
    return ""


def _reason(package: Package, newest: str | None) -> str:
    if newest is None:
        return "new package"
    newer = Version(package.version) > Version(newest)
    return f"{'newer' if newer else 'not newer'} than {newest}"
