"""The lock in packaging/ is that of the definitions, templates and code beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from debstack.model.lock import read_lock
from debstack.model.places import lock_file
from debstack.model.reading import load
from debstack.pipeline.lock_check import check
from debstack.pipeline.packages import IBGATEWAY, input_digest

PROJECT = Path(__file__).parents[2]


def test_the_committed_lock_agrees_with_what_it_locks() -> None:
    lock = read_lock(lock_file(PROJECT))
    found = check(load(PROJECT), PROJECT, lock, partial(input_digest, PROJECT), (IBGATEWAY,))
    assert [str(each) for each in found] == [], "run: debstack lock"
