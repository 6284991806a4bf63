"""An upgrade that the administrator asks for."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from tests.unit.tradingctl.deploy.release_world import STACK, STREAM, World
from tests.unit.tradingctl.lock_holder import holding

from tradingctl.deploy import upgrade
from tradingctl.deploy.blocks import Block, block

INSTALL = f"apt-get -q -y -o Dpkg::Use-Pty=0 install {STACK}=2 {STREAM}=2"


@pytest.fixture
def offered(world: World) -> World:
    """Give a server with release 1, the archive has 2 as well."""
    world.publish("2")
    world.dpkg.offered, world.dpkg.candidate = ("2", "1"), "2"
    return world


def installs(world: World) -> list[str]:
    return [line for line in world.dpkg.ran("apt-get") if " install " in line]


def test_the_newest_release_is_shown_and_installed_with_every_version(offered: World) -> None:
    assert offered.tradingctl("upgrade") == 0
    simulated, installed = installs(offered)
    assert simulated == INSTALL.replace(" install", " --simulate install")
    assert installed == INSTALL
    at = offered.dpkg.commands.index(INSTALL.split())
    assert offered.dpkg.variables[at] == {"DEBIAN_FRONTEND": "noninteractive"}
    said = offered.said()
    assert f"{STREAM}  1          2\n" in said
    assert f"{STACK} 2 is installed; release 1 is the one that was verified last" in said


def test_a_dry_run_shows_what_would_change_and_installs_nothing(offered: World) -> None:
    before = offered.files()
    assert offered.tradingctl("upgrade", "--dry-run") == 0
    assert installs(offered) == [INSTALL.replace(" install", " --simulate install")]
    assert offered.said().splitlines() == [
        "PACKAGE            INSTALLED  TO BE INSTALLED",
        f"{STREAM}  1          2",
        "board              1          -",
    ]
    assert offered.files() == before


def test_a_release_is_asked_for_by_its_name_or_its_version(offered: World) -> None:
    offered.dpkg.offered = ("2~deb12", "1")
    for name in ("2", "2~deb12"):
        offered.dpkg.commands.clear()
        offered.tradingctl("upgrade", name)
        assert f"{STACK}=2~deb12" in installs(offered)[-1]


def test_going_back_is_no_upgrade(offered: World) -> None:
    offered.apt("2")
    offered.dpkg.commands.clear()
    assert offered.tradingctl("upgrade", "1") == 5
    said = offered.said()
    assert "release 1 is older than the installed 2" in said
    assert "next: tradingctl rollback 1\n" in said
    assert not installs(offered)


def test_a_release_that_the_archive_does_not_have_is_refused(offered: World) -> None:
    assert offered.tradingctl("upgrade", "9") == 5
    said = offered.said()
    assert "the archive has no release 9; it has 2, 1" in said
    assert "tradingctl rollback --dry-run" in said
    assert not installs(offered)


def test_where_nothing_is_newer_what_is_kept_away_is_told(offered: World) -> None:
    offered.dpkg.candidate = "1"
    block(offered.server, [Block(STACK, "2", "release 2 failed on Tuesday: health")])
    assert offered.tradingctl("upgrade") == 0
    assert offered.said() == (
        f"{STACK} 1 is installed, there is nothing newer\n"
        "kept away: 2: release 2 failed on Tuesday: health\n"
    )
    assert not installs(offered)


@pytest.mark.parametrize("candidate", ["(none)", ""])
def test_where_apt_knows_no_release_it_is_said(offered: World, candidate: str) -> None:
    offered.dpkg.candidate = candidate
    assert offered.tradingctl("upgrade") == 5
    assert f"apt knows no {STACK}; nothing was changed" in offered.said()


def test_an_archive_that_cannot_be_read_changes_nothing(offered: World) -> None:
    offered.dpkg.codes["apt-get -q -o APT::Update::Error-Mode=any"] = 100
    assert offered.tradingctl("upgrade") == 5
    assert "the archive cannot be read: apt-get refused; nothing was changed" in offered.said()
    assert not installs(offered)


def test_our_archive_alone_is_read(offered: World) -> None:
    sources = offered.machine.write("etc/apt/sources.list.d/traderunner.sources", "")
    offered.tradingctl("upgrade", "--dry-run")
    sources.unlink()
    offered.tradingctl("upgrade", "--dry-run")
    update, without = offered.dpkg.ran("apt-get -q -o APT::Update")
    assert without == "apt-get -q -o APT::Update::Error-Mode=any update"
    assert f"-o Dir::Etc::sourcelist={sources} -o Dir::Etc::sourceparts=- " in update
    assert update.endswith("-o APT::Get::List-Cleanup=0 update")


def test_what_apt_cannot_install_is_not_tried(offered: World) -> None:
    offered.dpkg.codes["apt-get -q -y -o Dpkg::Use-Pty=0 --simulate"] = 100
    assert offered.tradingctl("upgrade") == 5
    assert "apt cannot install it: apt-get refused; nothing was changed" in offered.said()
    assert len(installs(offered)) == 1


def test_an_upgrade_that_apt_ends_with_an_error_did_not_happen(offered: World) -> None:
    offered.dpkg.codes[INSTALL] = 100
    assert offered.tradingctl("upgrade") == 1
    said = offered.said()
    assert f"{STACK} 2 was not installed (apt-get: exit code 100)" in said
    assert "the release that was verified last is 1" in said
    assert said.endswith("next: tradingctl history\n")


def test_who_began_while_the_index_was_read_is_named(
    offered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:

        def simulated(*_: object) -> list[upgrade.Change]:
            stack.enter_context(holding(offered.machine, "lock-frontend"))
            return []

        monkeypatch.setattr(upgrade, "_simulate", simulated)
        assert offered.tradingctl("upgrade") == 5
    assert "apt-get install traderunner-stack" in offered.said()
    assert installs(offered) == []


def test_a_half_installed_release_is_installed_again(offered: World) -> None:
    offered.dpkg.packages[STACK] = ("iF ", "2")
    assert offered.tradingctl("upgrade") == 0
    assert len(installs(offered)) == 2


def test_an_upgrade_needs_root(offered: World) -> None:
    offered.machine.euid = 1000
    assert offered.tradingctl("upgrade") == 5
    assert not offered.dpkg.ran("apt-get")
