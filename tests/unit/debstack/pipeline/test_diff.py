"""The difference between two locks, and what is not known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.world import FEED_URL, PYPROJECT, WEB_URL, World, world

from debstack.model.lock import Lock
from debstack.pipeline.diff import RequirementLocks, diff, read_requirements

Side = tuple[Lock, RequirementLocks]


@pytest.fixture
def demo(tmp_path: Path) -> World:
    made = world(tmp_path)
    made.lock()
    return made


def side(demo: World) -> Side:
    lock = demo.previous()
    assert lock is not None
    return lock, read_requirements(lock, demo.folder / "packaging/locks")


def move(demo: World) -> tuple[Side, Side]:
    """Move web to another commit with other requirements; return both sides."""
    old = side(demo)
    demo.index["pandas"] = "2"
    demo.commit(WEB_URL, "v1.2", {"requirements.txt": "pandas\n"})
    demo.lock()
    return old, side(demo)


def test_no_difference(demo: World) -> None:
    lock, requirements = side(demo)
    assert len(requirements) == 3
    found = diff(lock, requirements, lock, requirements)
    assert found.text() == "release 2026.11.23.1: no difference\n"


def test_a_moved_component(demo: World) -> None:
    old, new = move(demo)
    found = diff(*old, *new, lambda url, a, b: ["abc1234 show more"])
    was, now = (lock.components["web"].commit[:7] for lock in (old[0], new[0]))
    assert found.text() == (
        "release 2026.11.23.1 -> 2026.11.23.2\n"
        "\n"
        f"web {was} -> {now}\n"
        "  with abc1234 show more\n"
        "  bookworm/web.txt:\n"
        "    - dash 2\n"
        "    + pandas 2\n"
        "\n"
        "packages:\n"
        "  traderunner-stack 2026.11.23.1 -> 2026.11.23.2\n"
        "  web 2026.11.23.1 -> 2026.11.23.2\n"
    )


def test_an_older_commit_is_called_one_and_says_what_is_left_out(demo: World) -> None:
    new, old = move(demo)
    order = [new[0].components["web"].commit, old[0].components["web"].commit]

    def subjects(url: str, a: str, b: str) -> Sequence[str] | None:
        return ["abc1234 show more"] if [a, b] == order else None

    (web,) = diff(*old, *new, subjects).components
    assert web.backwards
    assert web.subjects == ("abc1234 show more",)
    text = diff(*old, *new, subjects).text()
    assert "(an older commit)\n  without abc1234 show more\n" in text


def test_a_history_that_is_not_at_hand_is_said_to_be_unknown(demo: World) -> None:
    old, new = move(demo)
    for subjects in (None, lambda url, a, b: None):
        assert "commits between the two are not known" in diff(*old, *new, subjects).text()


def test_many_commits_are_counted(demo: World) -> None:
    old, new = move(demo)
    text = diff(*old, *new, lambda url, a, b: [f"{n} x" for n in range(25)]).text()
    assert "  with 19 x\n  with 5 more commits\n" in text


def test_a_lock_that_comes_alone_leaves_its_distributions_unknown(demo: World) -> None:
    old, new = move(demo)
    # Beside a lock taken out of the history lie the files of the present.
    beside = read_requirements(old[0], demo.folder / "packaging/locks")
    assert set(beside) == {"bookworm/feed.txt", "bookworm/feed.build.txt"}
    (web,) = diff(old[0], beside, *new).components
    assert [each.changes for each in web.dependencies] == [None]
    assert "differs; the distributions of one side are unknown" in diff(old[0], {}, *new).text()


def test_components_that_came_and_went(demo: World) -> None:
    old = side(demo)
    demo.edit("stack.toml", '"feed", "web"', '"web"')
    (demo.folder / "packaging/components/feed.toml").unlink()
    demo.lock()
    new = side(demo)
    short = old[0].components["feed"].commit[:7]
    assert f"feed removed, was {short}\n" in diff(*old, *new).text()
    text = diff(*new, *old).text()
    assert f"feed added at {short}\n" in text
    assert "  bookworm/feed.txt:\n    + idna 3.7\n" in text
    assert "  feed added at 2026.11.23.1\n" in text


def test_a_changed_address_and_ref_of_the_same_commit(demo: World) -> None:
    lock, requirements = side(demo)
    feed = replace(lock.components["feed"], url="elsewhere", ref="dev")
    new = replace(lock, release="2026.11.23.2", components={**lock.components, "feed": feed})
    text = diff(lock, requirements, new, requirements, lambda url, a, b: []).text()
    assert "(same commit)\n  url: build/feed.git -> elsewhere\n  ref: main -> dev\n" in text
    assert "not known" not in text


def test_damaged_dependency_files_count_as_missing(demo: World) -> None:
    demo.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT, "a": "b"})
    (demo.folder / "packaging/locks/bookworm/web.txt").write_bytes(b"\xff")
    lock = demo.previous()
    assert lock is not None
    assert "bookworm/web.txt" not in read_requirements(lock, demo.folder / "packaging/locks")
