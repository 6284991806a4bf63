"""What is in the archive, for people and for pages: suites, their releases, their packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from debstack.archive.package import Package
from debstack.archive.plan import live
from debstack.archive.tree import Tree
from debstack.archive.version import version_key


@dataclass(frozen=True)
class File:
    """A package of a release: where it lies below the root, its size in bytes, its sha256."""

    package: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ReleaseEntry:
    """A release in a suite: when it came there, each component's commit, its packages."""

    release: str
    published: datetime
    commits: Mapping[str, str]
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """The bytes of all its packages."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class SuiteEntry:
    """What apt sees of a suite; ``releases`` are the newest first, as apt prefers them.

    ``signers`` are fingerprints; ``keyring`` is the file with their public keys, below the root.
    """

    suite: str
    generation: int
    published: datetime
    valid_until: datetime
    signers: tuple[str, ...]
    keyring: str
    releases: tuple[ReleaseEntry, ...]


def catalogue(tree: Tree) -> list[SuiteEntry]:
    """Return every published suite. Raises ArchiveError if one cannot be read."""
    entries = (_suite(tree, suite) for suite in tree.suites())
    return [entry for entry in entries if entry is not None]


def _suite(tree: Tree, suite: str) -> SuiteEntry | None:
    current = live(tree, suite)
    if current.manifest is None:
        return None
    known = {each.filename: each for each in current.content.packages}
    newest_first = sorted(
        current.content.releases, key=lambda each: version_key(each.name), reverse=True
    )
    return SuiteEntry(
        suite=suite,
        generation=current.manifest.generation,
        published=current.manifest.published,
        valid_until=current.manifest.valid_until,
        signers=current.manifest.signers,
        keyring=str(tree.keyring(suite).relative_to(tree.root)),
        releases=tuple(
            ReleaseEntry(
                each.name,
                each.published,
                each.about.commits,
                tuple(_file(known[name]) for name in each.files if name in known),
            )
            for each in newest_first
        ),
    )


def _file(package: Package) -> File:
    return File(
        *(package.name, package.version, package.architecture),
        *(package.filename, package.size, package.sha256),
    )
