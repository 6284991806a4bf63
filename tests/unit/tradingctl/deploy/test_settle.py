"""What becomes of an installation that has ended: closed, or taken back."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import pytest
from tests.unit.tradingctl.deploy.release_world import (
    BOARD,
    CHECK,
    STACK,
    STREAM,
    PowerCutError,
    World,
)
from tests.unit.tradingctl.fakes import Unheard, unit_state

from tradingctl.deploy.beforehand import noted
from tradingctl.deploy.blocks import blocks
from tradingctl.deploy.lastgood import read_last_good
from tradingctl.deploy.store import folder_of, kept_releases
from tradingctl.deploy.transaction import State
from tradingctl.errors import AdoptionError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory
from tradingctl.server import Server
from tradingctl.verdict import Verification
from tradingctl.verify import ran_before

ONE = {STREAM: "ii 1", STACK: "ii 1"}


def blocked(world: World) -> list[str]:
    return [each.version for each in blocks(world.server)]


def last_good(world: World) -> str:
    good = read_last_good(world.machine.paths)
    return good.release if good else ""


def damage(world: World, release: str) -> None:
    (folder_of(world.machine.paths, release) / f"{STREAM}_{release}_all.deb").write_text("{}")


# What ends well.


def test_a_release_that_verifies_is_closed_and_kept(world: World) -> None:
    assert world.apt("2") == 0
    assert world.installed() == {STREAM: "ii 2", STACK: "ii 2"}
    assert world.pending is None
    assert not world.machine.paths.transaction.exists()
    assert last_good(world) == "2"
    assert [each.release for each in kept_releases(world.machine.paths)] == ["2", "1"]
    assert world.words()[-2:] == ["install 2", "verified 2"]


def test_a_release_that_could_not_be_verified_is_closed_and_not_called_good(world: World) -> None:
    world.skip = "policy-rc.d forbids to start services"
    assert world.apt("2") == 0
    assert world.pending is None
    assert last_good(world) == "1"
    assert [each.release for each in kept_releases(world.machine.paths)] == ["1"]
    assert not (world.machine.paths.releases / ".incoming").exists()


def test_without_an_installation_there_is_nothing_to_settle(world: World) -> None:
    before = world.files()
    assert world.tradingctl("recover") == 0
    assert (world.files(), world.said(), world.dpkg.ran("dpkg")) == (before, "", [])


def test_an_installation_that_changed_nothing_is_forgotten(world: World) -> None:
    world.dpkg.fails |= {f"preinst {STREAM}=2", f"preinst {STACK}=2"}
    before = world.files().keys() | {f"{world.machine.root}/var/cache/apt/archives/{each}_2_all.deb"
                                     for each in (STREAM, STACK)}  # fmt: skip
    assert world.apt("2") == 100
    assert world.installed() == ONE
    assert world.words()[-1] == "abandoned 2"
    assert world.files().keys() == before
    assert not blocked(world)
    assert "taken back" not in world.said()


# What is taken back.


def test_a_failed_check_goes_back_to_the_last_good_release_and_blocks_the_version(
    world: World,
) -> None:
    world.bad.add("2")
    assert world.apt("2") == 100
    assert world.installed() == ONE
    assert world.active == "1"
    assert world.asked[-2:] == ["2", "1"]
    assert (last_good(world), blocked(world), world.pending) == ("1", ["2"], None)
    assert world.words()[-2:] == ["failed 2", "rolled-back 1"]
    assert world.events()[-1].check == CHECK
    said = world.said()
    assert f"release 2 is taken back: {CHECK}" in said
    assert "release 1 is in service and verified; release 2 is not installed" in said
    assert "To try it again: tradingctl upgrade 2" in said


@pytest.mark.parametrize("error", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_a_release_is_taken_back_although_nobody_can_hear_of_it(world: World, error: int) -> None:
    world.bad.add("2")
    world.machine.out, world.machine.err = Unheard(error), Unheard(error)
    assert world.apt("2") == 100
    assert world.installed() == ONE
    assert (world.active, blocked(world), world.pending) == ("1", ["2"], None)
    assert world.words()[-2:] == ["failed 2", "rolled-back 1"]


def test_a_release_that_verifies_is_good_although_nobody_can_hear_of_it(world: World) -> None:
    world.machine.out, world.machine.err = Unheard(), Unheard()
    assert world.apt("2") == 0
    assert world.installed() == {STREAM: "ii 2", STACK: "ii 2"}
    assert (last_good(world), world.pending) == ("2", None)


def test_the_code_is_switched_before_dpkg_is_asked(world: World) -> None:
    world.bad.add("2")
    seen = []
    install = world.dpkg._install

    def watched(files: list[object], variables: dict[str, str]) -> tuple[int, str]:
        seen.append((world.active, variables.get("TRADING_ROLLBACK", "")))
        return install(files, variables)  # type: ignore[arg-type]

    world.monkeypatch.setattr(world.dpkg, "_install", watched)
    world.apt("2")
    assert seen == [("1", ""), ("1", "1")]


def test_a_disabled_service_that_ran_and_that_the_release_ends_runs_again(world: World) -> None:
    runs, ended = (
        [unit_state(STREAM, UnitFileState="disabled", ActiveState=active)]
        for active in ("active", "inactive")
    )
    world.dpkg.units[STREAM] = runs
    model = world._verify
    judged = []

    def verify(server: Server, inventory: Inventory, **_: object) -> Verification:
        judged.append((inventory.release, ran_before(server, inventory)))
        assert f"{STREAM}.service" in world.dpkg.ran("systemctl start")[-1]
        world.dpkg.units[STREAM] = ended if inventory.release == "2" else runs
        world.dpkg.commands.clear()
        return model(server, inventory)

    world.monkeypatch.setattr("tradingctl.deploy.gate.verify", verify)
    world.monkeypatch.setattr("tradingctl.deploy.rollback.verify", verify)
    world.bad.add("2")
    assert world.apt("2") == 100
    assert judged == [("2", {STREAM}), ("1", {STREAM})]
    assert (world.active, noted(world.machine.paths)) == ("1", set())


def test_where_nothing_is_taken_back_no_disabled_service_is_started_later(world: World) -> None:
    world.dpkg.units[STREAM] = [unit_state(STREAM, UnitFileState="disabled")]
    world.bad |= {"1", "2"}
    assert world.apt("2") == 100
    assert world.pending
    assert world.pending.state is State.STUCK
    ended = unit_state(STREAM, UnitFileState="disabled", ActiveState="inactive")
    world.dpkg.units[STREAM] = [ended]  # by the administrator, who is on it
    world.dpkg.commands.clear()
    world.bad.clear()
    assert world.tradingctl("gate") == 0
    assert world.dpkg.ran("systemctl start") == []


def test_a_disabled_service_that_rested_is_no_business_of_a_release(world: World) -> None:
    aside = unit_state(STREAM, UnitFileState="disabled", ActiveState="inactive")
    world.dpkg.units[STREAM] = [aside]
    assert world.apt("2") == 0
    assert world.dpkg.ran("systemctl start") == []


def test_a_later_release_passes_after_a_bad_one(world: World) -> None:
    world.bad.add("2")
    world.apt("2")
    assert world.apt("3") == 0
    assert world.installed() == {STREAM: "ii 3", STACK: "ii 3"}


@pytest.mark.parametrize("step", ["unpack", "preinst", "configure"])
def test_a_release_that_dpkg_could_not_install_is_taken_back_and_not_blocked(
    world: World, step: str
) -> None:
    world.dpkg.fails.add(f"{step} {STREAM}=2")
    assert world.apt("2") == 100
    assert world.installed() == ONE
    assert (blocked(world), world.pending) == ([], None)
    assert "release 2 is taken back: the installation did not come to its end" in world.said()


@pytest.mark.parametrize("fails", ["", f"configure {STREAM}=2"])
def test_a_release_whose_descriptions_only_it_can_read_is_taken_back(
    world: World, fails: str
) -> None:
    world.worded.add("2")
    world.dpkg.fails |= {fails}
    assert world.apt("2") == 100
    assert (world.installed(), world.active, world.pending) == (ONE, "1", None)
    assert world.words()[-1] == "rolled-back 1"
    assert f"warning: bad description: {world.machine.paths.components}" in world.said()


def test_a_description_that_a_power_cut_emptied_does_not_keep_a_release_in_service(
    world: World,
) -> None:
    world.dpkg.cuts.add(f"note {STREAM}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    world.dpkg.cuts.clear()
    world.machine.write(f"usr/share/trading/components/{STREAM}.json", "")
    assert world.boot() == 0
    assert (world.installed(), world.active, world.pending) == (ONE, "1", None)


def test_what_cannot_be_put_back_does_not_keep_a_release_in_service(world: World) -> None:
    def stuck(*_: object) -> bool:
        raise AdoptionError("/opt/trading/board is in the way", "mv /opt/trading/board /root/")

    world.monkeypatch.setattr("tradingctl.deploy.settle.installation.failed", stuck)
    world.dpkg.fails.add(f"configure {STREAM}=2")
    assert world.apt("2") == 100
    assert (world.installed(), world.pending) == (ONE, None)
    assert "next: mv /opt/trading/board /root/\n" in world.said()


def test_what_the_bad_release_brought_along_goes_again(world: World) -> None:
    world.bad.add("2")
    assert world.apt("2", STREAM, BOARD) == 100
    assert world.installed() == {**ONE, BOARD: "rc 2"}


def test_inside_a_rollback_nothing_is_opened_and_nothing_is_judged(world: World) -> None:
    world.bad.add("2")
    world.apt("2")
    # The preinst of release 1 asked, and its gate was called.
    assert world.words().count("install 1") == 0
    assert world.asked == ["1", "2", "1"]
    assert "the rollback verifies when every package is installed again" in world.said()


def test_nothing_is_left_behind_by_a_rollback(world: World) -> None:
    world.bad.add("2")
    world.apt("2")
    assert not (world.machine.paths.releases / ".incoming").exists()
    assert not world.machine.paths.transaction.exists()
    world.said()
    assert world.tradingctl("recover") == 0
    assert world.said() == ""


# What cannot be taken back.


def test_a_rollback_that_fails_is_not_tried_again_and_prints_one_command(world: World) -> None:
    world.apt("2")
    world.bad |= {"2", "3"}
    assert world.apt("3") == 100
    said = world.said()
    assert (
        "NO ROLLBACK: release 2 is installed and marketdata-stream.service is not healthy" in said
    )
    assert said.count("\nnext: ") == 1
    assert said.endswith("next: tradingctl rollback 1\n")
    world.asked.clear()
    assert world.tradingctl("hook", "post-invoke") == 0
    assert world.boot() == 1
    assert world.asked == []
    assert world.pending
    assert world.pending.state is State.STUCK
    assert world.words()[-1] == "rollback-failed 3"


def test_dpkg_that_fails_in_a_rollback_ends_it_and_is_quoted(world: World) -> None:
    world.bad.add("2")
    world.dpkg.fails.add(f"unpack {STREAM}=1")
    assert world.apt("2") == 100
    said = world.said()
    assert f"  {STREAM} cannot be unpacked\n" in said
    assert f"NO ROLLBACK: dpkg --install failed: {STREAM} cannot be unpacked" in said
    assert f"release 2 failed: {CHECK}; nothing more is done without you" in said
    assert said.endswith("next: tradingctl rollback 1\n")


def test_the_printed_command_works_once_the_cause_is_gone(world: World) -> None:
    world.bad.add("2")
    world.dpkg.fails.add(f"unpack {STREAM}=1")
    world.apt("2")
    world.dpkg.fails.clear()
    assert world.tradingctl("rollback", "1") == 0
    assert (world.installed(), world.pending) == (ONE, None)


def test_a_damaged_store_refuses_before_anything_is_touched(world: World) -> None:
    world.bad.add("2")
    damage(world, "1")
    world.apt("2")
    said = world.said()
    assert "NO ROLLBACK: release 1 cannot be installed again: " in said
    assert f"{STREAM}_1_all.deb is not the file that was verified" in said
    assert len(world.dpkg.ran("dpkg --install")) == 1  # apt's
    assert not world.dpkg.ran("dpkg --force")
    assert world.active == "2"


def test_the_first_installation_has_nothing_to_go_back_to(bare: World) -> None:
    bare.bad.add("1")
    debs = bare.publish("1")
    assert bare.dpkg_install(*debs.values()) != 0
    assert bare.tradingctl("recover") == 1
    said = bare.said()
    assert "NO ROLLBACK: no release was verified on this server before" in said
    assert said.endswith(
        "\nonce that is mended: dpkg --configure -a"
        "\nnext: journalctl -u marketdata-stream.service -n 100\n"
    )
    bare.bad.clear()
    assert bare.dpkg.run(["dpkg", "--configure", "--pending"]).code == 0
    assert bare.tradingctl("recover") == 0
    assert bare.pending is None


def test_where_the_release_is_back_and_ill_it_is_verified_again_once_that_is_mended(
    world: World,
) -> None:
    world.bad |= {"1", "2"}
    assert world.apt("2") == 100
    said = world.said()
    assert "NO ROLLBACK: release 1 is installed and" in said
    assert said.endswith(
        f"\nonce that is mended: dpkg-reconfigure {STACK}"
        "\nnext: journalctl -u marketdata-stream.service -n 100\n"
    )
    world.bad.clear()
    assert world.tradingctl("gate") == 0  # which is what it comes to
    assert world.tradingctl("recover") == 0
    assert (world.installed(), world.pending) == (ONE, None)


def test_a_damaged_store_prints_a_command_that_can_work(world: World) -> None:
    world.apt("2")
    world.bad.add("3")
    damage(world, "2")
    world.apt("3")
    assert world.said().endswith("next: tradingctl rollback 1\n")
    damage(world, "1")
    world.tradingctl("recover")
    assert world.said().endswith(
        f"next: apt-get update && apt-get install --allow-downgrades {STREAM}=2 {STACK}=2\n"
    )


def test_a_rollback_by_hand_that_fails_blames_no_release_that_is_well(world: World) -> None:
    world.apt("2")
    world.bad.add("1")
    assert world.tradingctl("rollback", "1") == 1
    said = world.said()
    assert "release 2 failed" not in said
    assert (
        "NO ROLLBACK: release 1 is installed and marketdata-stream.service is not healthy" in said
    )
    assert said.endswith("\nnothing more is done without you\nnext: tradingctl rollback 2\n")


def test_a_rollback_that_could_not_be_verified_does_not_say_so(world: World) -> None:
    world.dpkg.fails.add(f"unpack {STREAM}=2")
    world.skip = "policy-rc.d forbids to start services"
    world.apt("2")
    said = world.said()
    assert f"release 1 is installed and NOT verified: {world.skip}; release 2 is not" in said
    assert "in service and verified" not in said


# What was interrupted.


@pytest.mark.parametrize("state", ["stopping", ""])
def test_a_check_that_fails_while_the_machine_goes_down_is_no_verdict(
    world: World, state: str
) -> None:
    world.bad.add("2")
    world.dpkg.running = state
    assert world.apt("2") == 100
    said = world.said()
    assert "release 2 is not verified: the machine is going down" in said
    assert "release 2 is not taken back yet: the machine is going down" in said
    assert world.pending
    assert world.pending.state is State.OPEN
    world.dpkg.running = "running"
    assert world.boot() == 0
    assert (world.installed(), blocked(world)) == (ONE, [])
    assert not world.record.exists()


def test_a_rollback_in_which_the_machine_goes_down_is_gone_on_with_at_boot(world: World) -> None:
    world.bad.add("2")
    world.dpkg.fails.add(f"unpack {STREAM}=1")
    unpack = world.dpkg._unpack

    def then_going_down(deb: Mapping[str, str]) -> None:
        unpack(deb)
        if world.pending and world.pending.state is State.ROLLING_BACK:
            world.dpkg.running = "stopping"

    world.monkeypatch.setattr(world.dpkg, "_unpack", then_going_down)
    assert world.apt("2") == 100
    assert "NO ROLLBACK" not in world.said()
    assert world.pending
    assert (world.pending.state, world.pending.attempts) == (State.ROLLING_BACK, 1)
    world.dpkg.running = "running"
    world.dpkg.fails.clear()
    assert world.boot() == 0
    assert (world.installed(), blocked(world)) == (ONE, ["2"])
    assert not world.record.exists()


@pytest.mark.parametrize("step", ["preinst", "unpack", "configure", "note"])
@pytest.mark.parametrize("package", [STREAM, STACK])
def test_power_that_goes_in_an_installation_leads_to_one_verified_release(
    world: World, package: str, step: str
) -> None:
    world.dpkg.cuts.add(f"{step} {package}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    world.dpkg.cuts.clear()
    world.boot()
    release = "2" if (step, package) == ("note", STACK) else "1"
    assert world.installed() == {STREAM: f"ii {release}", STACK: f"ii {release}"}
    assert (world.active, last_good(world), world.pending) == (release, release, None)
    assert not blocked(world)


@pytest.mark.parametrize("step", ["preinst", "unpack", "configure", "note"])
@pytest.mark.parametrize("package", [STREAM, STACK])
def test_power_that_goes_in_a_rollback_leads_to_the_release_it_went_to(
    world: World, package: str, step: str
) -> None:
    world.bad.add("2")
    world.dpkg.cuts.add(f"{step} {package}=1")
    with pytest.raises(PowerCutError):
        world.apt("2")
    world.dpkg.cuts.clear()
    assert world.boot() == 0
    assert (world.installed(), world.active, world.pending) == (ONE, "1", None)
    assert blocked(world) == ["2"]


def test_a_new_package_that_was_half_unpacked_goes_too(world: World) -> None:
    world.dpkg.cuts.add(f"unpack {BOARD}=2")
    with pytest.raises(PowerCutError):
        world.apt("2", STREAM, BOARD)
    world.dpkg.cuts.clear()
    assert world.installed()[BOARD] == "iHR2"
    assert world.boot() == 0
    assert (world.installed(), world.pending) == ({**ONE, BOARD: "rc 2"}, None)


def test_what_was_not_verified_does_not_start_at_boot(world: World) -> None:
    world.dpkg.cuts.add(f"note {STREAM}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    assert world.active == "2"
    world.dpkg.commands.clear()
    assert world.tradingctl("hook", "boot") == 0
    assert world.active == "1"
    assert not world.dpkg.ran("systemctl")
    assert f"release 1 is to run again: {STREAM}" in world.said()


def test_a_boot_without_an_installation_under_way_switches_nothing(world: World) -> None:
    before = world.files()
    assert world.tradingctl("hook", "boot") == 0
    assert (world.files(), world.active, world.said()) == (before, "1", "")


def test_a_rollback_that_is_interrupted_three_times_gives_up(world: World) -> None:
    world.bad.add("2")
    world.dpkg.cuts.add(f"unpack {STREAM}=1")
    with pytest.raises(PowerCutError):
        world.apt("2")
    for _ in range(2):
        with pytest.raises(PowerCutError):
            world.boot()
    assert world.boot() == 1
    assert "NO ROLLBACK: 3 rollbacks were begun and none came to its end" in world.said()
    assert world.pending
    assert world.pending.state is State.STUCK


def test_the_verdict_counts_although_the_power_went_before_dpkg_noted_it(world: World) -> None:
    world.dpkg.cuts.add(f"note {STACK}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    assert world.installed()[STACK] == "iF 2"
    world.dpkg.cuts.clear()
    assert world.boot() == 0
    assert world.dpkg.ran("dpkg --configure") == ["dpkg --configure --pending"]
    assert world.installed() == {STREAM: "ii 2", STACK: "ii 2"}


def test_what_cannot_be_configured_after_all_is_taken_back(world: World) -> None:
    world.apt("2")
    world.skip = "systemd is not running"
    world.dpkg.cuts.add(f"note {STACK}=3")
    with pytest.raises(PowerCutError):
        world.apt("3")
    world.skip = ""
    world.dpkg.cuts.clear()
    world.dpkg.fails.add(f"configure {STACK}=3")
    assert world.boot() == 0
    assert world.installed() == {STREAM: "ii 2", STACK: "ii 2"}
    assert "postinst of traderunner-stack failed" in world.events()[-1].detail


def test_a_check_that_fails_after_the_boot_blocks_the_version_too(world: World) -> None:
    world.skip = "systemd is not running"
    world.dpkg.cuts.add(f"note {STACK}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    world.skip = ""
    world.dpkg.cuts.clear()
    world.bad.add("2")
    assert world.boot() == 0
    assert (world.installed(), blocked(world)) == (ONE, ["2"])


def test_what_dpkg_alone_installed_is_settled_by_the_unit_of_systemd(world: World) -> None:
    world.bad.add("2")
    debs = world.publish("2")
    assert world.dpkg_install(*debs.values()) == 1
    assert world.installed()[STACK] == "iF 2"
    assert world.tradingctl("recover") == 0
    assert (world.installed(), blocked(world)) == (ONE, ["2"])


def test_a_release_of_which_dpkg_does_not_say_the_name_is_kept_away_by_its_version(
    world: World,
) -> None:
    world.bad.add("2")
    for deb in world.publish("2").values():
        world.dpkg_install(deb)
    world.said()
    assert world.tradingctl("recover") == 0
    assert blocked(world) == ["2"]
    assert (
        f"apt will not install {STACK}=2 by itself; a later release passes."
        f" To try it again: apt-get install {STACK}=2\n"
    ) in world.said()


def test_one_component_alone_is_taken_back(world: World) -> None:
    debs = world.publish("2")
    assert world.dpkg_install(debs[STREAM]) == 0
    assert world.tradingctl("recover") == 0
    assert (world.installed(), blocked(world)) == (ONE, [])
    assert "what was being installed is taken back" in world.said()


def test_a_release_that_passed_unverified_runs_on_after_a_boot(world: World) -> None:
    world.skip = "policy-rc.d forbids to start services"
    world.dpkg.cuts.add(f"note {STACK}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    world.dpkg.cuts.clear()
    assert world.boot() == 0
    assert (world.installed()[STACK], world.active) == ("ii 2", "2")


def test_a_reinstallation_that_was_cut_short_is_no_untouched_server(world: World) -> None:
    debs = world.publish("1")
    world.dpkg.cuts.add(f"configure {STREAM}=1")
    with pytest.raises(PowerCutError):
        world.dpkg_install(*debs.values())
    world.dpkg.cuts.clear()
    world.boot()
    assert (world.installed(), world.pending) == (ONE, None)


def test_what_was_removed_is_not_brought_back_when_a_new_installation_fails(world: World) -> None:
    world.remove(STREAM, STACK)
    world.bad.add("2")
    assert world.dpkg_install(*world.publish("2").values()) == 1
    assert world.tradingctl("recover") == 1
    assert "NO ROLLBACK: nothing of release 1 was installed before" in world.said()
    assert world.installed()[STREAM] == "ii 2"


def test_what_stays_installed_and_runs_nothing_is_no_component(bare: World) -> None:
    assert bare.apt("1", STREAM, BOARD) == 0
    bare.remove(STREAM, STACK)
    for name in (STREAM, BOARD):
        bare.machine.paths.link(name).unlink()
    # As the package of tradingctl, which a removal of the stack leaves: it is no component.
    for description in bare.machine.paths.releases.rglob(f"components/{BOARD}.json"):
        description.unlink()
    bare.bad.add("2")
    assert bare.dpkg_install(*bare.publish("2", STREAM, BOARD).values()) == 1
    assert bare.tradingctl("recover") == 1
    assert "NO ROLLBACK: " in bare.said()
    assert bare.installed()[STREAM] == "ii 2"


# Where the stack was removed on purpose, and its components run on.


def component_alone(world: World, release: str, name: str = STREAM) -> int:
    """Remove the stack, then upgrade a component as ``apt upgrade`` does."""
    if STACK in world.dpkg.packages:
        world.remove(STACK)
    alone = {name: world.publish(release, name)[name]}
    with world.monkeypatch.context() as patched:
        patched.setattr(world, "publish", lambda _: alone)
        return world.apt(release)


def test_a_component_without_the_stack_is_backed_up_and_verified(world: World) -> None:
    assert component_alone(world, "2") == 0
    assert [each.name for each in world.backed_up] == [STREAM]
    assert (world.asked, world.pending) == (["1", "2"], None)
    assert world.installed() == {STREAM: "ii 2", STACK: "rc 1"}
    assert world.words()[-1] == "verified 2"
    # It is no release, but what a bad version is taken back to.
    assert (last_good(world), [each.release for each in kept_releases(world.machine.paths)]) == (
        "1", ["components", "1"])  # fmt: skip


def test_a_component_that_fails_without_the_stack_is_taken_back_and_the_stack_stays_removed(
    world: World,
) -> None:
    world.bad.add("2")
    assert component_alone(world, "2") == 100
    assert (world.installed(), world.active) == ({STREAM: "ii 1", STACK: "rc 1"}, "1")
    assert (world.pending, world.words()[-2:]) == (None, ["failed 2", "rolled-back 1"])


def test_a_release_that_brings_the_stack_back_and_fails_is_taken_back(world: World) -> None:
    world.remove(STACK)
    world.bad.add("2")
    assert world.apt("2") == 100
    assert [each.name for each in world.backed_up] == [STREAM]
    assert (world.installed(), world.active, blocked(world)) == (ONE, "1", ["2"])


def test_a_component_is_taken_back_to_what_ran_and_not_to_before_that(world: World) -> None:
    component_alone(world, "2")
    world.bad.add("3")
    assert component_alone(world, "3") == 100
    # What 2 wrote is not for 1.
    assert (world.installed()[STREAM], world.active, world.pending) == ("ii 2", "2", None)
    said = world.said()
    assert f"{STREAM} 2 is in service and verified; what was being installed is not" in said
    assert f"apt-mark hold {STREAM}; before a later release: apt-mark unhold {STREAM}\n" in said
    assert blocked(world) == []


def test_no_other_component_moves_with_one_that_is_taken_back(bare: World) -> None:
    assert bare.apt("1", STREAM, BOARD) == 0
    assert component_alone(bare, "2", BOARD) == 0
    bare.bad.add("3")
    bare.dpkg.commands.clear()
    assert component_alone(bare, "3") == 100
    assert (bare.installed()[STREAM], bare.installed()[BOARD]) == ("ii 1", "ii 2")
    assert not [each for each in bare.dpkg.ran("deb-systemd-invoke stop") if BOARD in each]


def test_nor_after_a_power_cut(bare: World) -> None:
    assert bare.apt("1", STREAM, BOARD) == 0
    bare.skip = "policy-rc.d forbids to start services"
    assert component_alone(bare, "2", BOARD) == 0
    bare.skip = ""
    bare.bad.add("3")
    bare.dpkg.cuts.add(f"unpack {STREAM}=1")
    with pytest.raises(PowerCutError):
        component_alone(bare, "3")
    bare.dpkg.cuts.clear()
    assert bare.boot() == 0
    assert (bare.installed()[STREAM], bare.installed()[BOARD]) == ("ii 1", "ii 2")
    assert (bare.active, Generations(bare.machine.paths, BOARD).active) == ("1", "2")


def test_what_was_never_verified_is_nothing_to_go_back_to_nor_what_was_before(world: World) -> None:
    world.skip = "policy-rc.d forbids to start services"
    component_alone(world, "2")
    world.skip = ""
    world.bad.add("3")
    world.said()
    assert component_alone(world, "3") == 100
    assert world.installed()[STREAM] == "ii 3"
    said = world.said()
    assert f"NO ROLLBACK: what ran before is not kept here: {STREAM}=2" in said
    again = f"apt-get update && apt-get install --allow-downgrades {STREAM}=2"
    assert f"next: {again}\n" in said
    assert component_alone(world, "2") == 0  # as the command does
    assert (world.installed()[STREAM], world.pending) == ("ii 2", None)


def test_a_stack_that_comes_back_and_fails_leaves_components_that_moved_alone(
    bare: World,
) -> None:
    assert bare.apt("1", STREAM, BOARD) == 0
    assert component_alone(bare, "2", BOARD) == 0
    bare.bad.add("3")
    assert bare.apt("3", STREAM, f"{BOARD}=2") == 100
    assert bare.installed() == {STREAM: "ii 1", BOARD: "ii 2", STACK: "rc 3"}
    assert (bare.pending, blocked(bare)) == (None, ["3"])
    bare.bad.clear()
    assert bare.apt("4", STREAM, f"{BOARD}=2") == 0
    assert [each.release for each in kept_releases(bare.machine.paths)] == ["4", "1"]


def test_the_way_back_from_a_stack_that_came_removes_it_first(bare: World) -> None:
    assert bare.apt("1", STREAM, BOARD) == 0
    bare.skip = "policy-rc.d forbids to start services"
    assert component_alone(bare, "2", BOARD) == 0
    bare.skip = ""
    bare.bad.add("3")
    assert bare.apt("3", STREAM, BOARD) == 100
    assert (
        f"next: apt-get remove --allow-remove-essential {STACK} && apt-get update &&"
        f" apt-get install --allow-downgrades {BOARD}=2 {STREAM}=1\n"
    ) in bare.said()


def test_without_a_name_a_rollback_goes_to_a_release_and_by_name_to_the_components(
    world: World,
) -> None:
    component_alone(world, "2")
    assert world.tradingctl("rollback") == 0
    assert world.installed() == ONE
    component_alone(world, "2")
    assert world.tradingctl("rollback", "components") == 0
    assert world.installed()[STREAM] == "ii 2"
    assert "components" in world.said()
