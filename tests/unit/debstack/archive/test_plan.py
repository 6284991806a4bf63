"""Planning a publication, and what is collected: pure decisions on manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.debstack.archive.suites import offering, put

from debstack.archive.collection import outdated
from debstack.archive.content import About, Content
from debstack.archive.manifest import Manifest, parse
from debstack.archive.package import Package, package_of, pool_name
from debstack.archive.plan import (
    Plan,
    additions_of,
    check,
    check_immutable,
    plan_publication,
    plan_refresh,
    plan_withdrawal,
    why,
)
from debstack.archive.release import constant_fields, packages_text, release_text
from debstack.archive.suite import Suite
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError
from debstack.gpg import Key

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = Key("A" * 40, None, None, None, development=False)
DEVELOPMENT = Key("D" * 40, None, None, None, development=True)
SUITE = Suite(
    name="bookworm-staging",
    codename="bookworm-staging",
    origin="example",
    label="Example",
    description="Example packages",
    architectures=("amd64",),
    valid_for=30 * DAY,
    production=False,
)


def package(name: str = "hello", version: str = "1.0", architecture: str = "amd64") -> Package:
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
    return package_of(control, Path("x.deb"), 10, "0" * 64)


def manifest(*, published: datetime = NOW, generation: int = 1, key: Key = KEY) -> Manifest:
    return Manifest(
        generation=generation,
        published=published,
        valid_until=published + SUITE.valid_for,
        signers=(key.fingerprint,),
        release=constant_fields(SUITE, development=key.development),
        blobs=("main/binary-amd64/by-hash/SHA256/00",),
        dropped=("pool/main/h/hello/hello_0.1_amd64.deb",),
        carried=(),
    )


def dated(*days: float) -> list[Manifest]:
    """Return generations that were published so many days from now."""
    return [manifest(generation=n, published=NOW + day * DAY) for n, day in enumerate(days, 1)]


def test_release_lists_every_index_and_names_its_validity() -> None:
    files = {"main/binary-amd64/Packages": b"abc", "main/binary-amd64/Packages.gz": b""}
    fields = constant_fields(SUITE, development=False)
    assert release_text(fields, NOW, NOW + DAY, files).decode() == (
        "Origin: example\n"
        "Label: Example\n"
        "Suite: bookworm-staging\n"
        "Codename: bookworm-staging\n"
        "Architectures: amd64\n"
        "Components: main\n"
        "Description: Example packages\n"
        "Acquire-By-Hash: yes\n"
        "Date: Mon, 23 Nov 2026 18:00:00 UTC\n"
        "Valid-Until: Tue, 24 Nov 2026 18:00:00 UTC\n"
        "SHA256:\n"
        " ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        "         3 main/binary-amd64/Packages\n"
        " e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        "         0 main/binary-amd64/Packages.gz\n"
    )


def test_a_development_key_is_announced_in_the_description() -> None:
    assert "DEVELOPMENT" in constant_fields(SUITE, development=True)["Description"]
    assert "DEVELOPMENT" not in constant_fields(SUITE, development=False)["Description"]


def test_index_is_sorted_as_dpkg_compares_and_has_packages_for_all() -> None:
    packages = [
        package(version="10"),
        package(version="9"),
        package(version="9~rc1"),
        package("data", architecture="all"),
        package("other", architecture="arm64"),
    ]
    content = Content().adding(packages, None)
    lines = packages_text(content.packages, "amd64").decode().splitlines()
    assert [line for line in lines if line.startswith(("Package:", "Version:"))] == [
        *("Package: data", "Version: 1.0", "Package: hello", "Version: 9~rc1"),
        *("Package: hello", "Version: 9", "Package: hello", "Version: 10"),
    ]


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("hello", "1.0+g1~deb12", "pool/main/h/hello/hello_1.0+g1~deb12_amd64.deb"),
        ("hello", "2:1.0", "pool/main/h/hello/hello_1.0_amd64.deb"),
        ("libfoo", "1", "pool/main/libf/libfoo/libfoo_1_amd64.deb"),
    ],
)
def test_pool_name(name: str, version: str, expected: str) -> None:
    assert pool_name(name, version, "amd64") == expected


@pytest.mark.parametrize(
    "control",
    [
        "Package: ../../etc\nVersion: 1\nArchitecture: amd64\n",
        "Package: hello\nVersion: 1/../2\nArchitecture: amd64\n",
        "Package: hello\nArchitecture: amd64\n",
        "Package: hello\nVersion: 1\nArchitecture: ../x\n",
    ],
)
def test_identity_that_could_leave_the_pool_is_refused(control: str) -> None:
    with pytest.raises(ArchiveError, match=r"x\.deb"):
        package_of(control, Path("x.deb"), 1, "0" * 64)


def test_additions_say_why_and_name_each_package_once() -> None:
    current = [package(version="2")]
    offered = [package(version=version) for version in ("1", "2", "3", "3")] + [package("fresh")]
    additions = additions_of([(each, Path("x")) for each in offered], current)
    assert [(each.package.name, each.package.version, each.reason) for each in additions] == [
        ("hello", "1", "not newer than 2"),
        ("hello", "3", "newer than 2"),
        ("fresh", "1.0", "new package"),
    ]


def test_other_bits_under_a_published_name_are_refused_naming_both() -> None:
    changed = replace(package(), sha256="1" * 64)
    with pytest.raises(ArchiveError) as caught:
        check_immutable(changed, package().sha256, Path("x.deb"))
    assert [line[-64:] for line in caught.value.details] == ["0" * 64, "1" * 64]
    assert caught.value.hint.endswith("debstack lock --rebuild hello")


def test_a_tool_comes_to_a_new_version_by_a_commit(tmp_path: Path) -> None:
    tree, content = Tree(tmp_path), Content().adding([package("debstack")], None)
    put(tree, SUITE, KEY, content)
    changed = replace(content.packages[0], sha256="1" * 64)
    with pytest.raises(ArchiveError, match="published with other content") as caught:
        plan_publication(tree, SUITE, [(changed, Path("x.deb"))], None, [KEY], NOW)
    assert caught.value.hint.endswith("git commit; make self-deb")
    other = replace(SUITE, architectures=("arm64",))
    with pytest.raises(ArchiveError, match="for amd64, and is for arm64") as caught:
        plan_refresh(tree, other, [KEY], NOW, force=False)
    assert "debstack archive tool --remove 1.0" in caught.value.hint


@pytest.mark.parametrize(
    ("live", "now", "keys", "reason"),
    [
        (None, NOW, [KEY], "first publication"),
        (manifest(), NOW, [KEY], ""),
        (manifest(), NOW + 14 * DAY, [KEY], ""),
        (manifest(), NOW + 15 * DAY, [KEY], "less than half of its validity is left"),
        (manifest(), NOW, [DEVELOPMENT], "other signing keys"),
        (manifest(), NOW, [KEY, DEVELOPMENT], "other signing keys"),
    ],
)
def test_a_generation_is_made_only_for_a_reason(
    live: Manifest | None, now: datetime, keys: Sequence[Key], reason: str
) -> None:
    assert why(SUITE, [live] if live else [], [], keys, now) == reason


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        ((-2, -1), ""),
        ((-1, -2), "it is dated before generation 1, whose clients ignore it"),
        ((-1, -3, -2), "it is dated before generation 1, whose clients ignore it"),
        ((-1, -2, 0), ""),
        ((400, -1), ""),  # nobody took the first one
        ((-1, 400), "it is dated in the future"),
    ],
)
def test_what_clients_ignore_is_to_be_signed_anew(days: Sequence[float], reason: str) -> None:
    assert why(SUITE, dated(*days), [], [KEY], NOW) == reason


def test_a_changed_suite_is_a_reason() -> None:
    changed = replace(SUITE, label="Other")
    assert why(changed, [manifest()], [], [KEY], NOW) == "the description of the suite changed"


def test_production_refuses_a_development_key() -> None:
    with pytest.raises(ArchiveError, match="development key"):
        check(replace(SUITE, production=True), [KEY, DEVELOPMENT], NOW)
    check(replace(SUITE, production=True), [KEY], NOW)


@pytest.mark.parametrize("keys", [[], [KEY, KEY]])
def test_keys_are_one_or_more_and_different(keys: list[Key]) -> None:
    with pytest.raises(ArchiveError, match="signing keys"):
        check(SUITE, keys, NOW)


@pytest.mark.parametrize("name", ["../x", "a b", "", "a/b"])
def test_suite_names_stay_in_their_folder(name: str) -> None:
    with pytest.raises(ArchiveError, match="not a name"):
        check(replace(SUITE, name=name), [KEY], NOW)


def test_grace_counts_from_the_successor() -> None:
    # The first was live for a year, until two days ago: clients may have read it two days ago.
    generations = [
        manifest(generation=1, published=NOW - 365 * DAY),
        manifest(generation=2, published=NOW - 2 * DAY),
        manifest(generation=3, published=NOW - DAY),
    ]
    assert outdated(generations, NOW, 2 * DAY) == []
    assert outdated(generations, NOW + timedelta(seconds=1), 2 * DAY) == [1]
    assert outdated(generations, NOW + 365 * DAY, timedelta(0)) == [1, 2]


def test_a_clock_that_was_slow_for_a_while_shortens_no_grace() -> None:
    assert outdated(dated(-0.01, -40, 0), NOW, 30 * DAY) == []
    assert outdated(dated(-0.02, -40, -39, 0), NOW, 30 * DAY) == []
    assert outdated(dated(-45, -40, -80), NOW, 30 * DAY) == [1]
    assert outdated(dated(-45, -40, -80, 0), NOW, 30 * DAY) == [1]
    assert outdated(dated(-76, -71, -111, -31, 0), NOW, 30 * DAY) == [1, 2, 3]


def test_a_clock_that_was_fast_for_a_while_lengthens_no_grace() -> None:
    assert outdated(dated(-50, 400, -40, 0), NOW, 30 * DAY) == [1, 2]


def test_manifest_survives_its_file() -> None:
    made = manifest()
    for each in (made, replace(made, carried=(1, 2)), replace(made, carried=None)):
        assert parse(each.dump(), Path("m")) == each


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": 3}', b"[]"])
def test_damaged_manifest_is_named(text: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"m\.json"):
        parse(text, Path("m.json"))


def test_a_lost_link_is_not_taken_for_an_empty_suite(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert tree.live("s") is None
    tree.generation("s", 1).mkdir(parents=True)
    assert tree.live("s") is None
    tree.generation("s", 2).mkdir()
    with pytest.raises(ArchiveError) as caught:
        tree.live("s")
    assert caught.value.hint == f"ln -sfn ../.gen/s/2 {tmp_path}/dists/s"


def test_a_foreign_suite_is_left_alone(tmp_path: Path) -> None:
    tree, link = Tree(tmp_path), tmp_path / "dists/s"
    link.mkdir(parents=True)
    with pytest.raises(ArchiveError, match="does not lead to") as caught:
        tree.live("s")
    assert caught.value.hint == f"mv {link} elsewhere"
    tree.generation("s", 3).mkdir(parents=True)
    with pytest.raises(ArchiveError, match="does not lead to") as caught:
        tree.live("s")
    assert caught.value.hint == f"mv {link} elsewhere; then ln -sfn ../.gen/s/3 {link}"


@pytest.mark.parametrize("force", [True, False])
def test_a_suite_is_not_emptied_because_its_architecture_was_changed(
    tmp_path: Path, force: bool
) -> None:
    tree, changed = Tree(tmp_path), replace(SUITE, architectures=("arm64",))
    put(tree, SUITE, KEY, offering("2026.11.23.1", "2026.11.23.2"))
    assert plan_refresh(tree, SUITE, [KEY], NOW, force=False).reason == ""
    about = About("2026.11.23.3")
    attempts: list[Callable[[], Plan]] = [
        lambda: plan_refresh(tree, changed, [KEY], NOW, force=force),
        lambda: plan_publication(tree, changed, [], about, [KEY], NOW),
        lambda: plan_withdrawal(tree, changed, ["2026.11.23.1"], [KEY], NOW, "old"),
    ]
    for attempt in attempts:
        with pytest.raises(ArchiveError, match=r"offers feed 2026.*for amd64, and is for arm64"):
            attempt()
    every = ["2026.11.23.1", "2026.11.23.2"]
    assert len(plan_withdrawal(tree, changed, every, [KEY], NOW, "old").dropped) == 2


def test_what_a_replaced_release_alone_had_leaves_the_index(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    content = offering("2026.11.23.1", "2026.11.23.2")
    put(tree, SUITE, KEY, content)
    about = About("2026.11.23.1", {"feed": "a" * 40})
    planned = plan_publication(tree, SUITE, [], about, [KEY], NOW)
    assert planned.reason == "2026.11.23.1 is to be recorded"
    assert planned.dropped == (content.packages[0].filename,)
    assert planned.content.packages == content.packages[1:]
