"""A folder that is made once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from debstack.once import once


def test_it_is_made_once_under_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "below" / "made"
    names = []

    def make(unfinished: Path) -> None:
        names.append(unfinished.name)
        assert not folder.exists()
        unfinished.mkdir()
        (unfinished / "file").write_text("whole")

    assert once(folder, make) == once(folder, make) == folder
    assert (folder / "file").read_text() == "whole"
    assert names == [".made.unfinished"]


def test_what_fails_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".made.unfinished").mkdir()
    (tmp_path / ".made.unfinished" / "of a killed one").write_text("half")

    def fail(unfinished: Path) -> None:
        assert not unfinished.exists()
        unfinished.mkdir()
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        once(tmp_path / "made", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".made.lock"]


def test_of_two_at_once_one_makes_it(tmp_path: Path) -> None:
    begun, makers = threading.Event(), []

    def make(unfinished: Path) -> None:
        makers.append(unfinished)
        unfinished.mkdir()
        begun.set()
        second.start()

    second = threading.Thread(target=lambda: once(tmp_path / "made", make))
    once(tmp_path / "made", make)
    assert begun.is_set()
    second.join()
    assert len(makers) == 1
