"""A kept release is verified by the keys of its own time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.test_admission import BROUGHT, STREAM, Shop
from tests.unit.tradingctl.deploy.test_signature import BODY, ONE, OTHER, TWO, packet

from tradingctl.deploy.keptkeys import SIGNERS, keep_signers, require_kept
from tradingctl.errors import RollbackError

BOARD = "board"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Give a server on which the keyring trusts the first key."""
    shop = Shop(tmp_path.resolve())
    shop.trust(BODY)
    return shop


def keep(shop: Shop, *, signed: bool = True) -> tuple[Path, list[tuple[str, str]]]:
    """Keep a release of two packages; return its folder and its files."""
    folder = shop.machine.root / "releases/1"
    folder.mkdir(parents=True)
    arrivals = [shop.package(STREAM), shop.package(BOARD, signed=signed)]
    for each in arrivals:
        each.path.rename(folder / each.path.name)
    files = {each.package: each.path.name for each in arrivals}
    keep_signers(shop.machine.server, folder, files)
    return folder, list(files.items())


def rotate(shop: Shop) -> None:
    """Let the keyring trust the second key alone."""
    (shop.machine.root / BROUGHT / "0/traderunner.pgp").write_bytes(packet(6, OTHER))


def test_signers_and_keys_are_written_down(shop: Shop) -> None:
    folder, _ = keep(shop)
    assert json.loads((folder / SIGNERS).read_text()) == {STREAM: ONE, BOARD: ONE}
    assert [each.read_bytes() for each in folder.glob("keys/*.pgp")] == [packet(6, BODY)]


def test_a_release_of_the_key_before_can_be_gone_back_to(shop: Shop) -> None:
    folder, files = keep(shop)
    rotate(shop)
    require_kept(shop.machine.server, folder, files)
    for each in folder.glob("keys/*"):
        each.unlink()
    with pytest.raises(RollbackError, match="release 1 cannot be installed again") as raised:
        require_kept(shop.machine.server, folder, files)
    assert f"dpkg -i {folder}/*.deb" in raised.value.next_command


def test_a_package_that_was_exchanged_is_refused(shop: Shop) -> None:
    folder, files = keep(shop)
    unsigned = shop.package(STREAM, signed=False)
    unsigned.path.rename(folder / unsigned.path.name)
    with pytest.raises(RollbackError, match="is not signed"):
        require_kept(shop.machine.server, folder, files)
    foreign = shop.package(STREAM, TWO)
    foreign.path.rename(folder / foreign.path.name)
    with pytest.raises(RollbackError, match=f"signed by the key {TWO[-16:]}"):
        require_kept(shop.machine.server, folder, files)
    require_kept(shop.machine.server, folder, files[1:])


def test_what_was_not_signed_when_it_was_kept_may_come_back(shop: Shop) -> None:
    folder, files = keep(shop, signed=False)
    assert json.loads((folder / SIGNERS).read_text()) == {STREAM: ONE, BOARD: ""}
    shop.machine.err.truncate(0)
    require_kept(shop.machine.server, folder, files)
    assert "board was not signed when its release was verified" in shop.machine.err.getvalue()


def test_a_release_that_was_kept_before_there_were_signers_is_verified(shop: Shop) -> None:
    folder, files = keep(shop, signed=False)
    (folder / SIGNERS).unlink()
    with pytest.raises(RollbackError):
        require_kept(shop.machine.server, folder, files)


def test_without_keys_nothing_can_be_said(tmp_path: Path) -> None:
    bare = Shop(tmp_path.resolve())
    folder, files = keep(bare, signed=False)
    assert not (folder / SIGNERS).exists()
    require_kept(bare.machine.server, folder, files)


def test_signers_that_cannot_be_read_are_named(shop: Shop) -> None:
    folder, files = keep(shop)
    (folder / SIGNERS).write_text("{")
    with pytest.raises(RollbackError, match="cannot be read"):
        require_kept(shop.machine.server, folder, files)
