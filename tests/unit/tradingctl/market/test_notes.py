"""What ``status`` says of the market."""

from __future__ import annotations

from tests.unit.tradingctl.fakes import Machine
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
