"""``index.html`` of the archive: what is in it and how to use it, for people with a browser.

It is made from the archive alone, after every change, and can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from debstack.archive.catalogue import File, ReleaseEntry, SuiteEntry, catalogue
from debstack.archive.tree import TEMPORARY, Tree
from debstack.archive.version import version_key
from debstack.model.definition import Definition, Target
from debstack.pipeline import documents
from debstack.pipeline.documents import Documents
from debstack.pipeline.packages import Names
from debstack.process import Runner
from debstack.render import render_one

NAME = "index.html"


@dataclass(frozen=True)
class PackageRow:
    """A package of a release, and where what it says of itself lies."""

    file: File
    commit: str
    documents: Documents


@dataclass(frozen=True)
class Change:
    """What a component is since the release before: its commits and Python distributions.

    ``before`` is empty for a component that is new; ``distributions`` are lines to read.
    """

    component: str
    before: str
    after: str
    commits: tuple[str, ...]
    distributions: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """A release on one target; ``channels`` are the suites that have it, since when."""

    name: str
    channels: Mapping[str, datetime]
    size: int
    packages: tuple[PackageRow, ...]
    since: str
    changes: tuple[Change, ...]

    @property
    def day(self) -> datetime:
        """When it first came to one of its channels."""
        return min(self.channels.values())


@dataclass(frozen=True)
class Section:
    """What the archive has for one target: its channels, its releases with the newest first."""

    target: Target
    suites: tuple[SuiteEntry, ...]
    releases: tuple[Release, ...]
    keyring: File | None

    @property
    def largest(self) -> int:
        """The bytes of the largest release."""
        return max((release.size for release in self.releases), default=1)


@dataclass(frozen=True)
class _Reader:
    """Reads the archive; what two releases share is read once."""

    root: Path
    runner: Runner
    known: dict[File, Documents] = field(default_factory=dict)

    def documents(self, file: File) -> Documents:
        if file not in self.known:
            self.known[file] = documents.extract(self.root, file, self.runner)
        return self.known[file]

    def distributions(self, file: File | None) -> dict[str, str]:
        return documents.distributions(self.root, self.documents(file)) if file else {}

    def commits(self, file: File) -> tuple[str, ...]:
        return documents.changes(self.root, self.documents(file))


def write(tree: Tree, definition: Definition, runner: Runner) -> Path:
    """Write the page and the documents that it links to; return where it is.

    Raises ArchiveError, BuildError, OSError; the page that was there stays then.
    """
    stack = definition.stack
    reader = _Reader(tree.root, runner)
    suites = catalogue(tree)
    sections = [_section(target, suites, definition, reader) for target in stack.targets]
    text = render_one(
        f"archive/{NAME}",
        {
            "stack": stack,
            "names": Names.of(definition),
            "sections": [each for each in sections if each.releases],
            "uri": stack.archive.uri.rstrip("/"),
        },
    )
    page = tree.root / NAME
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        new = page.with_name(f"{TEMPORARY}{NAME}")
        new.write_text(text, encoding="utf-8")
        new.replace(page)
    documents.prune(tree.root, reader.known.keys())
    return page


def _section(
    target: Target, suites: Sequence[SuiteEntry], definition: Definition, reader: _Reader
) -> Section:
    own = [f"{target.name}-{channel.name}" for channel in definition.stack.channels]
    mine = tuple(each for each in suites if each.suite in own)
    entries: dict[str, ReleaseEntry] = {}
    since: dict[str, dict[str, datetime]] = {}
    for suite in mine:
        for entry in suite.releases:
            entries.setdefault(entry.release, entry)
            since.setdefault(entry.release, {})[suite.suite] = entry.published
    oldest_first = sorted(entries, key=version_key)
    before: ReleaseEntry | None = None
    releases: list[Release] = []
    for name in oldest_first:
        entry = entries[name]
        releases.insert(0, _release(entry, before, since[name], reader))
        before = entry
    keyrings = [
        row.file
        for release in releases
        for row in release.packages
        if row.file.package == Names.of(definition).keyring
    ]
    return Section(target, mine, tuple(releases), keyrings[0] if keyrings else None)


def _release(
    entry: ReleaseEntry,
    before: ReleaseEntry | None,
    channels: Mapping[str, datetime],
    reader: _Reader,
) -> Release:
    rows = tuple(
        PackageRow(file, entry.commits.get(file.package, ""), reader.documents(file))
        for file in sorted(entry.files, key=lambda each: each.package)
    )
    changes = tuple(_changes(entry, before, reader)) if before else ()
    return Release(
        entry.release, channels, entry.size, rows, before.release if before else "", changes
    )


def _changes(entry: ReleaseEntry, before: ReleaseEntry, reader: _Reader) -> Iterator[Change]:
    earlier = {file.package: file for file in before.files}
    for file in sorted(entry.files, key=lambda each: each.package):
        old = earlier.pop(file.package, None)
        if file.package not in entry.commits or (old and old.version == file.version):
            continue
        yield Change(
            file.package,
            before.commits.get(file.package, ""),
            entry.commits[file.package],
            reader.commits(file),
            tuple(_differences(reader.distributions(old), reader.distributions(file))),
        )
    for package in sorted(earlier):
        if package in before.commits:
            yield Change(package, before.commits[package], "", (), ())


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{name} {after[name]} is new"
        elif name not in after:
            yield f"{name} {before[name]} is gone"
        elif before[name] != after[name]:
            yield f"{name} {before[name]} → {after[name]}"
