"""What a machine is: one line in one file, everything else in which stays."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit

from tradingctl.cli import main
from tradingctl.deploy.history import read_events
from tradingctl.environment import is_production, read_environment, set_environment

FILE = "etc/trading/environment"


@pytest.mark.parametrize(
    ("text", "production"),
    [
        ("TRADING_ENVIRONMENT=production\n", True),
        ("TRADING_ENVIRONMENT=staging\n TRADING_ENVIRONMENT = 'production'\n", True),
        ("TRADING_ENVIRONMENT=production\nTRADING_ENVIRONMENT=staging\n", False),
        ("#TRADING_ENVIRONMENT=production\n", False),
        ("TRADING_ENVIRONMENT=Production\n", False),
        ("TRADING_ENVIRONMENT=prod\n", False),
        ("", False),
    ],
)
def test_only_what_says_production_is(machine: Machine, text: str, production: bool) -> None:
    machine.write(FILE, text)
    assert is_production(machine.paths) is production


def test_without_a_file_a_machine_is_no_production(machine: Machine) -> None:
    assert not is_production(machine.paths)
    assert read_environment(machine.paths) == ""


def test_a_new_file_can_be_read_by_everybody(machine: Machine) -> None:
    assert set_environment(machine.server, "staging") == ""
    assert read_environment(machine.paths) == "staging"
    assert machine.paths.environment.stat().st_mode & 0o777 == 0o644
    assert list(read_events(machine.server)) == [], "a first installation changes nothing"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# x\nTRADING_ENVIRONMENT=staging\nA=1\n", "# x\nTRADING_ENVIRONMENT=production\nA=1\n"),
        ("A=1", "A=1\nTRADING_ENVIRONMENT=production\n"),
        ("A=1 \\\n", "A=1 \\\n\nTRADING_ENVIRONMENT=production\n"),
        ("A=1\\", "A=1\\\n\nTRADING_ENVIRONMENT=production\n"),
        ("  TRADING_ENVIRONMENT = 'dev'", "TRADING_ENVIRONMENT=production\n"),
    ],
)  # fmt: skip
def test_everything_else_in_the_file_stays(machine: Machine, before: str, after: str) -> None:
    file = machine.write(FILE, before)
    file.chmod(0o640)
    assert set_environment(machine.server, "production") is not None
    assert file.read_text() == after
    assert read_environment(machine.paths) == "production"
    assert file.stat().st_mode & 0o777 == 0o640
    inode = file.stat().st_ino
    assert set_environment(machine.server, "production") is None
    assert file.stat().st_ino == inode


@pytest.mark.parametrize(
    "text",
    ["A=1 \\\nTRADING_ENVIRONMENT=staging\n", 'A="\nTRADING_ENVIRONMENT=staging\n"\n', 'A="1'],
)
def test_what_would_not_be_read_as_it_is_meant_is_not_written(machine: Machine, text: str) -> None:
    file = machine.write(FILE, text)
    assert main(["environment", "production"], machine.server) == 5
    assert "what is written around TRADING_ENVIRONMENT is not understood" in machine.err.getvalue()
    assert file.read_text() == text
    assert list(read_events(machine.server)) == []


def test_a_link_of_the_administrators_is_followed(machine: Machine) -> None:
    real = machine.write("srv/environment", "TRADING_ENVIRONMENT=staging\n")
    machine.paths.settings.mkdir(parents=True)
    machine.paths.environment.symlink_to(real)
    assert set_environment(machine.server, "production") == "staging"
    assert machine.paths.environment.is_symlink()
    assert real.read_text() == "TRADING_ENVIRONMENT=production\n"


def test_the_command_changes_it_and_says_what_follows(machine: Machine) -> None:
    machine.write(FILE, "TRADING_ENVIRONMENT=production\n")
    machine.write("etc/trading/marketdata-stream.env", "AT_WORKER_MODE=paper-send\n")
    machine.describe(stream(units=(stream_unit(sends_orders=True),)))
    assert main(["environment", "staging"], machine.server) == 0
    said = machine.err.getvalue()
    assert "this machine is staging by /etc/trading/environment" in said
    assert "systemctl restart marketdata-stream.service" in said
    assert "AT_WORKER_MODE is paper-send in /etc/trading/marketdata-stream.env" in said
    assert [each.detail for each in read_events(machine.server)] == ["production -> staging"]
    assert machine.out.getvalue() == "", "debconf may own it"


def test_the_command_shows_it_and_the_words_of_others(machine: Machine) -> None:
    machine.euid = 1000
    machine.write(FILE, "TRADING_ENVIRONMENT=staging\n")
    machine.describe(stream(environments={"staging": "test"}))
    assert main(["environment"], machine.server) == 0
    assert machine.out.getvalue() == "staging (marketdata-stream calls it test)\n"
    assert main(["environment", "production"], machine.server) == 5


@pytest.mark.parametrize("text", ['"production\n', '"production\nA=1\n', "production (it is)\n"])
def test_what_is_no_word_is_not_shown_as_one(machine: Machine, text: str) -> None:
    machine.write(FILE, f"TRADING_ENVIRONMENT={text}")
    assert main(["environment"], machine.server) == 0
    assert machine.out.getvalue() == "no word (is a quote not closed?)\n"


@pytest.mark.parametrize(("written", "word"), [("staging", "test"), ("production", "production")])
def test_a_unit_is_given_its_own_word(machine: Machine, written: str, word: str) -> None:
    machine.write(FILE, f"TRADING_ENVIRONMENT={written}\n")
    machine.describe(stream(environments={"staging": "test"}))
    (machine.root / "run/trading/marketdata-stream").mkdir(parents=True)
    machine.environ["RUNTIME_DIRECTORY"] = "/run/trading/marketdata-stream"
    machine.euid = 1000
    assert main(["environment", "--spell", "marketdata-stream.service"], machine.server) == 0
    told = (machine.root / "run/trading/marketdata-stream/environment").read_text()
    assert told == f"TRADING_ENVIRONMENT={word}\n"


def test_a_word_is_written_for_units_alone(machine: Machine) -> None:
    machine.describe(stream())
    assert main(["environment", "--spell", "marketdata-stream.service"], machine.server) == 5
    assert "RUNTIME_DIRECTORY is not set" in machine.err.getvalue()
