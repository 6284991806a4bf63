"""/etc/trading/deploy.conf: what it may say."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine
from tests.unit.tradingctl.market.moments import SHIPPED

from tradingctl.errors import MarketSettingsError
from tradingctl.market.settings import (
    MARKET_UNITS,
    MarketSettings,
    holidays_of,
    read_market_settings,
)

EXAMPLE = SHIPPED.parents[3] / "debian/deploy.conf"


def test_without_a_file_upgrades_are_made_at_any_time(machine: Machine) -> None:
    settings = read_market_settings(machine.paths)
    assert settings == MarketSettings()
    assert not settings.refuse_upgrades
    assert settings.units == MARKET_UNITS


def test_every_key_is_read_quoted_or_not(machine: Machine) -> None:
    machine.write(
        "etc/trading/deploy.conf",
        "# ours\n\nUPGRADES_DURING_MARKET_HOURS=refuse\nMINUTES_BEFORE_OPEN=30\n"
        "MINUTES_AFTER_CLOSE='15'\nHOLIDAYS_FILE=/etc/trading/days\n"
        'MARKET_UNITS="one two.service"\n',
    )
    assert read_market_settings(machine.paths) == MarketSettings(
        written="/etc/trading/deploy.conf",
        refuse_upgrades=True,
        before_open=30,
        after_close=15,
        holidays_file="/etc/trading/days",
        units=("one", "two"),
        units_named=True,
    )


def test_the_example_is_understood_and_its_comments_are_the_defaults(machine: Machine) -> None:
    text = EXAMPLE.read_text()
    machine.write("etc/trading/deploy.conf", text)
    assert read_market_settings(machine.paths) == MarketSettings(
        written="/etc/trading/deploy.conf", refuse_upgrades=True
    )
    commented = [line[1:] for line in text.splitlines() if line.startswith("#M")]
    assert len(commented) == 3
    machine.write("etc/trading/deploy.conf", "\n".join(commented))
    settings = read_market_settings(machine.paths)
    assert (settings.before_open, settings.after_close, settings.units) == (0, 0, MARKET_UNITS)
    assert f"#HOLIDAYS_FILE=/{machine.paths.holidays.relative_to(machine.root)}\n" in text


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("nonsense", "'nonsense' is not one of UPGRADES_DURING_MARKET_HOURS, MINUTES_BEFORE"),
        ("MARKET_UNIT=x", "'MARKET_UNIT=x' is not one of"),
        ("MINUTES_BEFORE_OPEN =5", "'MINUTES_BEFORE_OPEN =5' is not one of"),
        ("UPGRADES_DURING_MARKET_HOURS=no", "UPGRADES_DURING_MARKET_HOURS: 'no' is neither"),
        ("MINUTES_BEFORE_OPEN=-5", "MINUTES_BEFORE_OPEN: '-5' is not a number of minutes"),
        ("MINUTES_AFTER_CLOSE=361", "MINUTES_AFTER_CLOSE: '361' is not a number of minutes"),
        ("MINUTES_AFTER_CLOSE=", "MINUTES_AFTER_CLOSE: '' is not a number of minutes"),
        ("HOLIDAYS_FILE=days", "HOLIDAYS_FILE: 'days' is not an absolute path"),
        ("HOLIDAYS_FILE=/etc/../x", "HOLIDAYS_FILE: '/etc/../x' is not an absolute path"),
        ("MARKET_UNITS=", "MARKET_UNITS: names no service"),
        ("MARKET_UNITS=-f x", "MARKET_UNITS: '-f' is not the name of a service"),
        ("HOLIDAYS_FILE=/days", "HOLIDAYS_FILE is in line 1 already"),
    ],
)
def test_a_line_that_is_not_understood_is_named(machine: Machine, line: str, what: str) -> None:
    machine.write("etc/trading/deploy.conf", f"HOLIDAYS_FILE=/days\n{line}\n")
    if "HOLIDAYS_FILE" in line and "already" not in what:
        machine.write("etc/trading/deploy.conf", f"\n{line}\n")
    with pytest.raises(MarketSettingsError) as raised:
        read_market_settings(machine.paths)
    assert raised.value.message.startswith(f"/etc/trading/deploy.conf: line 2: {what}")
    assert raised.value.next_command == "sensible-editor /etc/trading/deploy.conf"


def test_a_file_that_cannot_be_read_is_not_taken_for_none(machine: Machine) -> None:
    machine.paths.deploy_settings.mkdir(parents=True)
    with pytest.raises(MarketSettingsError, match=r"deploy.conf: cannot be read: Is a directory"):
        read_market_settings(machine.paths)


def test_holidays_come_from_the_administrators_file_if_there_is_one(machine: Machine) -> None:
    assert len(holidays_of(machine.paths, MarketSettings()).days) == 34
    named = MarketSettings(written="/etc/trading/deploy.conf", holidays_file="/etc/trading/days")
    with pytest.raises(MarketSettingsError) as raised:
        holidays_of(machine.paths, named)
    assert raised.value.message.startswith("/etc/trading/days: cannot be read")
    assert raised.value.next_command.startswith("sensible-editor /etc/trading/deploy.conf")
    machine.write("etc/trading/days", "2026-11-24\n")
    assert len(holidays_of(machine.paths, named).days) == 1
    machine.paths.holidays.unlink()
    with pytest.raises(MarketSettingsError) as raised:
        holidays_of(machine.paths, MarketSettings())
    assert raised.value.next_command == "apt-get install --reinstall traderunner-common"
