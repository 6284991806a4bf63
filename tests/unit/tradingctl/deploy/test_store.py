"""The packages of the releases that can be gone back to."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import ARCHIVES, BOARD, STACK, STREAM, World

from tradingctl.deploy import store
from tradingctl.deploy.store import (
    Kept,
    KeptPackage,
    Removal,
    damage,
    debs_of,
    inventory_of,
    kept_release,
    kept_releases,
    surplus,
)
from tradingctl.description import Stack
from tradingctl.errors import StoreError
from tradingctl.server import Server

DEB_1 = f"{STREAM}_1_all.deb"


def folder(world: World, release: str) -> Path:
    return world.machine.paths.releases / release


def test_a_kept_release_is_complete_by_itself(world: World) -> None:
    world.apt("2")
    for file in (world.machine.root / ARCHIVES).iterdir():
        file.unlink()
    kept = kept_release(world.machine.paths, "1")
    assert kept.versions == {STREAM: "1", STACK: "1"}
    assert damage(world.machine.paths, kept) == ""
    inventory = inventory_of(world.machine.paths, kept)
    assert inventory.release == "1"
    assert [each.version for each in inventory.components] == ["1"]
    assert debs_of(world.machine.paths, kept, [STREAM]) == [folder(world, "1") / DEB_1]


def test_packages_are_hard_links_and_unchanged_ones_are_shared(world: World) -> None:
    world.apt("2", f"{STREAM}=1")
    one, two = folder(world, "1") / DEB_1, folder(world, "2") / DEB_1
    assert one.samefile(two)
    assert one.samefile(world.machine.root / ARCHIVES / DEB_1)


def test_packages_are_copied_where_no_link_is_possible(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "hardlink_to", refuse)
        store.keep_incoming(world.machine.paths, {DEB_1: world.machine.root / ARCHIVES / DEB_1})
    copy = world.machine.paths.releases / ".incoming" / DEB_1
    assert copy.read_bytes() == (world.machine.root / ARCHIVES / DEB_1).read_bytes()
    assert not copy.samefile(world.machine.root / ARCHIVES / DEB_1)


def test_what_cannot_be_kept_leaves_nothing(world: World) -> None:
    there = world.machine.root / ARCHIVES / DEB_1
    with pytest.raises(FileNotFoundError):
        store.keep_incoming(world.machine.paths, {DEB_1: there, "x": there.parent / "x"})
    assert not (world.machine.paths.releases / ".incoming").exists()


def test_a_release_that_is_verified_again_is_only_dated_anew(world: World) -> None:
    world.apt("2")
    before = {each.release: each for each in kept_releases(world.machine.paths)}
    inode = (folder(world, "1") / DEB_1).stat().st_ino
    world.tradingctl("rollback", "1")
    again = kept_releases(world.machine.paths)
    assert [each.release for each in again] == ["1", "2"]
    assert again[0].verified_at > before["2"].verified_at
    assert (folder(world, "1") / DEB_1).stat().st_ino == inode


def test_a_damaged_release_that_is_verified_again_is_made_anew(world: World) -> None:
    (folder(world, "1") / DEB_1).unlink()
    kept = store.seal(world.server, stack_1(world), "2026-11-25")
    assert damage(world.machine.paths, kept) == ""
    assert kept_releases(world.machine.paths) == [kept]
    assert sorted(each.name for each in world.machine.paths.releases.iterdir()) == ["1"]


def stack_1(world: World) -> Stack:
    stack = inventory_of(world.machine.paths, kept_release(world.machine.paths, "1")).stack
    assert stack
    return stack


def test_a_damaged_file_is_not_taken_into_a_later_release(world: World) -> None:
    # Not in place: the file is the one in apt's archive too.
    good = (folder(world, "1") / DEB_1).read_text()
    (folder(world, "1") / DEB_1).unlink()
    (folder(world, "1") / DEB_1).write_text(good + " ")
    assert world.apt("2", f"{STREAM}=1") == 0
    assert damage(world.machine.paths, kept_release(world.machine.paths, "2")) == ""
    assert (folder(world, "2") / DEB_1).read_text() == good


def test_a_file_that_is_no_package_does_not_hide_the_one_that_is(world: World) -> None:
    (folder(world, "1") / DEB_1).unlink()
    world.machine.write(f"var/lib/trading/releases/.incoming/{DEB_1}", "half")
    assert damage(world.machine.paths, store.seal(world.server, stack_1(world), "later")) == ""


def test_what_is_nowhere_is_downloaded(world: World) -> None:
    there = world.machine.root / ARCHIVES / DEB_1
    text = there.read_text()
    there.unlink()
    (folder(world, "1") / DEB_1).unlink()
    run = world.dpkg.run

    def download(command: list[str], *rest: object, **more: object) -> object:
        if "download" in command:
            assert command[:4] == ["env", "-C", str(folder(world, ".new")), "apt-get"]
            (folder(world, ".new") / f"{STREAM}_1%3a_all.deb").write_text(text)
        return run(command, *rest, **more)  # type: ignore[arg-type]

    world.monkeypatch.setattr(world.dpkg, "run", download)
    kept = store.seal(world.server, stack_1(world), "later")
    assert damage(world.machine.paths, kept) == ""
    assert sorted(each.name for each in folder(world, "1").iterdir()) == [
        "descriptions", "manifest.json", DEB_1, f"{STACK}_1_all.deb"]  # fmt: skip


def test_what_is_nowhere_at_all_is_named_and_leaves_the_store_as_it_was(world: World) -> None:
    (world.machine.root / ARCHIVES / DEB_1).unlink()
    (folder(world, "1") / DEB_1).unlink()
    before = world.files()
    with pytest.raises(StoreError, match=f"the file of {STREAM} 1 is nowhere") as raised:
        store.seal(world.server, stack_1(world), "later")
    assert raised.value.next_command.startswith("apt-get update")
    assert world.files() == before
    assert not folder(world, ".new").exists()


@pytest.mark.parametrize("damaged", ["missing", "short", "other"])
def test_a_damaged_file_is_named(world: World, damaged: str) -> None:
    file = folder(world, "1") / DEB_1
    text = file.read_text()
    file.unlink()
    if damaged != "missing":
        file.write_text(text[:-1] + ("x" if damaged == "other" else ""))
    found = damage(world.machine.paths, kept_release(world.machine.paths, "1"))
    assert found.startswith(str(file))


def test_a_manifest_that_cannot_be_read_is_a_release_that_is_not_kept(world: World) -> None:
    world.apt("2")
    (folder(world, "2") / "manifest.json").write_text("{")
    assert [each.release for each in kept_releases(world.machine.paths)] == ["1"]
    with pytest.raises(StoreError) as raised:
        kept_release(world.machine.paths, "2")
    assert raised.value.message == ("release 2 is not kept in /var/lib/trading/releases; kept: 1")


def test_what_is_unfinished_is_no_release(world: World) -> None:
    (folder(world, "1")).rename(folder(world, ".new"))
    assert kept_releases(world.machine.paths) == []


def test_the_manifest_is_for_root_alone_and_says_what_was_verified(world: World) -> None:
    manifest = folder(world, "1") / "manifest.json"
    assert manifest.stat().st_mode & 0o777 == 0o600
    assert folder(world, "1").stat().st_mode & 0o777 == 0o700
    data = json.loads(manifest.read_text())
    assert data["packages"][STREAM]["file"] == DEB_1
    assert data["stack"] == STACK


def test_the_oldest_may_go(world: World) -> None:
    package = KeptPackage("1", "x.deb", "0", 1)
    kept = [Kept(name, STACK, name, {BOARD: package}, name) for name in ("4", "3", "2", "1")]
    assert surplus(kept, 2) == [
        Removal("2", "verified before the last 2"),
        Removal("1", "verified before the last 2"),
    ]
    assert surplus(kept[:2], 2) == []


def test_signers_are_kept_with_a_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def keep(server: Server, folder: Path, files: dict[str, str]) -> None:
        assert all((folder / name).is_file() for name in files.values())
        asked[folder.name] = files

    monkeypatch.setattr("tradingctl.deploy.store.keep_signers", keep)
    world.apt("2")
    assert asked == {".new": {STREAM: f"{STREAM}_2_all.deb", STACK: f"{STACK}_2_all.deb"}}
