"""A server that was laid out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tradingctl.adopt.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a server on which everything runs as it was laid out by hand; no package is there."""
    monkeypatch.setattr("os.sync", lambda: None)  # seconds on a busy machine
    monkeypatch.setattr("os.fsync", lambda _: None)
    return World.laid_out(tmp_path.resolve())
