"""The command line, and the program as it is started on a server."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

import tradingctl
from tradingctl import __main__ as program
from tradingctl.cli import main
from tradingctl.process import Programs
from tradingctl.server import this_server


def test_nothing_installed_has_its_own_exit_code(machine: Machine) -> None:
    for command in (["status"], ["verify"], ["wait-ready", "x"], ["activate", "x"]):
        assert main(command, machine.server) == 6
    assert "no component is installed" in machine.err.getvalue()


def test_a_bad_description_names_its_file_and_key(machine: Machine) -> None:
    file = machine.write("usr/share/trading/components/x.json", '{"schema": 1, "units": 3}')
    assert main(["verify"], machine.server) == 5
    assert f"{file}: units: expected a list" in machine.err.getvalue()


def test_verify_prints_json_on_request(machine: Machine) -> None:
    machine.healthy(stream())
    assert main(["verify", "--json", "marketdata-stream"], machine.server) == 0
    found = json.loads(machine.out.getvalue())
    assert (found["result"], found["units"][0]["result"]) == ("OK", "OK")


def test_systemd_that_does_not_answer_is_an_error(machine: Machine) -> None:
    machine.healthy(stream())
    machine.system.codes["systemctl show"] = 1
    assert main(["verify"], machine.server) == 5
    assert "systemctl show says: systemctl refused" in machine.err.getvalue()


def test_wrong_usage_is_exit_code_2_and_help_names_every_exit_code(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["nonsense"], machine.server)
    assert raised.value.code == 2
    with pytest.raises(SystemExit):
        main(["verify", "--help"], machine.server)
    said = capsys.readouterr().out
    assert all(f"\n  {code} " in said for code in (0, 1, 2, 3, 4, 5, 6, 130))


def test_a_removal_cannot_name_another_directory(machine: Machine) -> None:
    assert main(["deactivate", "../.."], machine.server) == 5
    assert main(["deactivate", "releases/x"], machine.server) == 5


def test_an_interruption_is_quiet(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tradingctl.commands.health.read_inventory", interrupt)
    assert main(["verify"], machine.server) == 130
    assert machine.err.getvalue() == ""


def test_the_program_runs_isolated_from_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "private/tradingctl"
    shutil.copytree(
        Path(tradingctl.__file__).parent, folder, ignore=shutil.ignore_patterns("__*__")
    )
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(Path(tradingctl.__file__).parent / name, folder)
    done = subprocess.run(
        ["/usr/bin/python3", "-IB", str(folder), "status"],
        env={"DPKG_ROOT": str(tmp_path)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert not list(folder.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (">/dev/full", "[Errno 28] No space left on device: 'standard output'"),
        (">&-", "[Errno 9] Bad file descriptor: 'standard output'"),
    ],
)
def test_the_program_says_that_its_report_cannot_be_written(
    tmp_path: Path, where: str, reason: str
) -> None:
    command = ["/usr/bin/python3", "-IB", str(Path(tradingctl.__file__).parent), "history"]
    for more in ("", " 2>/dev/full", " 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {where}{more}', "sh", *command],
            env={"DPKG_ROOT": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 5
        said = done.stderr.splitlines()
        assert said[:1] == ([] if more else [f"tradingctl history: {reason}"])
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_commands_whether_or_not_it_was_heard(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def command(argv: Sequence[str] | None) -> int:
        this_server().say("done")
        this_server().warn("note")
        return code

    monkeypatch.setattr("tradingctl.cli.main", command)
    monkeypatch.setattr("os.umask", lambda _: 0)
    with ExitStack() as opened:
        for name in ("stdout", "stderr"):
            stream = opened.enter_context(Path("/dev/full").open("w", encoding="utf-8"))
            monkeypatch.setattr(sys, name, stream)
        assert program.main([]) == code
        sys.stdout.flush()  # as the interpreter does at its exit
        sys.stderr.flush()


def test_what_a_locale_has_no_sign_for_is_shown_nevertheless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def command(argv: Sequence[str] | None) -> int:
        this_server().report("Börse: apt-get install traderunner…")
        return 0

    monkeypatch.setattr("tradingctl.cli.main", command)
    monkeypatch.setattr("os.umask", lambda _: 0)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="iso-8859-1"))
    assert program.main([]) == 0
    assert written.getvalue() == b"B\xf6rse: apt-get install traderunner\\u2026\n"


def test_what_is_to_be_text_and_is_none_is_no_traceback_and_not_shown(machine: Machine) -> None:
    machine.healthy(stream())
    machine.ship("marketdata-stream", {"app.py": "1"})
    file = machine.write("etc/trading/secrets/marketdata-stream.env", "")
    file.write_bytes(b"PASS=secr\xf6t\n")
    machine.paths.link("marketdata-stream").unlink()
    assert main(["activate", "marketdata-stream"], machine.server) == 5
    said = machine.err.getvalue()
    assert "tradingctl activate: what is to be text is not UTF-8: 'utf-8' codec" in said
    assert "  next: LC_ALL=C.UTF-8 grep -raxvl '.*' /etc/trading\n" in said
    assert "secr" not in said


def test_a_program_that_is_missing_or_hangs_is_an_outcome() -> None:
    assert Programs().run(["/nonexistent/program"]).code == 127
    assert Programs().run(["sleep", "5"], timeout=0.05).code == 124
    outcome = Programs().run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (outcome.code, outcome.output, outcome.said) == (3, "out\n", "err")


def test_a_program_is_fed_more_than_a_pipe_holds_and_may_stop_reading() -> None:
    chunks = [b"x" * 100_000] * 10
    fed = Programs().feed(["sh", "-c", "tee /dev/stderr | wc -c; exit 3"], chunks)
    assert (fed.code, fed.output.strip(), len(fed.errors)) == (3, "1000000", 1_000_000)
    assert Programs().feed(["true"], chunks).code == 0
    assert Programs().feed(["/nonexistent/program"], chunks).code == 127
    assert Programs().feed(["/etc/passwd"], chunks).code == 126
