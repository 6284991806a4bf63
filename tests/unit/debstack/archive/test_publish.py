"""What a publisher does in turn with others, up to the moment before anything is written."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from tests.unit.debstack.archive.test_plan import KEY, SUITE

from debstack.archive.content import About
from debstack.archive.plan import Plan
from debstack.archive.publish import Publisher
from debstack.archive.tree import Tree, make_folder
from debstack.log import Log
from debstack.process import Runner

BEFORE, AFTER = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (18, 19))


class StopError(Exception):
    """Ends a publication when its plan is known."""


def is_held(lock: Path) -> bool:
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_time_of_a_publication_is_that_after_waiting_for_others(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    make_folder(tree.generations)
    lock = tree.generations / ".lock"
    publisher = Publisher(
        tree.root,
        lambda: AFTER if is_held(lock) else BEFORE,
        timedelta(days=30),
        Runner(),
        Log(StringIO()),
    )
    plans: list[Plan] = []

    def approve(plan: Plan) -> None:
        plans.append(plan)
        raise StopError

    with pytest.raises(StopError):
        publisher.publish(SUITE, [], [KEY], About("2026.11.23.1"), approve)
    assert [each.published for each in plans[0].content.releases] == [AFTER]
