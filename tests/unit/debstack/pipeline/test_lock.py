"""Locking and locking again: what moves, what stays, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from debian.debian_support import Version
from tests.unit.debstack.pipeline.world import (
    FEED_URL,
    NOON,
    PYPROJECT,
    WEB_URL,
    World,
    sha,
    snapshot,
    wheel,
    world,
)

from debstack.errors import DependencyError, LockError, SourceError
from debstack.model.lock import LockedPackage, read_lock
from debstack.model.places import lock_file
from debstack.model.requirements import parse_requirements
from debstack.pipeline.lock import plan
from debstack.pipeline.lock_check import check
from debstack.pipeline.pin import EVERYTHING

TOMORROW = NOON + timedelta(days=1)


@pytest.fixture
def demo(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.fixture
def locked(demo: World) -> World:
    demo.lock()
    return demo


def disagreements(demo: World) -> list[str]:
    previous = demo.previous()
    assert previous is not None
    return [str(e) for e in check(demo.definition(), demo.folder, previous, demo.input_digest)]


def package(demo: World, name: str) -> LockedPackage:
    return read_lock(lock_file(demo.folder)).packages[name]


def test_the_first_lock_pins_everything(locked: World) -> None:
    lock = read_lock(lock_file(locked.folder))
    assert lock.release == "2026.11.23.1"
    assert lock.timestamp == int(NOON.timestamp())
    assert set(lock.packages) == {
        "feed",
        "web",
        "traderunner-archive-keyring",
        "traderunner-common",
        "traderunner-stack",
    }
    assert {each.changed_in for each in lock.packages.values()} == {"2026.11.23.1"}
    assert lock.components["feed"].commit == locked.refs[FEED_URL, "main"]
    assert set(lock.components["feed"].build_requirements) == {"bookworm"}
    assert lock.components["web"].build_requirements == {}
    locks = sorted(each for each in snapshot(locked.folder) if "/locks/" in each)
    assert locks == [
        "packaging/locks/bookworm/feed.build.txt",
        "packaging/locks/bookworm/feed.txt",
        "packaging/locks/bookworm/web.txt",
    ]
    assert disagreements(locked) == []


def test_a_plan_writes_nothing(demo: World) -> None:
    before = snapshot(demo.folder)
    planned = demo.plan()
    assert planned.is_new
    assert "feed: added at " in str(planned.changes[0])
    assert snapshot(demo.folder) == before


def test_locking_again_changes_nothing_and_resolves_nothing(locked: World) -> None:
    before = snapshot(locked.folder)
    locked.index["idna"] = "4"
    planned = locked.lock(TOMORROW)
    assert planned.lock == locked.previous()
    assert (planned.changes, planned.files, planned.removed, planned.is_new) == ((), {}, (), False)
    assert snapshot(locked.folder) == before
    assert not [each for each in locked.asked if each.startswith("resolve")]


def test_one_component_moves_and_the_others_keep_their_version(locked: World) -> None:
    new = locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    planned = locked.lock(TOMORROW)
    assert planned.lock.release == "2026.11.24.1"
    moved = {name for name, each in planned.lock.packages.items() if "24" in each.changed_in[-5:]}
    assert moved == {"feed", "traderunner-stack"}
    assert planned.lock.packages["feed"].timestamp == int(TOMORROW.timestamp())
    assert planned.lock.packages["web"].timestamp == int(NOON.timestamp())
    target = locked.definition().target("bookworm")
    assert planned.lock.version("feed", target) == f"2026.11.24.1+g{new[:7]}-1~deb12"
    assert planned.lock.version("traderunner-stack", target) == "2026.11.24.1~deb12"
    assert planned.files == {}
    assert any(f"-> {new[:7]} (that is main now)" in str(each) for each in planned.changes)


def test_a_moved_commit_is_a_new_version_whatever_the_digest_says(locked: World) -> None:
    locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    lock = read_lock(lock_file(locked.folder))

    def blind(name: str, *_: object) -> str:
        return lock.packages[name].inputs["bookworm"]

    tools = replace(locked.tools, input_digest=blind)
    planned = plan(locked.definition(), locked.folder, lock, tools, now=NOON)
    assert planned.lock.packages["feed"].changed_in == "2026.11.23.2"
    assert planned.lock.packages["web"].changed_in == "2026.11.23.1"


def test_an_older_commit_gets_a_higher_version(locked: World) -> None:
    old = locked.refs[FEED_URL, "main"]
    locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    locked.lock()
    locked.refs[FEED_URL, "main"] = old
    planned = locked.lock()
    target = locked.definition().target("bookworm")
    version = planned.lock.version("feed", target)
    assert version == f"2026.11.23.3+g{old[:7]}-1~deb12"
    assert Version(version) > Version("2026.11.23.2+gfffffff-1~deb12")


def test_only_the_named_components_move(locked: World) -> None:
    feed = locked.refs[FEED_URL, "main"]
    locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    web = locked.commit(WEB_URL, "v1.2", {"requirements.txt": "dash\n", "b.py": "1"})
    planned = locked.lock(components=["web"])
    assert planned.lock.components["web"].commit == web
    assert planned.lock.components["feed"].commit == feed
    assert f"ref {FEED_URL}" not in locked.asked


def test_an_unknown_component_is_named_with_the_nearest(locked: World) -> None:
    with pytest.raises(LockError) as raised:
        locked.plan(components=["webb"])
    assert raised.value.hint == "did you mean web?"


def test_changed_requirements_keep_the_versions_they_still_allow(locked: World) -> None:
    locked.index |= {"dash": "3", "pandas": "2"}
    locked.commit(WEB_URL, "v1.2", {"requirements.txt": "dash\npandas\n"})
    planned = locked.lock()
    versions = parse_requirements(planned.files["bookworm/web.txt"], "web.txt").versions()
    assert versions == {"dash": "2", "gunicorn": "22", "pandas": "2", "uvicorn": "1"}
    assert "bookworm/web.txt: + pandas 2 (its requirements changed)" in str(planned.changes[1])


def test_extra_requirements_are_followed_without_moving_the_commit(locked: World) -> None:
    locked.edit("components/web.toml", '"gunicorn>=22,<24", ', "")
    locked.commit(WEB_URL, "v1.2", {"requirements.txt": "dash\n", "b.py": "1"})
    planned = locked.lock(components=["feed"])
    assert "- gunicorn 22" in str(planned.changes[0])
    assert planned.lock.packages["web"].changed_in == planned.lock.release
    assert disagreements(locked) == []


def test_upgrade_moves_the_named_components_dependencies(locked: World) -> None:
    locked.index |= {"dash": "3", "idna": "4"}
    planned = locked.lock(components=["web"], upgrade=EVERYTHING)
    assert set(planned.files) == {"bookworm/web.txt"}
    assert "bookworm/web.txt: dash 2 -> 3 (an upgrade was asked for)" in str(planned.changes[0])
    assert package(locked, "feed").changed_in == "2026.11.23.1"
    assert package(locked, "web").changed_in == "2026.11.23.2"


def test_an_upgrade_that_finds_nothing_newer_is_no_release(locked: World) -> None:
    before = snapshot(locked.folder)
    assert not locked.lock(TOMORROW, upgrade=EVERYTHING).is_new
    assert snapshot(locked.folder) == before


def test_an_edited_or_missing_dependency_lock_is_renewed(locked: World) -> None:
    before = snapshot(locked.folder)
    locks = locked.folder / "packaging/locks/bookworm"
    with (locks / "web.txt").open("a") as stream:
        stream.write("# harmless\n")
    (locks / "feed.txt").unlink()
    planned = locked.lock()
    assert [each.reason for each in planned.changes] == [
        "the file is missing",
        "the file was edited",
    ]
    assert not planned.is_new
    assert snapshot(locked.folder) == before


def test_after_an_interrupted_lock_nothing_moves_that_was_not_asked_to(locked: World) -> None:
    locked.index["idna"] = "4"
    stopped = locked.plan(TOMORROW, upgrade={"idna"})
    path = "bookworm/feed.txt"
    (locked.folder / "packaging/locks" / path).write_text(stopped.files[path])
    locked.index |= {"idna": "5", "dash": "9"}
    planned = locked.lock(TOMORROW)
    found = parse_requirements(
        (locked.folder / "packaging/locks" / path).read_text(), "feed.txt"
    ).versions()
    assert found["idna"] == "4"
    assert str(planned.changes[0]) == f"feed: {path}: the same versions (the file was edited)"
    assert planned.is_new
    assert disagreements(locked) == []


def test_an_edited_lock_does_not_vouch_for_what_was_built(demo: World) -> None:
    demo.edit("components/web.toml", "extra_req", 'sdists = ["dash"]\nextra_req')
    demo.lock()
    file = demo.folder / "packaging/locks/bookworm/web.txt"
    text, built = file.read_text(), wheel("dash", "2").sha256
    assert built in text
    file.write_text(text.replace(built, sha("another file")))
    demo.index["dash"] = "3"
    demo.lock(TOMORROW)
    assert file.read_text() == text
    assert "build dash-2.tar.gz" in demo.asked


def test_a_new_target_leaves_the_other_targets_bits_alone(locked: World) -> None:
    stack = (locked.folder / "packaging/stack.toml").read_text()
    block = stack[stack.index("[[targets]]") : stack.index("[[channels]]")]
    second = block.replace("bookworm", "trixie").replace("deb12", "deb13").replace("3.11", "3.13")
    locked.edit("stack.toml", block, block + second)
    planned = locked.lock(TOMORROW)
    assert planned.lock.release == "2026.11.24.1"
    assert planned.lock.packages["web"].changed_in == "2026.11.23.1"
    assert set(planned.lock.packages["web"].inputs) == {"bookworm", "trixie"}
    assert set(planned.files) == {f"trixie/{n}.txt" for n in ("web", "feed", "feed.build")}


def test_a_removed_component_takes_its_files_along(locked: World) -> None:
    locked.edit("stack.toml", '"feed", "web"', '"web"')
    (locked.folder / "packaging/components/feed.toml").unlink()
    planned = locked.lock()
    assert planned.removed == ("bookworm/feed.build.txt", "bookworm/feed.txt")
    assert set(planned.lock.components) == {"web"}
    assert package(locked, "web").changed_in == "2026.11.23.1"
    assert disagreements(locked) == []


def test_the_same_commit_with_another_tree_is_refused(locked: World) -> None:
    commit = locked.refs[FEED_URL, "main"]
    locked.trees[commit] = {"pyproject.toml": PYPROJECT, "evil.py": "1"}
    with pytest.raises(SourceError, match="not what the lock says"):
        locked.lock()


@pytest.mark.parametrize("spoil", ["index", "ref", "requirements"])
def test_nothing_is_written_on_errors(locked: World, spoil: str) -> None:
    locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    if spoil == "index":
        locked.edit("components/web.toml", "gunicorn>=22,<24", "nowhere")
    elif spoil == "ref":
        locked.edit("components/web.toml", '"v1.2"', '"v9"')
    else:
        locked.commit(WEB_URL, "v1.2", {})
    before = snapshot(locked.folder)
    with pytest.raises((DependencyError, SourceError)):
        locked.lock()
    assert snapshot(locked.folder) == before


def test_a_clock_that_went_back_gives_a_higher_release_and_no_earlier_time(locked: World) -> None:
    locked.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a.py": "1"})
    planned = locked.lock(NOON - timedelta(days=3))
    assert planned.lock.release == "2026.11.23.2"
    assert planned.lock.timestamp == int(NOON.timestamp())


def test_further_packages_have_versions_too(demo: World) -> None:
    planned = plan(
        demo.definition(), demo.folder, None, demo.tools, now=NOON, packages=["trading-ibgateway"]
    )
    target = demo.definition().target("bookworm")
    assert planned.lock.version("trading-ibgateway", target) == "2026.11.23.1~deb12"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("components/feed.toml", '"build/feed.git"', '"build/other.git"',
         "feed: url is build/other.git, locked was build/feed.git"),
        ("components/feed.toml", '"main"', '"dev"', "feed: ref is dev, locked was main"),
        ("components/feed.toml", '"the feed"', '"a feed"',
         "feed: what enters it for bookworm has changed since it was locked"),
        ("components/web.toml", 'install = "tree"', 'install = "wheel"',
         "bookworm/web.build.txt: is not recorded in repos.lock"),
        ("repos.lock", "[packages.web]", "[packages.wob]",
         "web: this package is not in repos.lock"),
        ("repos.lock", "[packages.web]", "[packages.wob]",
         "wob: repos.lock has this package, the definitions do not"),
        ("stack.toml", 'name = "bookworm"', 'name = "trixie"',
         "bookworm/web.txt: belongs to no component and target"),
        ("stack.toml", 'python = "3.11"', 'python = "3.13"',
         "bookworm/web.txt: is the lock of web bookworm 3.11 run, expected web bookworm 3.13 run"),
        ("locks/bookworm/web.txt", "dash==2", "dash==1",
         "bookworm/web.txt: was edited: expected sha256"),
        ("repos.lock", "[components.web]", "[components.wob]",
         "web: this component is not in repos.lock"),
    ],
)  # fmt: skip
def test_check_names_every_disagreement(
    locked: World, file: str, old: str, new: str, expected: str
) -> None:
    lock = locked.previous()
    if file == "repos.lock":
        path = lock_file(locked.folder)
        text = path.read_text().replace("components.web", "components.wob")
        path.write_text(text.replace("packages.web", "packages.wob"))
        lock = locked.previous()
    else:
        locked.edit(file, old, new)
    assert lock is not None
    locked.asked.clear()
    found = check(locked.definition(), locked.folder, lock, locked.input_digest)
    assert any(str(each).startswith(expected) for each in found), found
    assert locked.asked == []


def test_check_names_a_missing_dependency_lock(locked: World) -> None:
    (locked.folder / "packaging/locks/bookworm/web.txt").unlink()
    (found,) = disagreements(locked)
    assert found.startswith("bookworm/web.txt: is missing (restore it with git")


def test_the_lock_says_who_vouches_and_asks_the_server_only_for_what_may_move(
    locked: World,
) -> None:
    commit = locked.refs[FEED_URL, "main"]
    lock = read_lock(lock_file(locked.folder))
    assert lock.components["feed"].refs == {"refs/heads/main": commit}
    locked.wanted.clear()
    locked.lock(components=["web"])
    feed, web = locked.wanted
    assert (feed.ask, web.ask) == (False, True)
    assert (feed.refs, feed.tree) == (
        lock.components["feed"].refs, lock.components["feed"].tree,
    )  # fmt: skip
    assert feed.policy.urls == (FEED_URL,)


def test_moved_tags_are_accepted_only_when_asked_for(locked: World) -> None:
    locked.wanted.clear()
    plan(locked.definition(), locked.folder, locked.previous(), locked.tools, now=NOON)
    assert all(each.refs for each in locked.wanted)
    locked.wanted.clear()
    plan(
        locked.definition(), locked.folder, locked.previous(), locked.tools, now=NOON,
        accept_moved_tags=True,
    )  # fmt: skip
    assert not any(each.refs for each in locked.wanted)


def test_another_address_owes_nothing_to_the_refs_of_the_first(locked: World) -> None:
    commit = locked.refs[FEED_URL, "main"]
    locked.refs["build/new.git", "main"] = commit
    locked.edit("components/feed.toml", FEED_URL, "build/new.git")
    locked.wanted.clear()
    locked.lock()
    assert locked.wanted[0].refs == {}
    assert locked.wanted[0].policy.urls == ("build/new.git",)


def test_only_the_named_distribution_moves(locked: World) -> None:
    locked.index |= {"dash": "3", "gunicorn": "23", "idna": "4"}
    planned = locked.lock(upgrade=["dash"])
    assert set(planned.files) == {"bookworm/web.txt"}
    versions = parse_requirements(planned.files["bookworm/web.txt"], "web.txt").versions()
    assert versions == {"dash": "3", "gunicorn": "22", "uvicorn": "1"}
    assert package(locked, "feed").changed_in == "2026.11.23.1"


def test_a_distribution_that_nobody_depends_on_is_named(locked: World) -> None:
    with pytest.raises(LockError, match="no component depends on dahs") as raised:
        locked.plan(upgrade=["dahs"])
    assert raised.value.hint == "did you mean dash?"


def test_what_is_resolved_is_resolved_as_on_that_day(locked: World) -> None:
    locked.excluded.clear()
    locked.plan(upgrade=EVERYTHING, exclude_newer="2026-11-01T00:00:00+00:00")
    assert set(locked.excluded) == {"2026-11-01T00:00:00+00:00"}


def test_what_has_no_wheel_is_built_once_and_locked_with_what_built_it(locked: World) -> None:
    locked.edit("components/web.toml", "extra_req", 'sdists = ["dash"]\nextra_req')
    planned = locked.lock()
    assert locked.asked.count("build dash-2.tar.gz") == 1
    text = planned.files["bookworm/web.txt"]
    assert f"#   built from dash-2.tar.gz 50 sha256:{sha('source dash2')}\n#   with setup" in text
    dash = next(each for each in parse_requirements(text, "web.txt").wheels if each.name == "dash")
    assert dash.built is not None
    assert [each.name for each in dash.built.requires] == ["setuptools"]
    # Something else changes: the wheel that was built stays.
    locked.index["pandas"] = "2"
    locked.commit(WEB_URL, "v1.2", {"requirements.txt": "dash\npandas\n"})
    planned = locked.lock()
    assert "bookworm/web.txt: + pandas 2 (its requirements changed)" in str(planned.changes[1])
    assert "build dash-2.tar.gz" not in locked.asked
    locked.index["dash"] = "3"
    locked.lock(upgrade=["dash"])
    assert "build dash-3.tar.gz" in locked.asked
