"""What a generation offers: its packages, and the releases that they make up."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

from debstack.archive.manifest import read
from debstack.archive.package import Package, parse_index
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError

NAME = "releases.json"
_FILENAME = re.compile(rb"^Filename: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class About:
    """What is known of a release beside its packages: its id, and each component's commit."""

    release: str
    commits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedRelease:
    """A release in a suite: when it came there, and the names in the pool of its packages."""

    about: About
    published: datetime
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The id of the release."""
        return self.about.release


@dataclass(frozen=True)
class Content:
    """The packages of a suite in the order of the index, its releases in that of publication.

    A package may belong to several releases, or to none.
    """

    packages: tuple[Package, ...] = ()
    releases: tuple[PublishedRelease, ...] = ()

    def release(self, name: str) -> PublishedRelease | None:
        """Return the release called ``name``, if it is here."""
        return next((each for each in self.releases if each.name == name), None)

    def of(self, release: PublishedRelease) -> tuple[Package, ...]:
        """Return the packages of one of the releases."""
        wanted = set(release.files)
        return tuple(each for each in self.packages if each.filename in wanted)

    def adding(self, packages: Iterable[Package], release: PublishedRelease | None) -> Content:
        """Return the content with ``packages``, which are not there yet, and ``release``.

        A release of the same name gives way to it, with the packages that only it had.
        """
        before, releases = self.packages, self.releases
        if release is not None:
            releases = (*(each for each in releases if each.name != release.name), release)
            replaced = self.release(release.name)
            used = {file for each in releases for file in each.files}
            orphans = set(replaced.files) - used if replaced else set()
            before = tuple(each for each in before if each.filename not in orphans)
        merged = list(before)
        for package in packages:
            insort(merged, package, key=lambda each: each.order)
        return Content(tuple(merged), releases)

    def without(self, names: Iterable[str]) -> Content:
        """Return the content less these releases, and less the packages of no other release."""
        going = set(names)
        kept = tuple(each for each in self.releases if each.name not in going)
        used = {file for each in kept for file in each.files}
        orphans = {
            file for each in self.releases if each.name in going for file in each.files
        } - used
        packages = tuple(each for each in self.packages if each.filename not in orphans)
        return replace(self, packages=packages, releases=kept)

    def without_versions(self, versions: Iterable[str]) -> Content:
        """Return the content less the packages of these versions, as far as no release has them."""
        going, used = set(versions), {file for each in self.releases for file in each.files}
        packages = (each for each in self.packages
                    if each.version not in going or each.filename in used)  # fmt: skip
        return replace(self, packages=tuple(packages))

    def dump(self) -> bytes:
        """Return the releases as JSON, one a line; the packages are in the index."""
        lines = [
            json.dumps(asdict(each) | {"published": each.published.isoformat()})
            for each in self.releases
        ]
        return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def load(tree: Tree, suite: str, number: int) -> Content:
    """Return what a generation offers. Raises ArchiveError if a file is missing or damaged."""
    folder = tree.generation(suite, number)
    packages: dict[str, Package] = {}
    for path, text in _indexes(folder):
        try:
            found = {package.filename: package for package in parse_index(text.decode())}
        except (ValueError, KeyError) as error:
            raise _damaged(path, error) from error
        packages |= found
    several = len(list(folder.glob("main/binary-*"))) > 1
    ordered = (
        sorted(packages.values(), key=lambda each: each.order) if several else packages.values()
    )
    return Content(tuple(ordered), tuple(_releases(folder / NAME)))


def files(tree: Tree, suite: str, number: int) -> set[str]:
    """Return the names in the pool that a generation needs, whatever else is known of them."""
    folder = tree.generation(suite, number)
    named = {name.decode() for _, text in _indexes(folder) for name in _FILENAME.findall(text)}
    return named | {file for release in _releases(folder / NAME) for file in release.files}


def needed(tree: Tree, suites: Sequence[str]) -> set[str]:
    """Return the names in the pool that any generation of ``suites`` needs."""
    return {
        name
        for suite in suites
        for number in tree.numbers(suite)
        for name in files(tree, suite, number)
    }


def _indexes(folder: Path) -> Iterable[tuple[Path, bytes]]:
    paths = sorted(folder.glob("main/binary-*/Packages.gz"))
    if not paths:
        raise ArchiveError(f"{folder} has no index", hint="restore the archive from its backup")
    for path in paths:
        try:
            yield path, gzip.decompress(read(path))
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from error


def _releases(path: Path) -> Iterable[PublishedRelease]:
    if not path.exists() and path.parent.is_dir():
        return  # of the first format, which knew packages alone
    try:
        for each in json.loads(read(path)):
            about = About(each["about"]["release"], each["about"]["commits"])
            when = datetime.fromisoformat(each["published"])
            yield PublishedRelease(about, when, tuple(each["files"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ArchiveError:
    return ArchiveError(
        f"{path} cannot be read: {error!r}", hint="restore the archive from its backup"
    )
