"""Several questions at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def for_each(function: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
    """Return ``function`` of each item, in order, each computed in a thread of its own.

    Raises what the first of them raised. The threads do not keep an interrupted program alive,
    which those of concurrent.futures would.
    """
    made: dict[int, Made] = {}
    raised: dict[int, BaseException] = {}

    def work(place: int, item: Item) -> None:
        try:
            made[place] = function(item)
        except BaseException as error:
            raised[place] = error

    threads = [
        threading.Thread(target=work, args=(place, item), daemon=True)
        for place, item in enumerate(items)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[min(raised)]
    return [made[place] for place in range(len(items))]
