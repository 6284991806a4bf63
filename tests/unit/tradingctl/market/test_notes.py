"""What ``status`` says of the market."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine, unit_state
from tests.unit.tradingctl.market.moments import new_york

from tradingctl.market.notes import market_notes


def test_a_close_at_which_nothing_is_stopped_is_said_until_it_is_over(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", "HOLIDAYS_FILE=/etc/trading/days\n")
    machine.write(
        "etc/trading/days", "2026-12-24 14:00\n2026-11-27 13:00\n2026-07-02 12:00\n2027-01-01\n"
    )
    machine.today = new_york("2026-12-24 15:00")
    assert list(market_notes(machine.server)) == [
        "/etc/trading/days: 2026-12-24 ends at 14:00, when nothing is stopped unless you had the"
        " timer elapse then; next: systemctl edit trading-market-close.timer"
        "  # [Timer] OnCalendar=2026-12-24 14:00 America/New_York"
    ]
    machine.today = new_york("2026-12-25 09:00")
    assert list(market_notes(machine.server)) == []


@pytest.mark.parametrize(("enabled", "active", "said"), [
    ("enabled", "inactive", True),
    ("enabled", "active", False),
    ("disabled", "inactive", False),
])  # fmt: skip
def test_a_timer_that_is_enabled_and_not_started_is_said(
    machine: Machine, enabled: str, active: str, said: bool
) -> None:
    names = ("trading-market-open.timer", "trading-market-close.timer")
    for name in names:
        machine.system.units[name] = [unit_state(name, UnitFileState=enabled, ActiveState=active)]
    timers = " ".join(names)
    note = f"enabled and not started until the next boot: {timers}; next: systemctl start {timers}"
    assert list(market_notes(machine.server)) == [note] * said


def test_without_systemd_nothing_is_said_of_timers(machine: Machine) -> None:
    (machine.root / "run/systemd/system").rmdir()
    assert list(market_notes(machine.server)) == []
    assert machine.system.ran("systemctl") == []
