"""What the processes that take part in one run of the tests have in common."""

from __future__ import annotations

import os
import tempfile

import pytest
from tests.shared import FOLDER
from tests.system.machine import cache_directory


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of what is shared, in the process that the others are started by."""
    if FOLDER not in os.environ:
        cache_directory().mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="tests-", dir=cache_directory())
        os.environ[FOLDER] = folder.name

        def forget() -> None:
            del os.environ[FOLDER]
            folder.cleanup()

        config.add_cleanup(forget)
