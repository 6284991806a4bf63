"""The commands about releases: who may, and with which words."""

from __future__ import annotations

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.cli import main


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
