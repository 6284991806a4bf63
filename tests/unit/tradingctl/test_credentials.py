"""Secrets: generated once, never overwritten, never printed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

from tradingctl.account import Account, find_account
from tradingctl.credentials import ensure
from tradingctl.description import Secret
from tradingctl.errors import NoAccountError

ACCOUNT = Account(os.getuid(), os.getgid())


@pytest.fixture
def file(machine: Machine) -> Path:
    return machine.paths.secret_file("marketdata-stream")


def test_a_missing_file_is_made_for_root_and_the_services_only(
    machine: Machine, file: Path
) -> None:
    assert ensure(machine.server, stream(), ACCOUNT) == ["DASHBOARD_PASS"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.parent.stat().st_mode & 0o777 == 0o750
    assert re.search(r"^DASHBOARD_PASS=[A-Za-z0-9]{24}$", file.read_text(), re.MULTILINE)


def test_the_value_is_never_printed(machine: Machine, file: Path) -> None:
    ensure(machine.server, stream(), ACCOUNT)
    value = file.read_text().rpartition("=")[2].strip()
    assert machine.err.getvalue() == (
        "generated DASHBOARD_PASS in /etc/trading/secrets/marketdata-stream.env\n"
    )
    assert value not in machine.err.getvalue() + machine.out.getvalue()


def test_a_second_time_changes_nothing(machine: Machine, file: Path) -> None:
    ensure(machine.server, stream(), ACCOUNT)
    before = (file.read_text(), file.stat().st_ino)
    assert ensure(machine.server, stream(), ACCOUNT) == []
    assert (file.read_text(), file.stat().st_ino) == before


@pytest.mark.parametrize(
    "written", ["# mine\nexport A = 'x y'\n\nB=1", "A=1\\\n", "#TOKEN=old\n", ""]
)
def test_what_the_administrator_wrote_stays_to_the_letter_and_the_rest_is_added(
    machine: Machine, file: Path, written: str
) -> None:
    machine.write("etc/trading/secrets/marketdata-stream.env", written)
    file.chmod(0o600)
    component = stream(secrets=(Secret("TOKEN", 30), Secret("A", 8)))
    ensure(machine.server, component, ACCOUNT)
    text = file.read_text()
    assert text.startswith(written)
    assert re.search(r"^TOKEN=\w{30}$", text, re.MULTILINE)
    assert len(re.findall(r"^(?:export )?A ?=", text, re.MULTILINE)) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    # A continued line ends before what is added.
    assert "\\\nTOKEN" not in text


def test_a_file_kept_elsewhere_is_changed_there(machine: Machine, file: Path) -> None:
    real = machine.write("srv/secrets.env", "A=1\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(real)
    ensure(machine.server, stream(), ACCOUNT)
    assert file.is_symlink()
    assert "DASHBOARD_PASS=" in real.read_text()


def test_a_missing_account_is_said_with_the_way_out(machine: Machine) -> None:
    machine.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    with pytest.raises(NoAccountError) as raised:
        find_account(machine.paths)
    assert "systemd-sysusers" in raised.value.next_command


def test_one_that_the_administrator_brings_is_not_generated(machine: Machine, file: Path) -> None:
    component = stream(secrets=(Secret("TOKEN", generate=False), Secret("KEY", credential=True)))
    assert ensure(machine.server, component, ACCOUNT) == ["KEY"]
    assert "TOKEN" not in file.read_text()


def test_a_credential_is_generated_as_a_file_for_root(machine: Machine, file: Path) -> None:
    component = stream(secrets=(Secret("KEY", 30, credential=True),))
    assert ensure(machine.server, component, ACCOUNT) == ["KEY"]
    place = machine.paths.credential_file("marketdata-stream", "KEY")
    assert re.fullmatch(r"\w{30}", place.read_text())
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert "KEY" not in file.read_text()
    assert machine.err.getvalue() == (
        "generated KEY in /etc/trading/secrets/marketdata-stream/KEY\n"
    )
    before = place.read_text()
    assert ensure(machine.server, component, ACCOUNT) == []
    assert place.read_text() == before


def test_no_credential_is_made_beside_a_variable_that_would_win(machine: Machine) -> None:
    machine.write("etc/trading/secrets/marketdata-stream.env", "KEY=mine\n")
    component = stream(secrets=(Secret("KEY", credential=True),))
    assert ensure(machine.server, component, ACCOUNT) == []
    assert not machine.paths.credential_file("marketdata-stream", "KEY").exists()
