"""The commits of a release, recorded when it is locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from debstack.log import Log
from debstack.model.lock import Lock, LockedComponent, LockedPackage, read_lock
from debstack.pipeline.changes import with_changes
from debstack.pipeline.lock import LockPlan

OLD, NEW = "1" * 40, "2" * 40
URL = "https://git.example.org/web"


def lock(commit: str, release: str, changed_in: str | None = None) -> Lock:
    return Lock(
        1, release, 1_795_300_000,
        {"web": LockedComponent(URL, "main", commit, "3" * 64)},
        {"web": LockedPackage(changed_in or release, 1_795_300_000, {"bookworm": "4" * 64}),
         "traderunner-stack": LockedPackage(release, 1_795_300_000, {"bookworm": "5" * 64})},
    )  # fmt: skip


class History:
    """Answers with subjects for the pairs that it knows, and remembers what it was asked."""

    def __init__(self, known: dict[tuple[str, str], list[str]]) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []

    def __call__(self, url: str, first: str, last: str) -> Sequence[str] | None:
        """Return the subjects after ``first`` up to ``last``."""
        assert url == URL
        self.asked.append((first, last))
        return self.known.get((first, last))


def recorded(new: Lock, old: Lock | None, history: History, *, is_new: bool = True) -> Lock:
    plan = LockPlan((), new, {}, (), is_new=is_new)
    return with_changes(plan, old, history, Log(quiet=True)).lock


BEFORE = lock(OLD, "2026.11.23.1")


def test_the_commits_since_the_version_before() -> None:
    history = History({(OLD, NEW): ["2222222 Second\x1b[0m", "1234567 First, closes: #1"]})
    found = recorded(lock(NEW, "2026.11.24.1"), BEFORE, history)
    assert found.packages["web"].before == OLD
    assert found.packages["web"].changes == ("2222222 Second [0m", "1234567 First, closes #1")
    assert found.packages["traderunner-stack"].before == ""


def test_an_older_commit_says_what_it_leaves_out() -> None:
    history = History({(NEW, OLD): ["1111111 Feature"]})
    found = recorded(lock(NEW, "2026.11.24.1"), BEFORE, history)
    assert found.packages["web"].changes == ("without 1111111 Feature",)


def test_another_history_is_said_to_be_unknown() -> None:
    (line,) = recorded(lock(NEW, "2026.11.24.1"), BEFORE, History({})).packages["web"].changes
    assert line == "2222222 does not follow 1111111; what differs is not known"


def test_a_long_history_is_cut() -> None:
    history = History({(OLD, NEW): [f"{n:07} x" for n in range(250)]})
    found = recorded(lock(NEW, "2026.11.24.1"), BEFORE, history).packages["web"].changes
    assert (len(found), found[-1]) == (101, "150 more commits")


def test_an_unchanged_commit_has_no_changes() -> None:
    history = History({})
    found = recorded(lock(OLD, "2026.11.24.1"), BEFORE, history).packages["web"]
    assert (found.before, found.changes, history.asked) == (OLD, (), [])


@pytest.mark.parametrize("is_new", [True, False])
def test_a_package_that_stays_keeps_what_is_recorded(is_new: bool) -> None:
    kept = replace(BEFORE.packages["web"], before=NEW, changes=("abc Earlier",))
    old = replace(BEFORE, packages={**BEFORE.packages, "web": kept})
    new = lock(OLD, "2026.11.24.1", "2026.11.23.1")
    new = replace(new, packages={**new.packages, "web": kept})
    assert recorded(new, old, History({}), is_new=is_new).packages["web"] == kept


def test_the_first_release_has_nothing_before_it() -> None:
    assert recorded(lock(NEW, "2026.11.24.1"), None, History({})) == lock(NEW, "2026.11.24.1")


def test_a_component_that_is_new_has_nothing_before_it() -> None:
    old = replace(BEFORE, components={})
    assert recorded(lock(NEW, "2026.11.24.1"), old, History({})).packages["web"].before == ""


def test_what_is_recorded_can_be_read_again(tmp_path: Path) -> None:
    history = History({(OLD, NEW): ['2222222 "quoted" and é']})
    found = recorded(lock(NEW, "2026.11.24.1"), BEFORE, history)
    found.write(tmp_path / "repos.lock")
    assert read_lock(tmp_path / "repos.lock") == found
