"""The record of the installation that is under way."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import World
from tests.unit.tradingctl.fakes import Machine

import tradingctl
from tradingctl.deploy.transaction import (
    State,
    Transaction,
    begin,
    current,
    end,
    mark,
    new_transaction,
    record_path,
    save,
)
from tradingctl.errors import TradingError

BEFORE = {"marketdata-stream": "1", "board": ""}
INCOMING = {"marketdata-stream": "2"}


@pytest.fixture
def begun(bare: World) -> Machine:
    begin(bare.server, new_transaction(bare.server, "apt", "2", BEFORE, INCOMING))
    return bare.machine


def test_the_record_survives_with_all_that_it_says(begun: Machine) -> None:
    found = current(begun.paths)
    assert found
    assert found == Transaction(
        State.OPEN, "2", "apt", "root", found.began_at, dict(BEFORE), dict(INCOMING)
    )
    assert found.began_at.endswith("+00:00")
    changed = Transaction(
        State.ROLLING_BACK,
        "2",
        "apt",
        "root",
        "then",
        target="1",
        check="c",
        detail="d",
        attempts=2,
    )
    save(begun.paths, changed)
    assert current(begun.paths) == changed


def test_the_program_that_goes_back_is_a_whole_copy(begun: Machine) -> None:
    copy, own = begun.paths.transaction / "tradingctl", Path(tradingctl.__file__).parent
    assert files(copy) == files(own)
    assert not list(copy.rglob("__pycache__"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_copy_runs_by_its_folder(begun: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tradingctl", "--help"])
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(str(begun.paths.transaction / "tradingctl"), run_name="__main__")
    assert raised.value.code == 0


def test_the_program_is_on_the_disk_before_the_record_is(
    begun: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = files(Path(tradingctl.__file__).parent)
    seen: list[bool] = []

    def synced() -> None:
        copies = begun.paths.state.glob(".transaction/tradingctl")
        whole = [files(each) == own for each in copies]
        earlier = current(begun.paths)
        seen.append(whole == [True] and earlier is not None and earlier.release == "2")

    monkeypatch.setattr(os, "sync", synced)
    begin(begun.server, new_transaction(begun.server, "apt", "3", {}, {}))
    assert seen == [True]


def test_the_record_is_removed_before_the_program(
    begun: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    remove = shutil.rmtree

    def removed(path: Path) -> None:
        seen.append(record_path(begun.paths).exists())
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", removed)
    begin(begun.server, new_transaction(begun.server, "apt", "3", {}, {}))
    end(begun.paths)
    assert seen == [False, False]
    assert current(begun.paths) is None


def test_the_copy_can_begin_another_transaction(
    begun: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = begun.paths.transaction / "tradingctl"
    before = files(copy)
    monkeypatch.setattr(tradingctl, "__file__", str(copy / "__init__.py"))
    begin(begun.server, new_transaction(begun.server, "tradingctl", "2", {}, {}))
    assert files(copy) == before


def test_a_copy_that_fails_leaves_the_earlier_record(
    begun: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", fail)
    earlier = current(begun.paths)
    with pytest.raises(OSError, match="No space"):
        begin(begun.server, new_transaction(begun.server, "apt", "3", {}, {}))
    assert current(begun.paths) == earlier


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "lost"}', '{"state": "open"}'])
def test_a_record_that_cannot_be_read_is_named(begun: Machine, text: str) -> None:
    path = record_path(begun.paths)
    path.write_text(text)
    with pytest.raises(TradingError) as raised:
        current(begun.paths)
    assert raised.value.message.startswith(f"{path}: cannot be read: ")
    assert str(path) in raised.value.next_command


def test_a_later_release_may_say_more_in_the_record(begun: Machine) -> None:
    before = current(begun.paths)
    path = record_path(begun.paths)
    path.write_text(path.read_text().replace("{", '{"of_a_later_release": [],', 1))
    assert current(begun.paths) == before


def test_a_mark_keeps_what_the_record_says_and_needs_one(begun: Machine) -> None:
    mark(begun.server, State.FAILED, check="health: got 500")
    found = current(begun.paths)
    assert found
    assert (found.state, found.check, found.incoming) == (
        State.FAILED,
        "health: got 500",
        INCOMING,
    )
    end(begun.paths)
    mark(begun.server, State.VERIFIED)
    assert not begun.paths.transaction.exists()
    end(begun.paths)
