"""Several things at a time."""

from __future__ import annotations

import pytest

from debstack.pipeline.parallel import parallel


def test_results_come_in_the_order_of_the_items() -> None:
    assert parallel(3, str, [3, 1, 2]) == ["3", "1", "2"]
    assert parallel(1, str, []) == []


def test_what_has_not_begun_when_one_fails_does_not_begin() -> None:
    begun = []

    def one(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        parallel(1, one, list(range(100)))
    assert len(begun) < 100
