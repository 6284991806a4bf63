"""A server in Berlin that has the holidays that are shipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.tradingctl.fakes import Machine
from tests.unit.tradingctl.market.moments import SHIPPED, clocks_of


@pytest.fixture(autouse=True)
def in_berlin() -> Iterator[None]:
    """Let local times be those of Berlin."""
    with clocks_of("Europe/Berlin"):
        yield


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """Give the server the holidays that are shipped."""
    machine.write("usr/share/trading/nyse-holidays", (SHIPPED / "nyse-holidays").read_text())
    return machine
