"""What systemd says of the units, and the ways to start and stop them.

Starting honours the administrator's ``policy-rc.d`` and leaves disabled units alone, as
``deb-systemd-invoke`` does, which is what stops units.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tradingctl.description import Unit
from tradingctl.errors import ProgramFailedError
from tradingctl.inventory import service
from tradingctl.process import Runner
from tradingctl.server import Server

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "FragmentPath",
    "MainPID",
    "NRestarts",
    "ControlGroup",
    "UnitFileState",
    "ActiveEnterTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "User",
    "Result",
    "ExecMainStatus",
    "InvocationID",
    "TriggeredBy",
    "Job",
)
POLICY_DENIES = 101
ASKED = 3  # times, a second apart, before no answer is one


@dataclass(frozen=True)
class UnitState:
    """A unit as ``systemctl show`` has it; ``since`` is when it became active.

    ``down_since`` is when it became inactive, ``ended`` when its main process did, 0 if it never
    has; all in seconds of the boot. ``triggered_by`` are the timers, sockets and paths in force
    that start it. ``job`` tells whether it is to be started or stopped, and waits for it.
    """

    load: str = ""
    active: str = "unknown"
    sub: str = ""
    fragment: str = ""
    main_pid: int = 0
    restarts: int = 0
    cgroup: str = ""
    file_state: str = ""
    since: float = 0.0
    down_since: float = 0.0
    ended: float = 0.0
    user: str = ""
    result: str = ""
    exit_status: int = 0
    invocation: str = ""
    triggered_by: tuple[str, ...] = ()
    job: bool = False

    @property
    def put_aside(self) -> str:
        """How the administrator put the unit out of use, empty when they did not."""
        for word in ("masked", "disabled"):
            if self.load == word or self.file_state in (word, f"{word}-runtime"):
                return word
        return ""


def show(runner: Runner, names: Sequence[str]) -> dict[str, UnitState]:
    """Return the state of each unit, asked for all at once. Raises ProgramFailedError."""
    if not names:
        return {}
    wanted = ",".join(PROPERTIES)
    outcome = runner.run(
        ["systemctl", "show", f"--property={wanted}", "--", *map(service, names)], timeout=10.0
    )
    blocks = [block for block in outcome.output.split("\n\n") if block.strip()]
    if outcome.code != 0 or len(blocks) != len(names):
        raise ProgramFailedError(f"systemctl show says: {outcome.said}", "systemctl status")
    return {name: _parse(block) for name, block in zip(names, blocks, strict=True)}


def _parse(block: str) -> UnitState:
    said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return UnitState(
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", "unknown"),
        sub=said.get("SubState", ""),
        fragment=said.get("FragmentPath", ""),
        main_pid=_number(said.get("MainPID")),
        restarts=_number(said.get("NRestarts")),
        cgroup=said.get("ControlGroup", ""),
        file_state=said.get("UnitFileState", ""),
        since=_number(said.get("ActiveEnterTimestampMonotonic")) / 1e6,
        down_since=_number(said.get("InactiveEnterTimestampMonotonic")) / 1e6,
        ended=_number(said.get("ExecMainExitTimestampMonotonic")) / 1e6,
        user=said.get("User", ""),
        result=said.get("Result", ""),
        exit_status=_number(said.get("ExecMainStatus")),
        invocation=said.get("InvocationID", ""),
        triggered_by=tuple(said.get("TriggeredBy", "").split()),
        job=_number(said.get("Job")) != 0,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


class Observer:
    """The states of some units, read for all of them at once and shared between threads."""

    def __init__(self, server: Server, names: Sequence[str], max_age: float = 0.2) -> None:
        self._server = server
        self._names = list(names)
        self._max_age = max_age
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._states: dict[str, UnitState] = {}

    def state(self, name: str) -> UnitState:
        """Return a unit's state, at most ``max_age`` seconds old. Raises ProgramFailedError."""
        with self._lock:
            if self._server.clock.now() - self._read_at >= self._max_age:
                self._states = show(self._server.runner, self._names)
                self._read_at = self._server.clock.now()
            return self._states[name]


