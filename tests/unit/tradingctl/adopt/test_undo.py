"""Going back on demand: of several adoptions, of one that was cut short, beside apt."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.unit.tradingctl.adopt.world import (
    API,
    BOARD,
    DASHBOARD,
    SECRET,
    WORKER,
    KilledError,
    World,
    api,
    board,
)
from tests.unit.tradingctl.lock_holder import holding

from tradingctl.adopt import installation, record
from tradingctl.adopt.record import Adoption, Kind, State, Step
from tradingctl.server import Server
from tradingctl.verdict import Verification

UNITS = {f"{each}.service" for each in (API, WORKER, DASHBOARD)}


def killed_at(world: World, monkeypatch: pytest.MonkeyPatch, step: int, *words: str) -> None:
    """Run a command and kill it when it has done a number of steps; nothing follows a kill."""
    finished = record.finished
    count = 0

    def die(*given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count > step:
            raise KilledError
        return finished(*given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(record, "finished", die)
        patched.setattr(installation, "_give_back", lambda *_: None)
        with pytest.raises(KilledError):
            world.run(*words)


def two_adoptions(world: World) -> dict[str, str]:
    """Take the components over one after the other; return what there was."""
    before = world.look()
    for components in ((api(),), (api(), board())):
        assert world.install(*components) == 0, world.said
        installation.accepted(world.machine.server)
    assert [each.components for each in record.read(world.machine.paths)] == [(API,), (BOARD,)]
    return before


def boot(world: World) -> None:
    world.systemd.alive.clear()
    assert world.run("adopt", "--resume") == 0
    world.systemd.alive |= UNITS


def again(world: World) -> None:
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 0, world.said


@pytest.mark.parametrize("step", [4, 8, 9, 14])
@pytest.mark.parametrize("mend", [boot, again])
def test_of_several_the_one_that_was_cut_short_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, step: int, mend: Callable[[World], None]
) -> None:
    before = two_adoptions(world)
    killed_at(world, monkeypatch, step, "adopt", "--undo", "--yes")
    mend(world)
    states = [each.state for each in record.read(world.machine.paths)]
    if mend is again:
        assert world.look() == before
        assert world.systemd.alive >= UNITS
        assert states == [State.UNDONE, State.UNDONE]
    else:
        assert State.UNDOING not in states
        assert states[1] is State.UNDONE


def test_a_secret_file_that_is_given_back_already_is_not_put_aside_when_it_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = "AT_WORKER_MODE=plan-only\nMINE=1\n"
    file = world.machine.write(f"etc/trading/secrets/{API}.env", mine)
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    finished = record.finished

    def die(server: Server, adoption: Adoption, step: Step, *given: Any, **named: Any) -> Adoption:
        if (step.kind, step.component) == (Kind.SETTINGS, API):
            raise KilledError
        return finished(server, adoption, step, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(record, "finished", die)
        with pytest.raises(KilledError):
            world.run("adopt", "--undo", "--yes", "--accept-orders")
    assert file.read_text() == mine
    again(world)
    assert file.read_text() == mine
    (aside,) = file.parent.glob(f"{file.name}.*")
    assert SECRET in aside.read_text(), "what the services ran with is kept, too"


def test_beside_apt_nothing_is_reversed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.unpack()
    killed_at(world, monkeypatch, 4, "activate", API)
    before = world.look()
    with holding(world.machine, "lock-frontend"):
        assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 5
        assert "packages are being changed by process" in world.said
        assert (world.look(), world.state) == (before, State.ADOPTING)


class Answer:
    """A standard input with a yes that takes its time, during which something is done."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    def readline(self) -> str:
        """Give the answer."""
        self.meanwhile()
        return "y\n"


