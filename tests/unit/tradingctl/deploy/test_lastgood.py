"""The record of the release that was verified last."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.deploy.lastgood import LastGood, read_last_good, write_last_good
from tradingctl.errors import TradingError

GOOD = LastGood("2", "2~deb12", {"board": "2"}, "2026-11-24T03:00:00+00:00", {"board": "OK"})


def test_the_record_survives(machine: Machine) -> None:
    assert read_last_good(machine.paths) is None
    write_last_good(machine.paths, GOOD)
    assert read_last_good(machine.paths) == GOOD
    assert machine.paths.last_good.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["", "[]", '{"release": "2"}', '{"packages": 7}', "\udcff"])
def test_a_record_that_cannot_be_read_is_named_with_the_way_out(
    machine: Machine, text: str
) -> None:
    path = machine.write("var/lib/trading/last-good.json", "")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TradingError) as raised:
        read_last_good(machine.paths)
    assert raised.value.message.startswith(f"{path}: ")
    assert raised.value.next_command.startswith(f"mv {path} {path}.broken && ")
