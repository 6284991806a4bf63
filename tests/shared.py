"""What is made once in a run of the tests, whichever of its processes needs it first."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FOLDER = "DEBSTACK_TEST_SHARED"
"""The variable that names the run's folder."""


def shared(name: str, make: Callable[[Path], T]) -> T:
    """Return what ``make`` returned for a new folder; all but the first to ask get a copy of that.

    What is in the folder is not changed afterwards. If ``make`` fails, who asks next tries again.
    """
    folder = Path(os.environ[FOLDER]) / name
    value = folder.with_name(f"{name}.pickle")
    with folder.with_name(f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if value.is_file():
            made: T = pickle.loads(value.read_bytes())  # noqa: S301  (of this run)
            return made
        shutil.rmtree(folder, ignore_errors=True)
        made = make(folder)
        value.write_bytes(pickle.dumps(made))
        return made


def link_deb_or_copy(source: str, target: str) -> str:
    """Link a package, which is only ever replaced and never written to; copy any other file."""
    if source.endswith(".deb"):
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
        return target
    return shutil.copy2(source, target, follow_symlinks=False)
