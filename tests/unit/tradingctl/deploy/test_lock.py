"""The lock of every program that changes packages."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.unit.tradingctl.deploy.release_world import World
from tests.unit.tradingctl.fakes import Machine
from tests.unit.tradingctl.lock_holder import HOLDER, holding

from tradingctl.deploy.lock import frontend_lock, held, require_idle
from tradingctl.errors import BusyError


@pytest.mark.parametrize("name", ["lock-frontend", "lock"])
def test_the_lock_held_by_another_process_refuses_and_names_it(world: World, name: str) -> None:
    before = world.files()
    with holding(world.machine, name) as child:
        assert world.tradingctl("rollback", "1") == 5
        assert world.tradingctl("upgrade") == 5
        said = world.said()
    assert said.count(
        f"packages are being changed by process {child.pid} (apt-get install traderunner-stack);"
        " nothing was changed"
    ) == 2  # fmt: skip
    assert "next: wait for it to end" in said
    assert world.files() == {**before, **{key: value for key, value in world.files().items()
                                          if "/proc/" in key}}  # fmt: skip
    assert world.words()[-1] == "verified 1"


@pytest.mark.parametrize("name", ["lock-frontend", "lock"])
def test_who_waits_gets_the_lock_when_the_other_ends(world: World, name: str) -> None:
    code = (
        "import sys; from pathlib import Path; from tradingctl.paths import Paths\n"
        "from tradingctl.process import Programs; from tradingctl.server import Server\n"
        "from tradingctl.deploy.lock import frontend_lock\n"
        "server = Server(Paths(Path(sys.argv[1])), Programs(), {}, 0, sys.stdout, sys.stderr)\n"
        "print('waiting', flush=True)\n"
        "with frontend_lock(server, wait=True): print('mine', flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(world.machine.root)]
    with (
        holding(world.machine, name) as child,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting,
    ):
        assert waiting.stdout
        assert waiting.stdout.readline() == "waiting\n"
        assert waiting.poll() is None
        assert child.stdin
        child.stdin.close()
        assert waiting.stdout.readline() == "mine\n"


def free(machine: Machine) -> bool:
    command = [sys.executable, "-c", HOLDER.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB")]
    command.append(str(machine.paths.dpkg / "lock-frontend"))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def test_the_lock_is_free_again_afterwards_also_after_an_error(world: World) -> None:
    with pytest.raises(KeyError), frontend_lock(world.server):
        assert not free(world.machine)
        raise KeyError
    assert free(world.machine)


def test_below_a_program_that_holds_it_nothing_is_taken(world: World) -> None:
    with holding(world.machine, "lock-frontend"):
        world.machine.environ["DPKG_FRONTEND_LOCKED"] = "true"
        assert held(world.server)
        with frontend_lock(world.server):
            pass


def test_a_holder_that_ended_meanwhile_is_another_program(world: World) -> None:
    with holding(world.machine, "lock-frontend") as child:
        (world.machine.root / f"proc/{child.pid}/cmdline").unlink()
        with pytest.raises(BusyError, match=f"by process {child.pid};"):
            require_idle(world.server)
