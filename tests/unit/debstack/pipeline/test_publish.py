"""What is published where, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.release import release

from debstack.archive.content import Content
from debstack.archive.package import package_of
from debstack.archive.plan import Plan
from debstack.errors import ArchiveError
from debstack.model.definition import Definition
from debstack.model.reading import load
from debstack.pipeline.packages import release_packages
from debstack.pipeline.publish import check_target, read_built, suite_of, targets_of


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    return load(project.write(tmp_path / "project"))


def test_a_channel_is_a_suite_per_target(definition: Definition) -> None:
    target, (staging, prod) = definition.stack.targets[0], definition.stack.channels
    suite = suite_of(definition, target, staging)
    assert (suite.name, suite.codename) == ("bookworm-staging", "bookworm-staging")
    assert (suite.origin, suite.label) == ("demo", "demo stack")
    assert suite.architectures == ("amd64",)
    assert suite.valid_for == timedelta(days=30)
    assert not suite.production
    assert suite_of(definition, target, prod).name == "bookworm-prod"
    assert suite_of(definition, target, prod).production


def built(folder: Path, definition: Definition, *packages: str) -> Path:
    """Pretend that a release was built: leave its manifest and its lock."""
    made = release(folder / "source")
    entries = [
        {"package": name, "file": f"{name}.deb", "version": made.version(name)} for name in packages
    ]
    document = {"release": made.lock.release, "target": "bookworm", "packages": entries}
    (folder / "bookworm.json").write_text(json.dumps(document))
    made.lock.write(folder / "repos.lock")
    return folder


def test_only_what_the_manifest_names_is_published(definition: Definition, tmp_path: Path) -> None:
    target, names = definition.stack.targets[0], release_packages(definition)
    folder = built(tmp_path, definition, *names)
    (folder / "stranger.deb").write_text("")
    found = read_built(folder, definition, target)
    assert found.debs == tuple(folder / f"{name}.deb" for name in names)
    assert found.about.release == "2026.11.23.1"
    assert {name: len(commit) for name, commit in found.about.commits.items()} == {
        "feed": 40,
        "web": 40,
    }


def changed(folder: Path, package: str, **values: str) -> None:
    """Let the manifest say something else of ``package``."""
    manifest = folder / "bookworm.json"
    document = json.loads(manifest.read_text())
    (entry,) = (each for each in document["packages"] if each["package"] == package)
    entry |= values
    manifest.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("package", "values", "told"),
    [
        ("web", {"version": "2026.11.23.1+gfffffff-1~deb12"}, "web is 2026.11.23.1+gfffffff-1"),
        ("traderunner-common", {"version": "2026.11.23.1~dev01234567~deb12"},
         "traderunner-common is 2026.11.23.1~dev01234567~deb12, and 2026.11.23.1~deb12 in the"),
        ("traderunner-archive-keyring", {"version": "2026.11.22.1~dev01234567~deb12"},
         "traderunner-archive-keyring is 2026.11.22.1~dev0"),
    ],
)  # fmt: skip
def test_what_was_made_from_another_lock_is_not_published(
    definition: Definition, tmp_path: Path, package: str, values: dict[str, str], told: str
) -> None:
    folder = built(tmp_path, definition, *release_packages(definition))
    changed(folder, package, **values)
    with pytest.raises(ArchiveError, match=r"was not made from .*repos\.lock") as caught:
        read_built(folder, definition, definition.stack.targets[0])
    assert [each.startswith(told) for each in caught.value.details] == [True]
    assert caught.value.hint == "with that lock: debstack build --target bookworm"


def test_a_package_that_the_lock_does_not_have_is_not_published(
    definition: Definition, tmp_path: Path
) -> None:
    folder = built(tmp_path, definition, *release_packages(definition), "feed")
    document = json.loads((folder / "bookworm.json").read_text())
    document["packages"][-1]["package"] = "gone"
    (folder / "bookworm.json").write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match="was not made from") as caught:
        read_built(folder, definition, definition.stack.targets[0])
    assert [each.startswith("gone ") for each in caught.value.details] == [True]


@pytest.mark.parametrize("mark", ["", "~dev01234567", "~key89abcdef"])
def test_a_keyring_says_of_which_keys_it_is(
    definition: Definition, tmp_path: Path, mark: str
) -> None:
    folder = built(tmp_path, definition, *release_packages(definition))
    changed(folder, "traderunner-archive-keyring", version=f"2026.11.23.1{mark}~deb12")
    assert len(read_built(folder, definition, definition.stack.targets[0]).debs) == 6


def test_a_part_of_a_release_is_not_published(definition: Definition, tmp_path: Path) -> None:
    folder = built(tmp_path, definition, "traderunner-stack")
    with pytest.raises(ArchiveError, match="lacks feed, web, ") as caught:
        read_built(folder, definition, definition.stack.targets[0])
    assert caught.value.hint == "run: debstack build"


@pytest.mark.parametrize("text", ["", "[]", '{"packages": [{}]}', '{"packages": []}'])
def test_a_manifest_that_is_not_whole_is_told(
    definition: Definition, tmp_path: Path, text: str
) -> None:
    folder = built(tmp_path, definition, *release_packages(definition))
    (folder / "bookworm.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"bookworm\.json is not the manifest") as caught:
        read_built(folder, definition, definition.stack.targets[0])
    assert "whole" in caught.value.hint


def test_a_release_that_was_not_built_is_told(definition: Definition, tmp_path: Path) -> None:
    target = definition.stack.targets[0]
    for read in (targets_of, partial(read_built, target=target)):
        with pytest.raises(ArchiveError, match="holds no release built for bookworm") as caught:
            read(tmp_path, definition)
        assert caught.value.hint == "run: debstack build"


def test_the_targets_of_a_release_are_those_it_was_built_for(
    definition: Definition, tmp_path: Path
) -> None:
    trixie = replace(definition.stack.targets[0], name="trixie", suffix="deb13")
    stack = replace(definition.stack, targets=(*definition.stack.targets, trixie))
    both = replace(definition, stack=stack)
    (tmp_path / "trixie.json").touch()
    assert targets_of(tmp_path, both) == (trixie,)
    (tmp_path / "bookworm.json").touch()
    assert [each.name for each in targets_of(tmp_path, both)] == ["bookworm", "trixie"]


def test_what_was_built_for_another_target_is_refused(definition: Definition) -> None:
    target = definition.stack.targets[0]
    suite = suite_of(definition, target, definition.stack.channels[0])
    control = "Package: feed\nVersion: 1.0~deb13\nArchitecture: amd64\n"
    offered = ((package_of(control, Path("feed.deb"), 1, "0" * 64), Path("feed.deb")),)
    plan = Plan(suite, None, Content(), "first publication", offered)
    with pytest.raises(ArchiveError, match=r"1\.0~deb13 does not end with ~deb12"):
        check_target(plan, target)
    check_target(plan, replace(target, suffix="deb13"))
