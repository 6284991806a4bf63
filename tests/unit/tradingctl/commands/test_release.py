"""The commands about releases: who may, and with which words."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.cli import main
from tradingctl.deploy.history import record


@pytest.mark.parametrize(
    "words",
    [
        ("upgrade", "--dry-run"),
        ("rollback", "--dry-run"),
        ("recover",),
        ("gate",),
        ("hook", "pre-install"),
        ("hook", "unpack", "board", "2"),
        ("hook", "post-invoke"),
        ("hook", "boot"),
    ],
)
def test_what_changes_the_server_needs_root(machine: Machine, words: tuple[str, ...]) -> None:
    machine.euid = 1000
    assert main(words, machine.server) == 5
    assert f"tradingctl {words[0]} changes the system and needs root" in machine.err.getvalue()
    assert machine.system.commands == []


def test_the_history_is_for_everybody(machine: Machine) -> None:
    machine.euid = 1000
    assert main(["history"], machine.server) == 0


def test_a_hook_of_another_name_is_wrong_usage(machine: Machine) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["hook", "post-install"], machine.server)
    assert raised.value.code == 2


def test_backups_that_fail_for_a_night_do_not_hide_what_was_before(machine: Machine) -> None:
    record(machine.server, "verified", "1")
    for n in range(30):
        record(machine.server, "backup-failed", "1", f"{n}: the repository is away")
    record(machine.server, "install", "2")
    assert main(["history"], machine.server) == 0
    rows = machine.out.getvalue().splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["verified", "backup-failed", "install"]
    assert "29: the repository is away (30 in a row)" in rows[1]
