"""The deploy window: when an upgrade is refused, what is said, and the way around it."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.unit.tradingctl.fakes import Machine
from tests.unit.tradingctl.market.moments import berlin, clocks_of, new_york

from tradingctl.deploy.history import read_events
from tradingctl.errors import WindowError
from tradingctl.market.window import require_open

REFUSE = "UPGRADES_DURING_MARKET_HOURS=refuse\n"
TRADING = new_york("2026-11-24 10:02")


def refused(machine: Machine, now: datetime) -> WindowError | None:
    try:
        require_open(machine.server, now)
    except WindowError as error:
        return error
    return None


def test_without_settings_any_time_is_good(machine: Machine) -> None:
    assert refused(machine, TRADING) is None
    machine.write("etc/trading/deploy.conf", "MINUTES_BEFORE_OPEN=30\n")
    assert refused(machine, TRADING) is None
    machine.write("etc/trading/deploy.conf", "UPGRADES_DURING_MARKET_HOURS=allow\n")
    assert refused(machine, TRADING) is None


def test_a_refusal_says_what_time_it_is_until_when_and_what_to_type(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    error = refused(machine, TRADING)
    assert error
    assert error.exit_code == 5
    assert error.message == (
        "no upgrade now: in New York it is Tue 2026-11-24 10:02 EST (16:02 CET here);"
        " the market is open until 16:00 EST (22:00 CET here);"
        " /etc/trading/deploy.conf allows upgrades again from 16:00 EST (22:00 CET here) on"
    )
    assert error.next_command == (
        "wait until 16:00 EST (22:00 CET here), or say that it cannot wait:"
        " touch /run/trading/ignore-window (until the next boot),"
        " or TRADING_IGNORE_WINDOW=1 before the command"
    )
    with clocks_of("America/New_York"):
        error = refused(machine, TRADING)
        assert error
        assert "the market is open until 16:00 EST;" in error.message
    assert list(read_events(machine.server)) == []
    assert machine.err.getvalue() == ""


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (berlin("2026-03-16 15:00"), True),  # 10:00 in New York, while Europe has winter
        (berlin("2026-03-16 21:30"), False),
        (berlin("2026-10-28 14:45"), True),
        (berlin("2026-11-02 14:45"), False),
        (new_york("2026-11-26 12:00"), False),
        (new_york("2026-11-27 12:59"), True),
        (new_york("2026-11-27 13:00"), False),
        (new_york("2026-11-28 12:00"), False),
    ],
)
def test_the_exchanges_own_hours_count(machine: Machine, now: datetime, expected: bool) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    assert bool(refused(machine, now)) is expected


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-24 08:59", ""),
        ("2026-11-24 09:00", "the market opens at 09:30 EST (15:30 CET here) and closes at 16:00"),
        ("2026-11-24 16:14", "the market closed at 16:00 EST (22:00 CET here); /etc/"),
        ("2026-11-24 16:15", ""),
        ("2026-11-27 13:14", "the market closed at 13:00 EST"),
        ("2026-11-27 13:15", ""),
    ],
)
def test_margins_make_it_longer(machine: Machine, now: str, said: str) -> None:
    margins = "MINUTES_BEFORE_OPEN=30\nMINUTES_AFTER_CLOSE=15\n"
    machine.write("etc/trading/deploy.conf", REFUSE + margins)
    error = refused(machine, new_york(now))
    assert bool(error) is bool(said)
    if error:
        assert said in error.message
        assert error.next_command.startswith("wait until ")


def test_what_brings_lost_holidays_back_is_not_refused_for_them(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    (machine.root / "usr/share/trading/nyse-holidays").unlink()
    error = refused(machine, TRADING)
    assert error
    assert error.next_command == (
        "TRADING_IGNORE_WINDOW=1 apt-get install --reinstall traderunner-common"
    )
    machine.environ["TRADING_IGNORE_WINDOW"] = "1"
    assert refused(machine, TRADING) is None


def test_the_administrators_holidays_replace_ours(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE + "HOLIDAYS_FILE=/etc/trading/days\n")
    machine.write("etc/trading/days", "2026-11-24  # a day of mourning\n")
    assert refused(machine, TRADING) is None
    assert refused(machine, new_york("2026-11-26 12:00"))


def test_settings_that_are_not_understood_refuse(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", "UPGRADES=never\n")
    error = refused(machine, new_york("2026-11-28 12:00"))
    assert error
    assert "not known whether one is allowed now: /etc/trading/deploy.conf: line 1:" in str(error)
    assert error.next_command == "sensible-editor /etc/trading/deploy.conf"


def test_holidays_that_are_not_understood_refuse(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    machine.write("usr/share/trading/nyse-holidays", "tomorrow\n")
    error = refused(machine, new_york("2026-11-28 12:00"))
    assert error
    assert "/usr/share/trading/nyse-holidays: line 1: 'tomorrow'" in error.message


def test_holidays_that_have_ended_are_told(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    assert refused(machine, new_york("2029-01-02 12:00"))
    assert machine.err.getvalue() == (
        "warning: /usr/share/trading/nyse-holidays knows no holiday from today on;"
        " every weekday counts as a trading day\n"
    )


@pytest.mark.parametrize("settings", [REFUSE, "nonsense\n"])
def test_the_override_by_environment_is_loud_and_logged(machine: Machine, settings: str) -> None:
    machine.write("etc/trading/deploy.conf", settings)
    machine.environ["TRADING_IGNORE_WINDOW"] = "1"
    assert refused(machine, TRADING) is None
    assert (
        "WARNING: the deploy window is ignored, TRADING_IGNORE_WINDOW=1" in machine.err.getvalue()
    )
    (event,) = read_events(machine.server)
    assert event.event == "window-override"
    assert "TRADING_IGNORE_WINDOW=1 is set; no upgrade" in event.detail
    assert machine.system.ran("logger -t tradingctl")


def test_the_override_by_file_is_logged(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    machine.write("run/trading/ignore-window", "")
    assert refused(machine, TRADING) is None
    (event,) = read_events(machine.server)
    assert "/run/trading/ignore-window exists" in event.detail


def test_an_override_that_is_not_needed_is_not_logged(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    machine.environ["TRADING_IGNORE_WINDOW"] = "1"
    assert refused(machine, new_york("2026-11-28 12:00")) is None
    assert list(read_events(machine.server)) == []
    machine.environ["TRADING_IGNORE_WINDOW"] = "0"
    assert refused(machine, TRADING)


def test_the_time_is_the_servers_unless_given(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", REFUSE)
    machine.today = TRADING
    with pytest.raises(WindowError):
        require_open(machine.server)
    machine.today = new_york("2026-11-28 12:00")
    require_open(machine.server)
