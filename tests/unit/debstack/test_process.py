"""Starting programs: their environment, what is kept of their output, how failure is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from debstack.errors import BuildError, SourceError, ToolMissingError
from debstack.process import (
    SYSTEM_PATH,
    Runner,
    base_environment,
    network_environment,
    require,
)

SOURCE = Path(__file__).parents[3] / "src"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set variables that a developer may have."""
    for name, value in {
        "HOME": "/home/dev", "PATH": "/home/dev/.pyenv/shims", "PYTHONPATH": "/home/dev",
        "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Tokyo", "DEBEMAIL": "a@b",
        "HTTPS_PROXY": "http://proxy:1", "no_proxy": "intern", "PIP_INDEX_URL": "https://index",
        "UV_DEFAULT_INDEX": "https://index", "GIT_SSH_COMMAND": "ssh -i key", "GIT_DIR": "/evil",
        "SSL_CERT_FILE": "/ca.pem", "SSH_AUTH_SOCK": "/agent", "DEBSTACK_PACKAGE_KEY": "x",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("foreign")
def test_tools_get_a_known_environment() -> None:
    environment = base_environment()
    assert environment["HOME"] == "/home/dev"
    assert environment["PATH"] == SYSTEM_PATH
    assert (environment["LANG"], environment["LC_ALL"]) == ("C.UTF-8", "C.UTF-8")
    assert environment["TZ"] == "UTC"
    assert not environment.keys() & {"PYTHONPATH", "DEBEMAIL", "HTTPS_PROXY", "PIP_INDEX_URL"}


@pytest.mark.usefixtures("foreign")
def test_network_clients_get_proxies_indexes_and_credentials_besides() -> None:
    added = network_environment().keys() - base_environment().keys()
    assert added >= {
        "HTTPS_PROXY", "no_proxy", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "GIT_SSH_COMMAND",
        "SSL_CERT_FILE", "SSH_AUTH_SOCK",
    }  # fmt: skip
    assert not added & {"GIT_DIR", "DEBSTACK_PACKAGE_KEY", "PYTHONPATH"}


def test_a_program_sees_only_that_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBSTACK_TEST_SECRET", "x")
    shown = Runner().capture(["env"]).text
    assert f"PATH={SYSTEM_PATH}" in shown
    assert "DEBSTACK_TEST_SECRET" not in shown
    assert Runner().run(["env"], env={"ONLY": "1"}).text == "ONLY=1\n"


@pytest.mark.parametrize("kept", ["run", "capture"])
def test_standard_input_is_closed(kept: str) -> None:
    assert getattr(Runner(), kept)(["cat"]).stdout == b""


def test_the_log_has_command_and_both_streams_in_the_order_written(tmp_path: Path) -> None:
    code = (
        "import os\nfor n in range(3):\n"
        "    os.write(1, b'out %d\\n' % n)\n    os.write(2, b'err %d\\n' % n)"
    )
    log = tmp_path / "log"
    runner = Runner(log)
    result = runner.run([*python(code), "a b"])
    runner.run(["true"])
    head, *lines = log.read_text().splitlines()
    assert head.startswith("$ ")
    assert "'a b'" in " ".join([head, *lines])
    merged = ["out 0", "err 0", "out 1", "err 1", "out 2", "err 2"]
    assert result.text.splitlines() == merged
    assert lines[-7:] == [*merged, "$ true"]


def test_echo_shows_the_output_too(capfd: pytest.CaptureFixture[str]) -> None:
    Runner(echo=True, label="web").run(python("print('seen')"))
    Runner().run(python("print('unseen')"))
    shown = capfd.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"web +\| seen\n", shown.err)


def test_failure_carries_command_exit_code_last_lines_and_log(tmp_path: Path) -> None:
    code = "import sys\nfor n in range(60): print('line', n)\nsys.exit(7)"
    with pytest.raises(BuildError) as caught:
        Runner(tmp_path / "build.log").run([*python(code), "an argument"])
    error = caught.value
    assert "'an argument'` ended with exit code 7" in error.message
    assert error.details[-1] == "line 59"
    assert len(error.details) == 25
    assert error.log == tmp_path / "build.log"


