"""The command line, and the program as it is started on a server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream

import tradingctl
from tradingctl.cli import main
from tradingctl.process import Programs


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
