"""What debstack says while it works."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from debstack.log import Log


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_step_is_announced_and_timed() -> None:
    stream = io.StringIO()
    with Log(stream).step("web", "lintian"):
        assert re.fullmatch(r"web +lintian …\n", stream.getvalue())
    last = stream.getvalue().splitlines()[-1]
    assert re.fullmatch(r"web +lintian: [0-9]+\.[0-9] s", last)


def test_a_step_that_fails_says_so_and_lets_the_error_pass() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Log(stream).step("web", "proof"):
        raise KeyboardInterrupt
    assert "proof: failed after " in stream.getvalue()


def test_quiet_keeps_warnings() -> None:
    stream = io.StringIO()
    log = Log(stream, quiet=True)
    log.say("web", "text")
    log.warn("careful")
    assert stream.getvalue() == "warning: careful\n"


def test_a_warning_is_coloured_on_a_terminal_only() -> None:
    stream = Terminal()
    Log(stream).warn("careful")
    assert stream.getvalue() == "\033[1;33mwarning:\033[0m careful\n"


def test_lines_of_steps_that_run_at_once_stay_whole() -> None:
    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            assert log._lock.locked(), "another thread could write in between"
            return super().write(text)

    stream = Watched()
    log = Log(stream)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(log.say, f"c{n}", "x" * 100) for n in range(200)]
        done.append(pool.submit(log.warn, "careful"))
    for each in done:
        each.result()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 201
    assert all(re.fullmatch(r"c[0-9]+ +x{100}|warning: careful", line) for line in lines)


def test_results_are_not_mixed_with_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    Log().say("web", "text")
    assert capsys.readouterr().out == ""
