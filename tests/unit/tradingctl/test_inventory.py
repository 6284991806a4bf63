"""Reading what is installed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.errors import TradingError
from tradingctl.inventory import Inventory, read_inventory, read_inventory_of


def test_without_a_stack_the_release_is_the_newest_of_the_components() -> None:
    components = [
        replace(stream(), release="2026.11.29.10"),
        replace(stream(), release="2026.11.29.9"),
        replace(stream(), release="2026.3.30.11"),
    ]
    assert Inventory(tuple(components), None).release == "2026.11.29.10"


def test_a_bad_description_of_another_component_keeps_no_service_from_starting(
    machine: Machine,
) -> None:
    machine.describe(stream())
    machine.write("usr/share/trading/components/another.json", '{"schema": 1, "nmae": "x"}')
    with pytest.raises(TradingError, match=r"another\.json"):
        read_inventory(machine.paths)
    found = read_inventory_of(machine.paths, "marketdata-stream.service")
    assert found.unit("marketdata-stream")[0] == stream()


def test_a_unit_that_nobody_describes_is_an_error(machine: Machine) -> None:
    machine.describe(stream())
    with pytest.raises(TradingError, match="no unit 'other'"):
        read_inventory_of(machine.paths, "other").unit("other")
