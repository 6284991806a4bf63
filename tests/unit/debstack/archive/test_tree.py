"""Who may change the archive."""

from __future__ import annotations

import fcntl
from pathlib import Path

from tests.unit.debstack.archive.test_publish import is_held

from debstack.archive.tree import Tree, locked, make_folder


def test_a_lock_that_was_replaced_while_waiting_is_taken_anew(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    make_folder(tree.generations)
    path = tree.generations / ".lock"
    with path.open("wb") as former:
        fcntl.flock(former, fcntl.LOCK_EX)

        def waiting() -> None:
            new = path.with_name(".lock.new")
            new.touch()
            new.replace(path)
            fcntl.flock(former, fcntl.LOCK_UN)

        with locked(tree, waiting):
            assert is_held(path)
    assert not is_held(path)
