"""What the administrator does not start at boot is not enabled by a package of the same name."""

from __future__ import annotations

from tests.unit.tradingctl.adopt.world import API, WORKER, World

UPDATE = ["deb-systemd-helper", "update-state", f"{WORKER}.service"]


def updated(world: World) -> list[list[str]]:
    """Return what was told to deb-systemd-helper when the API was configured."""
    world.unpack()
    assert world.run("hook", "configure", API) == 0
    return [each for each in world.systemd.commands if each[0] == "deb-systemd-helper"]


def disable(world: World) -> None:
    """Do what `systemctl disable` does."""
    (world.machine.paths.local_units / f"multi-user.target.wants/{WORKER}.service").unlink()


def test_disabled_unit_is_known_to_be_disabled(world: World) -> None:
    disable(world)
    assert updated(world) == [UPDATE]
    place = world.systemd.commands.index(UPDATE)
    assert world.systemd.variables[place] == {"DPKG_MAINTSCRIPT_PACKAGE": API}


def test_enabled_and_masked_units_and_those_of_packages_alone_are_left(world: World) -> None:
    assert updated(world) == []
    disable(world)
    file = world.machine.paths.local_units / f"{WORKER}.service"
    file.unlink()
    assert updated(world) == []
    file.symlink_to("/dev/null")
    assert updated(world) == []


def test_it_is_said_when_it_cannot_be_known(world: World) -> None:
    disable(world)
    world.systemd.codes["deb-systemd-helper"] = 1
    updated(world)
    assert f"warning: {WORKER}.service may be enabled" in world.said
