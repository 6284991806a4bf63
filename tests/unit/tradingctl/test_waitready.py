"""Waiting for a service that is being started."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.unit.tradingctl.fakes import (
    COMMIT,
    Machine,
    Reply,
    answering,
    health,
    stream,
    stream_unit,
)

from tradingctl.cli import main

NAME = "marketdata-stream"


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def test_a_service_that_becomes_good_is_ready(machine: Machine) -> None:
    machine.environ["MAINPID"] = str(os.getpid())
    with answering(Reply(status=[503, 503, 200])) as url:
        machine.describe(stream(units=(stream_unit(checks=(health(url),)),)))
        assert main(["wait-ready", f"{NAME}.service"], machine.server) == 0
    assert machine.clock.slept == [1.0, 1.0]
    assert machine.system.commands == []


def test_who_asks_once_waits_for_nothing(machine: Machine) -> None:
    with answering(Reply(status=[503, 200])) as url:
        machine.describe(stream(units=(stream_unit(checks=(health(url),)),)))
        assert main(["wait-ready", "--once", f"{NAME}.service"], machine.server) == 1
        assert main(["wait-ready", "--once", f"{NAME}.service"], machine.server) == 0
    assert machine.clock.slept == []
    assert f"{NAME}.service is not ready: " in machine.err.getvalue()
    assert "got status 503" in machine.err.getvalue()


def test_a_process_that_died_is_not_waited_for(machine: Machine, dead_pid: int) -> None:
    machine.environ["MAINPID"] = str(dead_pid)
    machine.describe(stream(units=(stream_unit(checks=(health("http://127.0.0.1:1/"),)),)))
    assert main(["wait-ready", NAME], machine.server) == 1
    assert f"main process {dead_pid}" in machine.err.getvalue()
    assert machine.clock.slept == []


def test_the_last_answer_is_said_when_the_deadline_is_over(machine: Machine) -> None:
    with answering(Reply(status=500, body=b"locked")) as url:
        machine.describe(stream(units=(stream_unit(checks=(health(url),)),)))
        assert main(["wait-ready", NAME], machine.server) == 1
    assert "was not ready within 5 s" in machine.err.getvalue()
    assert "got status 500 locked" in machine.err.getvalue()


def test_the_commit_waited_for_is_that_of_the_linked_code(machine: Machine) -> None:
    # Unpacked is a later release already; what crashed and starts again is the earlier one.
    generation = machine.link(NAME, "1")
    (generation / "RELEASE.json").write_text(f'{{"commit": "{"b" * 40}"}}', encoding="utf-8")
    with answering(Reply(body={"commit": "b" * 40})) as url:
        machine.describe(stream(units=(stream_unit(checks=(health(url),)),)))
        assert stream().commit == COMMIT
        assert main(["wait-ready", NAME], machine.server) == 0


def test_the_unit_is_meant_and_not_the_component_of_the_same_name(machine: Machine) -> None:
    with answering(Reply()) as url:
        worker = stream_unit(name="worker", order=1, checks=(health("http://127.0.0.1:1/"),))
        own = stream_unit(checks=(health(url),))
        machine.describe(stream(units=(worker, own)))
        assert main(["wait-ready", NAME], machine.server) == 0
