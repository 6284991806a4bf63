"""Before an installation changes anything: what apt says, and when the answer is no."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.release_world import (
    BOARD,
    STACK,
    STREAM,
    PowerCutError,
    World,
    protocol,
)

from tradingctl.deploy.incoming import Item, before_apt, parse_items
from tradingctl.deploy.lock import HELD
from tradingctl.deploy.transaction import State, mark
from tradingctl.errors import BackupError, NoSpaceError, TradingError, VetoError

HEAD = "VERSION 3\nAPT::Architecture=amd64\nDPkg::Tools::Options::=x\n\n"
Room = namedtuple("Room", ["f_bavail", "f_frsize"])


def pre_install(world: World, text: str) -> None:
    before_apt(world.server, parse_items(text))


def refused(world: World, text: str) -> TradingError:
    """Return the veto; it must leave everything as it was."""
    before = world.files()
    with pytest.raises(TradingError) as raised:
        pre_install(world, text)
    assert world.files() == before
    assert world.events()[-1].event == "vetoed"
    assert world.events()[-1].detail == raised.value.message
    return raised.value


# What apt says.


def test_each_line_is_a_package_its_new_version_and_a_file_or_a_word() -> None:
    text = HEAD + (
        "board 1 all none < 2 all none /var/cache/apt/archives/board_2_all.deb\n"
        "libc6 - - none < 2.36 amd64 same /tmp/with two  blanks/libc6.deb\n"
        "stack 1 all none > - - none **REMOVE**\n"
        "old 1 all none = 1 all none **CONFIGURE**\n"
    )
    assert parse_items(text) == [
        Item("board", "2", "/var/cache/apt/archives/board_2_all.deb"),
        Item("libc6", "2.36", "/tmp/with two  blanks/libc6.deb"),
        Item("stack", "-", "**REMOVE**"),
        Item("old", "1", "**CONFIGURE**"),
    ]
    assert [item.file and item.file.name for item in parse_items(text)] == [
        "board_2_all.deb", "libc6.deb", None, None]  # fmt: skip


def test_nothing_to_do_is_no_item() -> None:
    assert parse_items(HEAD) == []


@pytest.mark.parametrize("said", ["VERSION 2", "VERSION 30", "/var/cache/x.deb", ""])
def test_another_version_of_the_protocol_is_refused_and_quoted(said: str) -> None:
    with pytest.raises(VetoError) as raised:
        parse_items(said + "\n\nboard 1 < 2 /x.deb\n" if said else "")
    assert f"apt speaks {said or 'nothing'!r} and not version 3" in raised.value.message
    assert "/etc/apt/apt.conf.d/80traderunner" in raised.value.message
    # Nothing that apt would have to install: this is asked before that as well.
    assert raised.value.next_command == "apt-config dump DPkg::Tools::Options"


# What is opened.


def test_a_transaction_says_what_was_there_and_what_comes(world: World) -> None:
    pre_install(world, protocol(world.publish("2", STREAM, BOARD)))
    assert world.pending
    assert (world.pending.state, world.pending.release, world.pending.origin) == (
        State.OPEN, "2", "apt")  # fmt: skip
    assert world.pending.before == {STREAM: "1", STACK: "1", BOARD: ""}
    assert world.pending.incoming == {STREAM: "2", STACK: "2", BOARD: "2"}
    incoming = world.machine.paths.releases / ".incoming"
    assert sorted(each.name for each in incoming.iterdir()) == [
        f"{BOARD}_2_all.deb", f"{STREAM}_2_all.deb", f"{STACK}_2_all.deb"]  # fmt: skip
    assert world.words()[-1] == "install 2"


def test_packages_of_others_are_left_alone(world: World) -> None:
    before = world.files()
    other = world.machine.root / "hello_2_all.deb"
    pre_install(world, protocol({"hello": other}, "hi 1 all none > - - none **REMOVE**"))
    assert (world.files(), world.pending) == (before, None)


def test_packages_of_others_are_not_kept(world: World) -> None:
    debs = {**world.publish("2"), "hello": world.machine.root / "hello_2_all.deb"}
    pre_install(world, protocol(debs))
    assert world.pending
    assert "hello" not in {**world.pending.before, **world.pending.incoming}


def test_removing_the_stack_opens_nothing(world: World) -> None:
    pre_install(world, HEAD + f"{STACK} 1 all none > - - none **REMOVE**\n")
    assert world.pending is None


def test_removing_the_stack_while_an_installation_is_not_recovered_is_refused(world: World) -> None:
    world.dpkg.cuts.add(f"unpack {STREAM}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    with pytest.raises(VetoError) as raised:
        pre_install(world, HEAD + f"{STACK} 1 all none > - - none **REMOVE**\n")
    assert raised.value.next_command == "tradingctl recover"


def test_a_hook_that_is_called_twice_opens_one_transaction(world: World) -> None:
    text = protocol(world.publish("2"))
    pre_install(world, text)
    before, told = world.pending, len(world.events())
    pre_install(world, text)
    assert world.pending == before
    assert len(world.events()) == told


def test_removing_the_stack_while_a_component_changes_is_refused(world: World) -> None:
    text = protocol({STREAM: world.publish("2")[STREAM]}, f"{STACK} 1 a n > - - n **REMOVE**")
    with pytest.raises(VetoError) as raised:
        pre_install(world, text)
    assert f"this would remove {STACK}" in raised.value.message
    assert STREAM in raised.value.message
    assert world.pending is None


def test_the_first_installation_is_opened_too(bare: World) -> None:
    pre_install(bare, protocol(bare.publish("1")))
    assert bare.pending
    assert bare.pending.before == {STREAM: "", STACK: ""}


# Vetoes.


def full(world: World, free: int) -> None:
    room = Room(free // 4096, 4096)
    world.monkeypatch.setattr("tradingctl.deploy.space.os.statvfs", lambda _: room)


def test_too_little_room_is_a_veto_with_numbers_that_leaves_nothing_behind(world: World) -> None:
    text = protocol(world.publish("2"))
    full(world, 10_000_000)
    error = refused(world, text)
    assert isinstance(error, NoSpaceError)
    assert "has 10 MB free and needs 67 MB" in error.message
    assert world.installed() == {STREAM: "ii 1", STACK: "ii 1"}


def test_too_little_room_beside_the_backup_is_a_veto_too(world: World) -> None:
    text = protocol(world.publish("2"))
    world.monkeypatch.setattr("tradingctl.deploy.incoming.take", lambda *_: full(world, 10_000_000))
    assert isinstance(refused(world, text), NoSpaceError)


def test_a_backup_that_fails_is_a_veto(world: World) -> None:
    world.refusal = BackupError("ticks.db is damaged", "tradingctl restore")
    assert refused(world, protocol(world.publish("2"))) is world.refusal


def test_a_restore_that_is_not_finished_is_a_veto(world: World) -> None:
    world.machine.write("var/lib/trading/restore.json", "{}")
    error = refused(world, protocol(world.publish("2")))
    assert "a restore was cut short" in error.message
    # Not the unit of the boot, which takes it for granted that no service runs.
    assert error.next_command == "tradingctl restore"


def test_the_deploy_window_is_a_veto(world: World) -> None:
    text = protocol(world.publish("2"))
    world.monkeypatch.setattr(
        "tradingctl.deploy.incoming.require_open", _raise(VetoError("the market is open"))
    )
    assert refused(world, text).message == "the market is open"


@pytest.mark.parametrize("package", [STREAM, STACK])
def test_window_and_backup_are_asked_although_the_stack_was_removed(
    world: World, package: str
) -> None:
    world.remove(STACK)
    debs = world.publish("2")
    text = protocol({package: debs[package]})
    world.refusal = BackupError("ticks.db is damaged")
    assert refused(world, text) is world.refusal
    world.monkeypatch.setattr(
        "tradingctl.deploy.incoming.require_open", _raise(VetoError("the market is open"))
    )
    assert refused(world, text).message == "the market is open"


def _raise(error: Exception):  # type: ignore[no-untyped-def]
    def fail(*_: object) -> None:
        raise error

    return fail


def test_neither_window_nor_backup_is_asked_where_nothing_runs_yet(bare: World) -> None:
    bare.refusal = BackupError("no database")
    bare.monkeypatch.setattr(
        "tradingctl.deploy.incoming.require_open", _raise(VetoError("the market is open"))
    )
    pre_install(bare, protocol(bare.publish("1")))
    assert bare.pending


def test_a_first_installation_that_was_cut_short_is_gone_on_with_as_one(bare: World) -> None:
    bare.dpkg.cuts.add(f"preinst {STACK}=1")
    with pytest.raises(PowerCutError):
        bare.apt("1")
    bare.dpkg.cuts.clear()
    bare.refusal = BackupError("there is no account yet")
    assert bare.apt("1") == 0


def test_a_veto_ends_apt_before_anything_is_unpacked(world: World) -> None:
    world.refusal = BackupError("ticks.db is damaged", "tradingctl restore")
    assert world.apt("2") == 100
    assert world.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert not world.dpkg.ran("dpkg --install")
    said = world.said()
    assert "tradingctl: ticks.db is damaged" in said
    assert "next: tradingctl restore" in said


def test_what_was_cut_short_has_to_be_recovered_first(world: World) -> None:
    world.dpkg.cuts.add(f"unpack {STREAM}=2")
    with pytest.raises(PowerCutError):
        world.apt("2")
    error = refused(world, protocol(world.publish("3")))
    assert "an earlier installation, of release 2, was cut short" in error.message
    assert error.next_command == "tradingctl recover"


def test_a_rollback_that_was_given_up_does_not_bar_a_later_release(world: World) -> None:
    world.bad |= {"1", "2"}
    assert world.apt("2") == 100
    assert world.pending
    assert world.pending.state is State.STUCK
    assert world.apt("3") == 0
    assert world.installed() == {STREAM: "ii 3", STACK: "ii 3"}
    assert not world.record.exists()


def test_a_description_that_cannot_be_read_is_no_obstacle_to_others(world: World) -> None:
    world.machine.write(f"usr/share/trading/components/{STREAM}.json", "{")
    pre_install(world, protocol({"hello": world.machine.root / "hello_2_all.deb"}))
    assert world.pending is None


def test_a_description_that_cannot_be_read_is_mended_by_the_command_that_is_printed(
    world: World,
) -> None:
    world.machine.write(f"usr/share/trading/components/{STREAM}.json", "{")
    assert world.tradingctl("status") == 5
    assert f"next: apt-get install --reinstall {STREAM}\n" in world.said()
    deb = world.publish("1")[STREAM]
    pre_install(world, protocol({STREAM: deb}))
    assert "what release 1 has of services and databases is gone by" in world.said()
    assert [each.name for each in world.backed_up] == [STREAM]
    assert world.dpkg.run(["dpkg", "--install", str(deb)], extra={HELD: "true"}).code == 0
    assert world.tradingctl("status") == 0


def test_where_no_description_at_all_can_be_read_it_is_a_veto(world: World) -> None:
    world.machine.write(f"usr/share/trading/components/{STREAM}.json", "{")
    for kept in world.machine.paths.releases.glob(f"1/descriptions/components/{STREAM}.json"):
        kept.write_text("{")
    error = refused(world, protocol(world.publish("2")))
    assert error.message.startswith("bad description: ")
    assert error.next_command == f"apt-get install --reinstall {STREAM}"


def test_a_file_that_is_no_package_is_named(world: World) -> None:
    there = world.machine.write("stack.deb", "half")
    with pytest.raises(TradingError, match=f"{there} is not a package"):
        pre_install(world, protocol({STACK: there}))
    assert world.pending is None


def test_the_market_closes_although_a_description_cannot_be_read(world: World) -> None:
    world.machine.write("usr/share/trading/nyse-holidays", "")
    world.machine.write(f"usr/share/trading/components/{STREAM}.json", "")
    running = world.dpkg.units[STREAM][0]
    world.dpkg.units[STREAM] = [running, {**running, "ActiveState": "inactive"}]
    world.dpkg.asked = 0
    assert world.tradingctl("market", "close", "--force") == 0
    assert world.dpkg.ran("systemctl stop") == [f"systemctl stop {STREAM}.service"]


# dpkg without apt.


def unpack(world: World, package: str, version: str, **environ: str) -> int:
    return world.tradingctl("hook", "unpack", package, version, **environ)


def test_dpkg_alone_opens_a_transaction_of_all_that_it_was_called_with(world: World) -> None:
    debs = world.publish("2")
    relative = [str(each.relative_to(world.machine.root)) for each in debs.values()]
    world.started_by("dpkg", "-i", *relative)
    assert unpack(world, STREAM, "2") == 0
    assert world.pending
    assert (world.pending.origin, world.pending.release) == ("dpkg", "2")
    assert world.pending.incoming == {STREAM: "2", STACK: "2"}


def test_what_apt_opened_is_not_opened_again(world: World) -> None:
    pre_install(world, protocol(world.publish("2")))
    before = world.files()
    assert unpack(world, STREAM, "2") == 0
    assert world.files() == before


def test_a_second_dpkg_is_noted_in_the_transaction_of_the_first(world: World) -> None:
    debs = world.publish("2")
    assert world.dpkg_install(debs[STREAM]) == 0
    assert world.dpkg_install(debs[STACK]) == 0
    assert world.pending
    assert world.pending.incoming == {STREAM: "2", STACK: "2"}
    assert world.tradingctl("recover") == 0
    assert world.installed() == {STREAM: "ii 2", STACK: "ii 2"}


def test_inside_a_rollback_nothing_is_opened(world: World) -> None:
    before = world.files()
    assert unpack(world, STREAM, "0", TRADING_ROLLBACK="1") == 0
    assert world.files() == before


def test_where_nothing_is_installed_one_component_opens_nothing(bare: World) -> None:
    bare.started_by("dpkg", "-i", str(bare.publish("1")[STREAM]))
    assert unpack(bare, STREAM, "1") == 0
    assert bare.pending is None


def test_a_veto_under_dpkg_keeps_the_installed_version(world: World) -> None:
    world.refusal = BackupError("ticks.db is damaged", "tradingctl restore")
    assert world.dpkg_install(*world.publish("2").values()) == 1
    assert world.installed() == {STREAM: "ii 1", STACK: "ii 1"}
    assert not Path(world.machine.paths.transaction).exists()


@pytest.mark.parametrize(
    ("state", "version"), [(State.FAILED, "2"), (State.ROLLING_BACK, "1"), (State.OPEN, "2")]
)
def test_an_announcement_does_not_hide_a_verdict(world: World, state: State, version: str) -> None:
    pre_install(world, protocol(world.publish("2")))
    mark(world.server, state, check="health: got 500")
    before = world.pending
    assert unpack(world, STREAM, version) == 0
    assert world.pending == before


def test_what_is_not_signed_is_refused_before_anything_is_looked_at(world: World) -> None:
    text = protocol(world.publish("2"))
    world.unsigned = "x.deb is not signed"
    world.dpkg.commands.clear()
    assert refused(world, text).message == "x.deb is not signed"
    assert world.dpkg.ran("dpkg-deb") == []
    assert world.pending is None
    assert not (world.machine.paths.releases / ".incoming").exists()
