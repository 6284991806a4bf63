"""Who listens on a port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.unit.tradingctl.fakes import PORT, Machine

from tradingctl.sockets import owner_of

GROUP = "/system.slice/marketdata-stream.service"


def test_this_process_is_found_to_listen_in_the_real_proc() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = owner_of(Path("/proc"), port, os.getpid(), GROUP)
    assert (found.listening, found.foreign, found.hidden) == (True, None, False)


def test_a_worker_in_the_units_group_may_hold_the_port(machine: Machine) -> None:
    machine.listen(("00000000", PORT, "7"))
    machine.process(10, "/", GROUP)
    machine.process(11, "/", GROUP + "/worker", ["7"])
    found = owner_of(machine.paths.proc, PORT, 10, GROUP)
    assert found.listening
    assert found.foreign is None


def test_a_group_whose_name_only_begins_the_same_is_foreign(machine: Machine) -> None:
    machine.listen(("0100007F", PORT, "7"))
    machine.process(11, "/", GROUP + "-other", ["7"])
    found = owner_of(machine.paths.proc, PORT, 10, GROUP).foreign
    assert found
    assert (found.pid, found.command) == (11, "python11 -m app")


def test_a_stranger_on_the_loopback_address_beside_us_is_found(machine: Machine) -> None:
    machine.listen(("00000000", PORT, "7"), ("0100007F", PORT, "8"))
    machine.process(10, "/", GROUP, ["7"])
    machine.process(11, "/", "/user.slice", ["8"])
    found = owner_of(machine.paths.proc, PORT, 10, GROUP)
    assert found.foreign
    assert found.foreign.pid == 11


def test_a_stranger_on_another_address_does_not_matter(machine: Machine) -> None:
    machine.listen(("0100007F", PORT, "7"), ("0500000A", PORT, "8"))
    machine.process(10, "/", GROUP, ["7"])
    machine.process(11, "/", "/user.slice", ["8"])
    assert owner_of(machine.paths.proc, PORT, 10, GROUP).foreign is None


def test_another_port_is_nobody_listening(machine: Machine) -> None:
    machine.listen(("00000000", PORT + 1, "7"))
    assert not owner_of(machine.paths.proc, PORT, 10, GROUP).listening
