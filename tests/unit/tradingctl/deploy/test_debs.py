"""What a package file says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import STACK, STREAM, World

from tradingctl.deploy.debs import Deb, read_deb, stack_of
from tradingctl.errors import ProgramFailedError, TradingError


def test_a_package_file_says_what_it_is(bare: World) -> None:
    path = bare.publish("2")[STREAM]
    deb = read_deb(bare.dpkg, path)
    assert deb == Deb(path, STREAM, "2", "all", 1024)
    assert deb.name == f"{STREAM}_2_all.deb"
    assert bare.dpkg.ran("dpkg-deb") == [
        f"dpkg-deb --field {path} Package Version Architecture Installed-Size"
    ]


def test_an_epoch_is_no_part_of_the_file_s_name() -> None:
    assert Deb(Path("x"), "board", "1:2.0~deb12", "amd64", 0).name == "board_2.0~deb12_amd64.deb"


def test_what_is_no_package_is_named_with_the_way_to_look_at_it(bare: World) -> None:
    path = bare.machine.write("x.deb", "half")
    with pytest.raises(ProgramFailedError, match=f"{path} is not a package: dpkg-deb: error"):
        read_deb(bare.dpkg, path)


def test_a_package_of_the_stack_says_which_release_it_is(bare: World) -> None:
    stack = stack_of(bare.dpkg, read_deb(bare.dpkg, bare.publish("2")[STACK]))
    assert (stack.release, stack.packages) == ("2", {STREAM: "2"})


def test_a_package_without_a_release_is_refused(bare: World) -> None:
    deb = read_deb(bare.dpkg, bare.publish("2")[STREAM])
    with pytest.raises(ProgramFailedError, match="holds no release"):
        stack_of(bare.dpkg, deb)


def test_a_release_that_is_badly_described_names_the_file(bare: World) -> None:
    path = bare.publish("2")[STACK]
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "files": '{"usr/share/trading/stack.json": "{"}'}))
    with pytest.raises(TradingError, match=f"bad description: {path}: not JSON"):
        stack_of(bare.dpkg, read_deb(bare.dpkg, path))
