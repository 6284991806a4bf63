"""Where a command speaks, and that nobody who hears it is no reason to stop."""

from __future__ import annotations

import errno
import io
from dataclasses import replace
from typing import TextIO

import pytest
from tests.unit.tradingctl.fakes import Machine, Unheard, stream

from tradingctl.cli import main


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def narrow() -> TextIO:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


UNHEARD = [
    pytest.param(Unheard(errno.EPIPE), id="a pipe that nobody reads"),
    pytest.param(Unheard(errno.EIO), id="a terminal that is gone"),
    pytest.param(Unheard(errno.ENOSPC), id="a full disk"),
    pytest.param(closed(), id="closed since"),
    pytest.param(None, id="closed from the start"),
    pytest.param(narrow(), id="a locale without the sign"),
]


@pytest.mark.parametrize("unheard", UNHEARD)
def test_what_cannot_be_said_stops_nothing(machine: Machine, unheard: TextIO | None) -> None:
    server = replace(machine.server, out=unheard, err=unheard)
    server.say("the services are down for a moment …")
    server.warn("warning: …")


@pytest.mark.parametrize("unheard", UNHEARD)
def test_a_refusal_that_cannot_be_said_is_one(machine: Machine, unheard: TextIO | None) -> None:
    server = replace(machine.server, euid=1000, err=unheard)
    assert main(["recover"], server) == 5


def test_a_report_ends_quietly_when_nobody_reads_on(machine: Machine) -> None:
    machine.out = Unheard()
    assert main(["history"], machine.server) == 1
    assert machine.err.getvalue() == ""


def test_a_report_that_cannot_be_written_says_so(machine: Machine) -> None:
    machine.out = Unheard(errno.ENOSPC)
    assert main(["history"], machine.server) == 5
    assert machine.err.getvalue() == (
        "tradingctl history: [Errno 28] No space left on device: 'standard output'\n  next: df -h\n"
    )


@pytest.mark.parametrize("words", [("history",), ("status",), ("verify",), ("environment",)])
def test_a_report_to_a_stream_that_is_closed_is_refused(
    machine: Machine, words: tuple[str, ...]
) -> None:
    machine.healthy(stream())
    assert main(words, replace(machine.server, out=None)) == 5
    assert "Bad file descriptor: 'standard output'" in machine.err.getvalue()
