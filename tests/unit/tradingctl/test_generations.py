"""The generations of a component and the link to the one that runs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import VERSION, Machine

from tradingctl.errors import HandMadeError, TradingError
from tradingctl.generations import Generations

NAME = "marketdata-stream"


@pytest.fixture
def generations(machine: Machine) -> Generations:
    machine.ship(NAME, {"app.py": "1"})
    return Generations(machine.paths, NAME)


def install(generations: Generations, version: str = VERSION) -> Path:
    with generations.locked():
        staged = generations.stage(version)
        assert staged
        generations.install(staged, version)
        generations.flip(version)
    return generations.paths.generation(NAME, version)


def test_the_link_is_relative_and_names_the_version_with_its_odd_characters(
    generations: Generations,
) -> None:
    install(generations)
    assert str(generations.paths.link(NAME).readlink()) == f"releases/{NAME}/{VERSION}"
    assert generations.active == VERSION


def test_an_intact_generation_is_not_made_again(generations: Generations) -> None:
    install(generations)
    assert generations.stage(VERSION) is None


def test_an_older_generation_keeps_its_bits_when_dpkg_replaces_the_files(
    machine: Machine, generations: Generations
) -> None:
    old = install(generations, "1")
    machine.ship(NAME, {"app.py": "2"})
    new = install(generations, "2")
    assert (old / "app.py").read_text() == "1"
    assert (new / "app.py").read_text() == "2"


def test_a_generation_that_lost_a_file_is_made_again(generations: Generations) -> None:
    generation = install(generations)
    (generation / "app.py").unlink()
    install(generations)
    assert (generation / "app.py").read_text() == "1"
    assert [each.name for each in generation.parent.iterdir()] == [VERSION]


def test_what_a_crash_left_is_cleared_away(machine: Machine, generations: Generations) -> None:
    leftover = machine.write(f"opt/trading/releases/{NAME}/.new-1/app.py", "half")
    with generations.locked():
        assert not leftover.parent.exists()


def test_a_copy_that_fails_leaves_nothing(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    with generations.locked(), pytest.raises(OSError, match="No space"):
        generations.stage(VERSION)
    assert not list(generations.paths.generations(NAME).iterdir())


@pytest.mark.parametrize(("linked", "synced"), [(True, 0), (False, 1)])
def test_a_copy_is_on_the_disk_before_it_has_its_name(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, linked: bool, synced: int
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    calls: list[None] = []
    monkeypatch.setattr(os, "sync", lambda: calls.append(None))
    if not linked:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    with generations.locked():
        assert generations.stage(VERSION)
    assert len(calls) == synced


def test_the_link_is_never_absent_while_it_is_pointed_elsewhere(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(generations, "1")
    link = generations.paths.link(NAME)
    seen: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append(link.readlink().name)
        result = replace(self, target)
        seen.append(link.readlink().name)
        return result

    monkeypatch.setattr(Path, "replace", watched)
    install(generations, "2")
    assert seen == ["1", "2"]


@pytest.mark.parametrize("what", ["directory", "file", "link"])
def test_what_no_package_made_is_refused_with_the_way_out(
    generations: Generations, what: str
) -> None:
    link = generations.paths.link(NAME)
    link.parent.mkdir(parents=True)
    if what == "directory":
        link.mkdir()
    elif what == "file":
        link.write_text("", encoding="utf-8")
    else:
        link.symlink_to("/srv/trading")
    with pytest.raises(HandMadeError) as raised:
        generations.refuse_hand_made()
    assert what in raised.value.message
    assert raised.value.next_command == f"mv {link} {link}.by-hand && dpkg --configure -a"
    assert raised.value.exit_code == 5


def test_a_package_without_its_files_is_an_error(machine: Machine) -> None:
    generations = Generations(machine.paths, "nothing-shipped")
    with generations.locked(), pytest.raises(TradingError, match=r"RELEASE\.json"):
        generations.stage("1")


def test_all_but_the_active_and_those_to_be_kept_may_go(generations: Generations) -> None:
    for number in range(1, 5):
        install(generations, str(number))
    assert [each.name for each in generations.surplus({"2", ""})] == ["1", "3"]
