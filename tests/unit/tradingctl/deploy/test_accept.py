"""What follows from a release that verified."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import (
    ARCHIVES,
    STACK,
    STREAM,
    PowerCutError,
    World,
)

from tradingctl.deploy.blocks import Block, block, blocks
from tradingctl.deploy.lastgood import read_last_good
from tradingctl.deploy.store import MANIFEST, kept_releases


def last_good(world: World) -> str:
    good = read_last_good(world.machine.paths)
    return good.release if good else ""


def kept(world: World) -> list[str]:
    return [each.release for each in kept_releases(world.machine.paths)]


def generations(world: World) -> list[str]:
    return sorted(each.name for each in world.machine.paths.generations(STREAM).iterdir())


def test_three_releases_are_kept_with_their_generations_and_the_rest_goes(world: World) -> None:
    for release in ("2", "3", "4"):
        assert world.apt(release) == 0
    assert kept(world) == ["4", "3", "2"]
    assert generations(world) == ["2", "3", "4"]
    collected = [each for each in world.events() if each.event == "collected"]
    assert [(each.release, each.detail) for each in collected] == [
        ("1", "verified before the last 3")
    ]


def test_a_clock_that_went_back_does_not_take_the_release_that_was_just_verified(
    world: World,
) -> None:
    for release in ("2", "3"):
        world.apt(release)
    world.verified_at -= timedelta(days=400)
    assert world.apt("4") == 0
    assert kept(world) == ["4", "3", "2"]
    assert generations(world) == ["2", "3", "4"]
    world.bad.add("5")
    world.apt("5")
    assert (world.active, last_good(world)) == ("4", "4")


def test_a_release_that_a_wrong_clock_dated_ahead_goes_in_its_turn(world: World) -> None:
    manifest = world.machine.paths.releases / "1" / MANIFEST
    data = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**data, "verified_at": "2099-01-01T00:00:00+00:00"}))
    for release in ("2", "3", "4"):
        world.apt(release)
    assert kept(world) == ["4", "3", "2"]
    good = read_last_good(world.machine.paths)
    assert good and good.verified_at.startswith("2026"), "what people read is what the clock said"


def test_a_generation_that_an_earlier_release_still_has_stays(world: World) -> None:
    for release in ("2", "3", "4", "5"):
        world.apt(release, f"{STREAM}=2")
    assert kept(world) == ["5", "4", "3"]
    assert generations(world) == ["2"]


def test_a_release_that_fails_takes_nothing_away(world: World) -> None:
    for release in ("2", "3"):
        world.apt(release)
    world.bad.add("4")
    world.apt("4")
    assert kept(world) == ["3", "2", "1"]
    assert {"1", "2", "3"} <= set(generations(world))


def test_a_version_that_verifies_is_no_longer_kept_away(world: World) -> None:
    away = [Block(STACK, "2", "failed"), Block(STACK, "9", "failed")]
    block(world.server, away)
    world.apt("2")
    assert blocks(world.server) == away[1:]


def test_a_release_of_which_a_file_is_lost_is_good_but_not_kept(world: World) -> None:
    block(world.server, [Block(STACK, "2", "failed")])
    debs = world.publish("2")
    world.dpkg.run(["dpkg", "--install", str(debs[STREAM])])  # no hook keeps it
    debs[STREAM].unlink()
    world.dpkg.run(["dpkg", "--install", str(debs[STACK])])
    assert (last_good(world), kept(world), blocks(world.server)) == ("2", ["1"], [])
    said = world.said()
    assert "WARNING: release 2 is not kept for a rollback" in said
    assert f"the file of {STREAM} 2 is nowhere to be found" in said
    assert "next: apt-get update" in said
    assert "not-kept 2" in world.words()


def test_what_is_not_kept_takes_nothing_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tradingctl.deploy.store.collect", lambda _: [])
        for release in ("2", "3", "4"):
            world.apt(release)
    assert kept(world) == ["4", "3", "2", "1"]
    debs = world.publish("5")
    world.dpkg.run(["dpkg", "--install", str(debs[STREAM])])  # no hook keeps it
    debs[STREAM].unlink()
    world.dpkg.run(["dpkg", "--install", str(debs[STACK])])
    assert last_good(world) == "5"
    assert kept(world) == ["4", "3", "2", "1"]


def test_power_that_goes_before_the_release_is_kept_leads_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr("tradingctl.deploy.store._keep_descriptions", cut)
        with pytest.raises(PowerCutError):
            world.apt("2")
    assert world.boot() == 0
    assert world.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert (last_good(world), kept(world), world.pending) == ("1", ["1"], None)


def test_power_that_goes_before_the_release_is_recorded_leads_to_a_verified_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise PowerCutError

    for place in ("accept.write_last_good", "accept.unblock", "transaction.mark"):
        with monkeypatch.context() as patched:
            patched.setattr(f"tradingctl.deploy.{place}", cut)
            with pytest.raises(PowerCutError):
                world.apt("2")
        assert world.boot() == 0
        release = "1" if place == "accept.write_last_good" else "2"
        assert world.installed() == {STREAM: f"ii {release}", STACK: f"ii {release}"}
        assert (last_good(world), world.active, world.pending) == (release, release, None)
        world.tradingctl("rollback", "1")


def test_what_is_older_and_cannot_be_removed_is_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tradingctl.deploy.store.collect", fail)
    assert world.apt("2") == 0
    assert kept(world) == ["2", "1"]
    assert "what is older could not be removed" in world.said()
    assert "not-kept 2" not in world.words()


def test_the_record_names_packages_units_and_the_time(world: World) -> None:
    world.apt("2")
    data = json.loads(Path(world.machine.paths.last_good).read_text(encoding="utf-8"))
    assert data["packages"] == {STREAM: "2"}
    assert data["units"] == {STREAM: "OK"}
    assert data["verified_at"] == kept_releases(world.machine.paths)[0].verified_at


def test_the_first_release_is_kept_from_what_apt_downloaded(bare: World) -> None:
    assert bare.apt("1") == 0
    assert kept(bare) == ["1"]
    file = bare.machine.paths.releases / "1" / f"{STREAM}_1_all.deb"
    assert file.samefile(bare.machine.root / ARCHIVES / file.name)
