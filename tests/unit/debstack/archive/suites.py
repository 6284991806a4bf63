"""Suites on the disk as a publisher leaves them, but for the signatures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from debstack.archive.content import NAME, About, Content, PublishedRelease
from debstack.archive.manifest import NAME as MANIFEST
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package, package_of
from debstack.archive.release import constant_fields, indexes, release_text
from debstack.archive.suite import Suite
from debstack.archive.tree import Tree, make_folder
from debstack.gpg import Key

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def package(name: str, version: str = "1.0", architecture: str = "amd64") -> Package:
    """Return a package as an index names it."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
    return package_of(control, Path("x.deb"), 10, "0" * 64)


def offering(*releases: str, architecture: str = "amd64") -> Content:
    """Return the content of a suite with these releases, each of one package."""
    made = Content()
    for name in releases:
        own = package("feed", name, architecture)
        made = made.adding([own], PublishedRelease(About(name), NOW, (own.filename,)))
    return made


def put(
    tree: Tree, suite: Suite, key: Key, content: Content, *, signs_releases: bool = True
) -> int:
    """Let ``suite`` offer ``content`` from now on; return the number of the generation.

    Generations of earlier versions do not sign their releases.
    """
    number = (tree.live(suite.name) or 0) + 1
    folder = tree.generation(suite.name, number)
    files = indexes(suite, content.packages)
    for path, index in files.items():
        if Path(path).suffix:
            make_folder((folder / path).parent)
            (folder / path).write_bytes(index)
    made = Manifest(
        generation=number,
        published=NOW,
        valid_until=NOW + suite.valid_for,
        signers=(key.fingerprint,),
        release=constant_fields(suite, development=key.development),
        blobs=(),
        dropped=(),
        carried=(),
    )
    (folder / MANIFEST).write_bytes(made.dump())
    (folder / NAME).write_bytes(content.dump())
    listing = files | ({NAME: content.dump()} if signs_releases else {})
    text = release_text(made.release, NOW, made.valid_until, listing)
    (folder / "InRelease").write_bytes(text)
    link = tree.dist(suite.name)
    make_folder(link.parent)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../.gen", suite.name, str(number)))
    return number
