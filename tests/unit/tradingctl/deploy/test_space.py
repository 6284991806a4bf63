"""How much room an installation needs."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.deploy import space
from tradingctl.deploy.debs import Deb
from tradingctl.deploy.space import MARGIN, needs, require_space
from tradingctl.deploy.store import keep_incoming
from tradingctl.errors import NoSpaceError

Room = namedtuple("Room", ["f_bavail", "f_frsize"])
SIZE = 500_000_000


@pytest.fixture
def deb(machine: Machine) -> Deb:
    path = machine.write("var/cache/apt/archives/board_2_all.deb", "x" * 1000)
    return Deb(path, "board", "2", "all", SIZE)


def other_device(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let what is below the named folders be on file systems of their own."""
    monkeypatch.setattr(
        space, "_device", lambda path: next((n for n in names if n in str(path)), "the first")
    )


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("tradingctl.deploy.space.os.statvfs", lambda _: Room(size, 1))


def test_room_is_needed_to_unpack_twice(machine: Machine, deb: Deb) -> None:
    found = needs(machine.paths, [deb])
    assert [(each.place, each.size) for each in found] == [
        (machine.paths.root / "usr/lib/trading", SIZE),
        (machine.paths.root / "usr/lib/trading", SIZE),
    ]


def test_generations_on_a_file_system_of_their_own_are_copies(
    machine: Machine, deb: Deb, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_device(monkeypatch, "opt/trading")
    last = needs(machine.paths, [deb])[-1]
    assert (last.place, last.size) == (machine.paths.root / "opt/trading/releases", SIZE)


def test_kept_packages_on_a_file_system_of_their_own_are_copies(
    machine: Machine, deb: Deb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradingctl.deploy.space.is_linked", lambda paths, path: False)
    last = needs(machine.paths, [deb])[-1]
    assert (last.place, last.size) == (machine.paths.releases, 1000)


def test_kept_packages_of_another_account_are_copies(
    machine: Machine, deb: Deb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rsync -a brings them into the archive of the server itself."""
    there = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: there + 1)
    last = needs(machine.paths, [deb])[-1]
    assert (last.place, last.size) == (machine.paths.releases, 1000)
    keep_incoming(machine.paths, {deb.name: deb.path})
    assert not (machine.paths.releases / ".incoming" / deb.name).samefile(deb.path)


def test_just_enough_is_enough(machine: Machine, deb: Deb, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 2 * SIZE + MARGIN)
    require_space(machine.paths, [deb])
    free(monkeypatch, 2 * SIZE + MARGIN - 1)
    with pytest.raises(NoSpaceError) as raised:
        require_space(machine.paths, [deb])
    assert raised.value.message == (
        f"the file system of {machine.root} has 1067 MB free and needs 1067 MB:"
        " 500 MB to unpack the packages beside the present ones;"
        " 500 MB to unpack the present ones again in a rollback;"
        " 67 MB stay free. Nothing was changed"
    )
    assert raised.value.next_command == f"df -h {machine.root}; apt-get clean"


def test_each_file_system_is_asked_for_its_own_part(
    machine: Machine, deb: Deb, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.root / "opt").mkdir()
    other_device(monkeypatch, "opt/trading")

    def statvfs(path: Path) -> Room:
        return Room(SIZE if path.name == "opt" else 10 * SIZE, 1)

    monkeypatch.setattr("tradingctl.deploy.space.os.statvfs", statvfs)
    with pytest.raises(NoSpaceError, match="/opt has 500 MB free and needs 567 MB: 500 MB for the"):
        require_space(machine.paths, [deb])


def test_without_packages_only_the_margin_is_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, MARGIN)
    require_space(machine.paths, [])
