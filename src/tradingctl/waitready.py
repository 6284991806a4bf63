"""Wait until a service that is being started answers: ExecStartPost of those that do not notify.

Runs as the services' user in the unit's sandbox: it needs the description, the release file, the
loopback interface, and to see its own unit's main process.
"""

from __future__ import annotations

import json
import os

from tradingctl import probe
from tradingctl.description import Component, Unit
from tradingctl.errors import NotReadyError
from tradingctl.inventory import Inventory, service
from tradingctl.server import Server

INTERVAL = 0.2  # seconds between two questions
ANSWERED_INTERVAL = 1.0


def wait_ready(server: Server, inventory: Inventory, name: str, once: bool = False) -> None:
    """Return when every required check of the unit ``name`` is good; ``once`` waits for nothing.

    Raises NotReadyError when the main process is gone or the unit's deadline is over, TradingError
    when there is no such unit.
    """
    component, unit = inventory.unit(name)
    main_pid = server.environ.get("MAINPID", "")
    commit = _starting_commit(server, component)
    deadline = server.clock.now() + unit.deadline
    while True:
        _require_alive(main_pid, unit)
        left = deadline - server.clock.now()
        last, answered = _first_bad(unit, commit, max(0.1, min(2.0, left)))
        if last is None:
            return
        if once or deadline - server.clock.now() <= 0:
            when = "is not ready" if once else f"was not ready within {unit.deadline:g} s"
            raise NotReadyError(
                f"{service(unit.name)} {when}: {last}",
                f"journalctl -u {service(unit.name)} -n 50 --no-pager",
            )
        # A service that answers writes a line to its log each time.
        server.clock.sleep(ANSWERED_INTERVAL if answered else INTERVAL)


def _starting_commit(server: Server, component: Component) -> str:
    """Return the commit of the code that the link points to.

    The description is of the version that was unpacked last. Between that and the flip of the link
    a crash may start the earlier release anew, which must not wait for the later one's commit.
    """
    try:
        text = server.paths.release_file(component.name).read_text(encoding="utf-8")
        return str(json.loads(text)["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return component.commit


def _require_alive(main_pid: str, unit: Unit) -> None:
    if not main_pid.isdecimal() or main_pid == "0":
        return
    try:
        os.kill(int(main_pid), 0)
    except ProcessLookupError:
        raise NotReadyError(
            f"the main process {main_pid} of {service(unit.name)} ended while it was starting",
            f"journalctl -u {service(unit.name)} -n 50 --no-pager",
        ) from None
    except PermissionError:
        return  # another user's, so there is one


def _first_bad(unit: Unit, commit: str, timeout: float) -> tuple[str | None, bool]:
    """Return what is wrong with the first answer that is not good, and whether there was one."""
    for check in unit.checks:
        if check.required:
            answer = probe.ask(check, commit, timeout)
            if not answer.ok:
                said = f"{check.name} check: expected {answer.expected}, got {answer.got}"
                return said, answer.status != 0
    return None, False