def test_failure_without_a_log_shows_what_went_to_stderr() -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(1)"
    with pytest.raises(SourceError) as caught:
        Runner().raising(SourceError).capture(python(code))
    assert caught.value.details == ("err",)
    assert caught.value.hint == "run the command above by hand"
    unchecked = Runner().capture(python(code), check=False)
    assert (unchecked.returncode, unchecked.stdout, unchecked.stderr) == (1, b"out\n", b"err\n")


def test_a_long_command_line_is_cut_in_the_message() -> None:
    with pytest.raises(BuildError) as caught:
        Runner().run(["false", "x" * 5000])
    assert len(caught.value.message) < 400
    assert "…" in caught.value.message


def test_a_large_input_is_fed_and_one_that_is_not_read_is_no_error() -> None:
    chunks = [b"x" * 65536] * 64
    assert Runner().feed(["wc", "-c"], chunks).text.strip() == str(64 * 65536)
    assert Runner().feed(["true"], chunks).returncode == 0
    with pytest.raises(BuildError, match="exit code 3"):
        Runner().feed(python("import sys; sys.exit(3)"), chunks)


@pytest.mark.parametrize(
    ("session", "trap", "work"),
    [
        ([], "", "exec sleep 47"),
        ([], "trap '' INT TERM;", "exec sleep 47"),
        (["setsid", "--wait"], "", "sleep 47; sleep 47"),
        (["setsid", "--wait"], "trap '' TERM;", "sleep 47; sleep 47"),
    ],
)
def test_ctrl_c_leaves_no_program_behind(
    tmp_path: Path, session: list[str], trap: str, work: str
) -> None:
    """Nor one that is in a session of its own, has started another, or does not want to end."""
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    # The shell and what it starts have the pipe open as long as they live. It is the first that the
    # kernel closes of a program that ends: before standard output, whose end is waited for.
    script = f"{trap} exec 0>{alive}; echo $$; {work}"
    code = (
        # What is started in the background by a shell ignores the signal.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from debstack import process\nprocess._PATIENCE = 0.2\n"
        f"process.Runner(echo=True).run({[*session, 'sh', '-c', script]!r})"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(SOURCE)},
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as running,
        alive.open("rb", buffering=0) as pipe,
    ):
        assert running.stderr is not None
        shell = int(running.stderr.readline().split()[-1])
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate()
        os.set_blocking(pipe.fileno(), False)
        left = pipe.read(1)
        with suppress(ProcessLookupError):
            os.killpg(os.getpgid(shell), signal.SIGKILL)
    assert b"KeyboardInterrupt" in said
    # None: somebody could still write to it.
    assert left == b""


@pytest.mark.parametrize("method", ["run", "capture"])
def test_a_program_that_is_not_installed_names_its_package(method: str, tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="bwrap is not installed") as caught:
        getattr(Runner(), method)(["/nowhere/bwrap"], cwd=tmp_path)
    assert caught.value.hint == "apt-get install bubblewrap"


def test_a_program_that_is_fed_and_not_installed_is_missing_too() -> None:
    with pytest.raises(ToolMissingError, match="gpgv is not installed"):
        Runner().feed(["/nowhere/gpgv"], [])


@pytest.mark.parametrize("method", ["run", "capture"])
def test_a_folder_that_does_not_exist_is_not_taken_for_a_missing_program(
    method: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"folder .*/gone does not exist"):
        getattr(Runner(), method)(["true"], cwd=tmp_path / "gone")


def test_all_missing_programs_are_named_at_once_with_their_packages() -> None:
    require("sh", "env")
    with pytest.raises(ToolMissingError) as caught:
        require("sh", "no-such-b", "no-such-a")
    assert caught.value.message == "not installed: no-such-b, no-such-a"
    assert caught.value.hint == "apt-get install no-such-a no-such-b"
