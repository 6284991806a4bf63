"""What a suite offers: packages shared by releases, and what goes with one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from debstack.archive.content import About, Content, PublishedRelease, needed
from debstack.archive.package import Package, package_of, parse_index
from debstack.archive.release import packages_text
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def package(name: str, version: str) -> Package:
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: wrong\nsize: 7\n"
        "Conffiles:\n /etc/a 1\n /etc/b 2\nDescription: of it\n More.\n .\n Size: 9\n"
    )
    return package_of(control, Path("x.deb"), 10, "0" * 64)


SHARED, OLD, NEW, LOOSE = (
    *(package("common", "1"), package("feed", "1")),
    *(package("feed", "2"), package("other", "1")),
)


def release(name: str, *packages: Package) -> PublishedRelease:
    files = tuple(each.filename for each in packages)
    return PublishedRelease(About(name, {"feed": "a" * 40}), NOW, files)


@pytest.fixture
def content() -> Content:
    first = Content().adding([LOOSE], None).adding([OLD, SHARED], release("1", SHARED, OLD))
    return first.adding([NEW], release("2", SHARED, NEW))


def test_packages_stay_in_order(content: Content) -> None:
    assert content.packages == (SHARED, OLD, NEW, LOOSE)


def test_a_release_leaves_with_the_packages_that_no_other_has(content: Content) -> None:
    left = content.without(["1"])
    assert left.packages == (SHARED, NEW, LOOSE)
    assert [each.name for each in left.releases] == ["2"]
    assert content.without(["1", "2"]).packages == (LOOSE,)


def test_a_version_leaves_where_it_is_of_no_release(content: Content) -> None:
    assert content.without_versions(["1"]).packages == (SHARED, OLD, NEW)
    assert content.without_versions(["2"]) == content


def test_a_release_that_is_published_anew_takes_its_own_place(content: Content) -> None:
    again = content.adding([], release("1", SHARED, NEW))
    assert [each.name for each in again.releases] == ["2", "1"]
    assert again.packages == (SHARED, NEW, LOOSE)
    assert content.adding([], release("2", SHARED, OLD)).packages == (SHARED, OLD, LOOSE)
    assert content.adding([], release("3", SHARED)).packages == content.packages


def test_the_packages_of_a_release(content: Content) -> None:
    found = content.release("2")
    assert found is not None
    assert content.of(found) == (SHARED, NEW)
    assert content.release("3") is None


def test_an_index_is_read_as_it_was_written(content: Content) -> None:
    text = packages_text(content.packages, "amd64").decode()
    assert tuple(parse_index(text)) == content.packages
    assert "Filename: wrong" not in text
    assert "size: 7" not in text
    assert "Conffiles:\n /etc/a 1\n /etc/b 2\n" in text
    assert text.count("\nSize: 10\n") == len(content.packages)


def test_a_generation_without_an_index_needs_unknown_files(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.generation("s", 1).mkdir(parents=True)
    with pytest.raises(ArchiveError, match="has no index"):
        needed(tree, ["s"])