def absence(server: Server) -> str:
    """Return why no service can run here at all, empty when systemd runs them."""
    if server.environ.get("DPKG_ROOT"):
        return "packages are installed into another tree (DPKG_ROOT)"
    if not server.paths.systemd_running.is_dir():
        return "systemd is not running"
    # With /run bind-mounted, systemctl in a chroot exits 0 and ports answer: those of the host.
    if server.runner.run(["systemd-detect-virt", "-r"], timeout=10.0).code == 0:
        return "in a chroot"
    return ""


def going_down(server: Server) -> bool:
    """Return whether the machine is being shut down, or systemd has gone already.

    What a service does then says nothing about its release. One that gives no answer is asked
    again: it may only be busy.
    """
    if absence(server):
        return False
    for asked in range(ASKED):
        outcome = server.runner.run(["systemctl", "is-system-running"], timeout=10.0)
        state = outcome.output.strip()
        if state not in ("unknown", ""):
            return state == "stopping"
        if asked < ASKED - 1:
            server.clock.sleep(1.0)
    return True


def denied(server: Server, name: str) -> bool:
    """Return whether the administrator's policy-rc.d forbids to start the unit."""
    if not server.paths.policy.is_file():
        return False
    command = [str(server.paths.policy), service(name), "start"]
    return server.runner.run(command).code == POLICY_DENIES


def reload(server: Server) -> None:
    """Let systemd read the unit files anew; a failure is a warning."""
    outcome = server.runner.run(["systemctl", "daemon-reload"])
    if outcome.code != 0:
        server.warn(f"warning: {outcome}: {outcome.said}")


def stop(server: Server, unit: Unit) -> None:
    """Stop a unit; a failure is a warning."""
    outcome = server.runner.run(
        ["deb-systemd-invoke", "stop", service(unit.name)], timeout=unit.deadline + 120.0
    )
    if outcome.code != 0:
        server.warn(f"warning: {unit.name} was not stopped: {outcome.said}")


def start(
    server: Server,
    units: Sequence[Unit],
    forced: Collection[str] = (),
    alone: bool = False,
    afresh: bool = False,
) -> None:
    """Have systemd start units in the order of their dependencies, without waiting for them.

    Units that are masked or disabled, or that policy-rc.d denies, are left alone, as by
    deb-systemd-invoke; ``forced`` names those that are started although they are disabled. It is
    not used here because it waits: for a service that does not become ready, and for it again with
    every service that comes after it. ``alone`` keeps their order and starts nothing that they
    want or require. ``afresh`` ends an attempt that is under way, which a start would only join.
    A failure is a warning.
    """
    states = show(server.runner, [unit.name for unit in units])
    orders: dict[str, list[str]] = {"start": [], "restart": []}
    for unit in units:
        state = states[unit.name]
        aside = "" if unit.name in forced else state.put_aside
        if aside:
            server.warn(f"note: {unit.name} is {aside}, not starting it")
        elif denied(server, unit.name):
            server.warn(f"note: policy-rc.d forbids to start {unit.name}")
        else:
            verb = "restart" if afresh and state.active == "activating" else "start"
            orders[verb].append(service(unit.name))
    mode = ["--job-mode=ignore-requirements"] if alone else []
    for verb, names in orders.items():
        if not names:
            continue
        # An earlier failure would be taken for one of this start.
        server.runner.run(["systemctl", "reset-failed", *names])
        outcome = server.runner.run(["systemctl", verb, "--no-block", *mode, *names])
        if outcome.code != 0:
            server.warn(
                f"warning: systemd does not start {' '.join(names)}: {outcome.said}\n"
                f"  next: journalctl -u {names[0]} -n 50 --no-pager"
            )
