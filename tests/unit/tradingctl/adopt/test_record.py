"""What was taken over, as it is written down."""

from __future__ import annotations

import os

from tests.unit.tradingctl.fakes import Machine

from tradingctl.adopt import record
from tradingctl.adopt.record import Adoption, Kind, State, Step


def test_names_are_read_as_they_were_also_those_that_are_not_utf_8(machine: Machine) -> None:
    machine.paths.state.mkdir(parents=True)
    names = os.fsdecode(b"/srv/B\xf6rse.env"), "/srv/Börse.env"
    steps = tuple(Step(Kind.ASIDE, "board", name, "", "by hand") for name in names)
    adoption = Adoption(State.ADOPTED, "1", ("board",), "root", "2026", "s", steps=steps)
    record.append(machine.server, adoption)
    assert record.read(machine.paths) == (adoption,)