def test_while_it_asks_others_may_change_packages_or_close_the_market(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    def lock() -> None:
        place = world.machine.paths.dpkg / "lock-frontend"
        subprocess.run([sys.executable, "-c", take, str(place)], check=True)

    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    monkeypatch.setattr("sys.stdin", Answer(lock))
    assert world.run("adopt", "--undo") == 0, world.said


def test_what_is_not_any_more_what_was_agreed_to_is_not_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    before = world.look()
    monkeypatch.setattr("sys.stdin", Answer(lambda: close_market(world)))
    assert world.run("adopt", "--undo") == 5
    assert "it would not do any more what was agreed to" in world.said
    assert (world.look(), world.state) == (before, State.KEPT)


def test_what_was_cut_short_is_put_back_when_it_is_agreed_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.look()
    world.unpack()
    killed_at(world, monkeypatch, 4, "activate", API)
    cut_short = world.look()
    assert world.run("adopt", "--undo", "--dry-run") == 0
    assert "TO BE PUT BACK, what is under way or was cut short (adopting)" in world.said
    assert "nothing was changed" in world.said
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert world.run("adopt", "--undo") == 5
    assert "SENDS ORDERS" in world.said
    assert (world.look(), world.state) == (cut_short, State.ADOPTING)
    monkeypatch.setattr("sys.stdin", io.StringIO("orders\n"))
    assert world.run("adopt", "--undo") == 0, world.said
    assert world.look() == before
    assert world.state == State.UNDONE
    assert world.run("activate", API) == 0, "which is what dpkg --configure -a runs"
    assert "as the administrator wanted" in world.said
    assert world.look() == before


def test_what_goes_on_with_an_undo_fails_as_well_when_a_unit_does_not_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_adoptions(world)
    killed_at(world, monkeypatch, 4, "adopt", "--undo", "--yes")
    world.systemd.codes[f"systemctl start {DASHBOARD}.service"] = 1
    assert world.run("adopt", "--undo", "--yes", "--accept-orders") == 1
    assert f"WARNING: {DASHBOARD}.service does not run; next: journalctl" in world.said
    assert world.state == State.UNDONE


def test_databases_that_no_backup_has_are_named_wherever_one_looks(world: World) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    warning = "NOT BACKED UP, because what was installed by hand uses them again:"
    warning += f" {world.old_database}"
    for command in ("status", "backup"):
        world.run(command)
        assert "NOT BACKED UP" not in world.said
    assert world.run("adopt", "--undo", "--yes") == 0
    assert f"WARNING: {warning}; next: sqlite3" in world.said
    for command in ("status", "backup"):
        world.run(command)
        assert warning in world.said
        # The one copy that ends while others write.
        assert f"next: sqlite3 {world.old_database} \"VACUUM INTO 'COPY'\"" in world.said


@pytest.mark.parametrize("more", [(), ("--settings",), ("--component", API), ("--dry-run",)])
def test_nothing_is_restored_where_nobody_would_use_it(world: World, more: Sequence[str]) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    assert world.run("backup") == 0
    assert world.run("adopt", "--undo", "--yes") == 0
    before = world.look(), set(world.systemd.alive)
    assert world.run("restore", "--accept-repeats", *more) == 5
    assert f"by hand of {API} is in service and uses {world.old_database}" in world.said
    assert "next: tradingctl adopt\n" in world.said
    assert (world.look(), set(world.systemd.alive)) == before


def test_what_was_given_back_and_then_removed_by_hand_is_not_spoken_of(world: World) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    again(world)
    for unit in (API, WORKER, DASHBOARD):
        world.forget(unit)
    for name in (API, BOARD):
        (world.machine.paths.base / name).rename(world.machine.root / f"old-{name}")
    assert world.install() == 0, world.said
    assert world.machine.paths.link(API).is_symlink()
    for command in ("status", "backup"):
        world.run(command)
        assert "by hand" not in world.said
        assert "NOT BACKED UP" not in world.said


def test_at_boot_systemd_is_told_of_units_whose_names_no_package_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rename_api(monkeypatch)
    world.unpack()
    assert world.run("adopt", "--dry-run") == 0, world.said
    killed_at(world, monkeypatch, 6, "activate", API)
    world.systemd.commands.clear()
    assert world.run("adopt", "--resume") == 0
    assert world.state == State.REVERSED
    assert world.systemd.ran("systemctl start") == ["systemctl start --no-block api.service"]


def test_a_mask_is_known_as_its_own_outside_of_the_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rename_api(monkeypatch)
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    again(world)
    mask = world.machine.paths.local_units / f"{API}.service"
    (known,) = (world.machine.paths.adoption / "masks").iterdir()
    assert (known.name, str(mask.readlink())) == (mask.name, "/dev/null")
    world.run("adopt", "--dry-run")
    assert "masked by the administrator" not in world.said
    monkeypatch.setattr("tradingctl.commands.adopt.verify", lambda *_: Verification("1"))
    assert world.run("adopt") == 0, world.said
    assert not mask.is_symlink()
    assert not known.exists(), "what masks it from now on is the administrator"


def close_market(world: World) -> None:
    """Do what the close does to the worker."""
    world.machine.write("run/trading/market-closed", json.dumps([WORKER]))
    world.systemd.alive.discard(f"{WORKER}.service")


def test_what_rests_until_the_market_opens_is_not_started_at_night(world: World) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    close_market(world)
    world.run("adopt", "--undo", "--dry-run")
    rests = f"{WORKER}.service rests until the market opens"
    assert f"\n  start {DASHBOARD}.service, {API}.service\n  note  {rests}, and" in world.said
    world.systemd.commands.clear()
    again(world)
    assert f"note: {rests}, not starting it" in world.said
    assert "does not run" not in world.said
    started = " ".join(world.systemd.ran("systemctl start"))
    assert f"{API}.service" in started
    assert f"{WORKER}.service" not in started


def test_what_is_not_enabled_no_market_starts(world: World) -> None:
    wants = world.machine.paths.local_units / f"multi-user.target.wants/{WORKER}.service"
    wants.unlink()
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    close_market(world)
    again(world)
    assert f"{WORKER}.service" in world.systemd.alive


@pytest.mark.parametrize("word", ["--undo", "--undo --yes", "--undo --dry-run"])
def test_a_restore_that_is_not_finished_comes_first(world: World, word: str) -> None:
    assert world.install() == 0, world.said
    installation.accepted(world.machine.server)
    world.machine.paths.restore_record.write_text("{}")
    before = world.look(), set(world.systemd.alive)
    assert world.run("adopt", *word.split()) == 5
    assert "next: tradingctl restore\n" in world.said
    assert (world.look(), set(world.systemd.alive)) == before
