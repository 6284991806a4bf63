"""Fixtures of the server side."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a server with systemd and the services' account, and nothing installed."""
    return Machine(tmp_path.resolve())
