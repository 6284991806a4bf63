"""Fixtures of releases."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import Dpkg, World
from tests.unit.tradingctl.fakes import Machine


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a server on which nothing was ever installed."""
    dpkg = Dpkg()
    return World(Machine(tmp_path.resolve(), system=dpkg), dpkg, monkeypatch)


@pytest.fixture
def world(bare: World) -> World:
    """Give a server on which release 1 is installed and verified."""
    assert bare.apt("1") == 0
    bare.said()
    bare.dpkg.commands.clear()
    bare.dpkg.variables.clear()
    return bare
