"""Whether a service may send orders on this machine: only production does, unless it is written.

Asked before each start by the unit itself, so that nobody and nothing can start it by the way. What
the administrator wrote is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingctl.backup import worker_mode
from tradingctl.backup.worker_mode import SAFE, VARIABLE, shown
from tradingctl.description import Component, Unit
from tradingctl.environment import PRODUCTION, is_production, read_environment
from tradingctl.errors import OrdersError
from tradingctl.inventory import Inventory, service
from tradingctl.paths import Paths
from tradingctl.server import Server
from tradingctl.systemd import UnitState
from tradingctl.verdict import Finding

CHECK = "order safety"
CONDITION = "exec-condition"
"""What systemd calls the result of a start that ``may_start`` did not allow."""


@dataclass(frozen=True)
class Refusal:
    """Why a mode is refused, and what ends it: saying what the machine is, or allowing the mode."""

    reason: str
    next_command: str


def refusal(paths: Paths, mode: str, where: str = "") -> Refusal | None:
    """Return why ``mode``, written in the file ``where``, is refused here; None if it is not."""
    if mode in ("", SAFE) or is_production(paths) or allowed_mode(paths) == mode:
        return None
    try:
        machine = read_environment(paths) or "of no known environment"
    except OSError:
        machine = "of no known environment"
    override = paths.shown(paths.orders_on_staging)
    written = allowed_mode(paths)
    but = f"; {override} allows {written!r}, not this" if written else ""
    reason = (
        f"{VARIABLE} is {shown(mode)}{f' in {where}' if where else ''}, and this machine is"
        f" {machine} by {paths.shown(paths.environment)}: only {SAFE} is started here{but}"
    )
    # A blank at its end is none in the file that allows a mode.
    if shown(mode) != mode.strip():
        return Refusal(reason, f"grep -n {VARIABLE} {where or paths.shown(paths.settings) + '/*'}")
    return Refusal(
        reason,
        f"tradingctl environment {PRODUCTION}  # if it is; or, to allow it here: echo {mode} >"
        f" {override}",
    )


def allowed_mode(paths: Paths) -> str:
    """Return the mode that the administrator allows on a machine that is not production."""
    return allowed_in(paths.orders_on_staging.name, paths.settings)


def allowed_in(name: str, *folders: Path) -> str:
    """Return the same by the file ``name`` in the first of the folders that has it."""
    lines = worker_mode.text_of(name, folders).splitlines()
    words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return words[0] if len(words) == 1 else ""


def may_start(server: Server, name: str) -> None:
    """Return if the unit ``name`` may start with the environment it is being started with.

    Raises OrdersError if it may not. Where it may because somebody wrote that it may, says so.
    """
    mode = server.environ.get(VARIABLE, "")
    if refused := refusal(server.paths, mode):
        raise OrdersError(f"{service(name)} is not started: {refused.reason}", refused.next_command)
    if override := _override_in_use(server.paths, mode):
        server.warn(f"WARNING: {override}")


def _override_in_use(paths: Paths, mode: str) -> str:
    if mode in ("", SAFE) or is_production(paths):
        return ""
    return (
        f"{VARIABLE}={mode} on a machine that is not production, allowed by"
        f" {paths.shown(paths.orders_on_staging)}"
    )


def order_notes(server: Server, inventory: Inventory) -> Iterator[str]:
    """Give what ``status`` says of orders: what is refused, and what is allowed by the override."""
    for component, unit in inventory.units():
        if unit.sends_orders:
            mode, where = worker_mode.written(component.name, server.paths.settings)
            name = unit.name.removesuffix(".service")
            if refused := refusal(server.paths, mode, _shown(server, where)):
                yield f"{name} is not started: {refused.reason}; next: {refused.next_command}"
            elif override := _override_in_use(server.paths, mode):
                yield f"{name}: {override}"


def order_finding(
    server: Server, component: Component, unit: Unit, state: UnitState
) -> Finding | None:
    """Return what keeps a unit from its orders here, or that it sends them where it must not."""
    if not unit.sends_orders:
        return None
    mode, where = worker_mode.written(component.name, server.paths.settings)
    running = running_mode(server, state)
    if running and (refused := refusal(server.paths, running)):
        return Finding(
            CHECK,
            f"{SAFE} on a machine that is not production",
            f"process {state.main_pid} runs with {VARIABLE}={shown(running)}: {refused.reason}",
            f"systemctl stop {service(unit.name)}  # or {refused.next_command}",
        )
    if refused := refusal(server.paths, mode, _shown(server, where)):
        start = "is not started" if state.active != "active" else "will not be started again"
        return Finding(
            CHECK,
            f"{SAFE} on a machine that is not production",
            f"{start}: {refused.reason}",
            refused.next_command,
        )
    if state.active == "inactive" and state.result == CONDITION:
        return Finding(
            CHECK,
            "started",
            "was not allowed to start when it was tried last",
            f"systemctl restart {service(unit.name)}; journalctl -u {service(unit.name)} -n 20",
        )
    return None


def running_mode(server: Server, state: UnitState) -> str:
    """Return the mode that a running process was started with, empty if it cannot be known."""
    if state.active != "active" or not state.main_pid:
        return ""
    try:
        text = (server.paths.proc / str(state.main_pid) / "environ").read_bytes()
    except OSError:
        return ""
    for each in text.decode("utf-8", "replace").split("\0"):
        if each.startswith(f"{VARIABLE}="):
            return each.partition("=")[2]
    return ""


def _shown(server: Server, where: str) -> str:
    return f"{server.paths.shown(server.paths.settings)}/{where}" if where else ""
