"""Several things at a time, of which the first that fails ends the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel(jobs: int, one: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what ``one`` makes of each of ``items``, in their order, ``jobs`` at a time.

    They are begun in that order. What has not begun when one fails does not begin any more; the
    failure is raised when those at work have ended.
    """
    with ThreadPoolExecutor(jobs) as pool:
        results = [pool.submit(one, item) for item in items]
        try:
            done, _ = wait(results, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown(cancel_futures=any(each.exception() for each in done))
        for each in done:
            each.result()
        return [each.result() for each in results]
