"""The program that starts services in the sandbox and asks their checks."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from debstack import trial
from debstack.process import Runner

SERVER = """\
import http.server, os, sys, threading
# A trial that forgets to stop it fails a test, and does not hang it.
alarm = threading.Timer(20, os._exit, [0])
alarm.daemon = True
alarm.start()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.send_header("X-Commit", "c" * 40)
        self.end_headers()
        self.wfile.write(b'{"status": "healthy"}')
    def log_message(self, *_): pass
open(sys.argv[3], "w").write(str(os.getpid()))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def check(port: int, **changes: object) -> dict[str, object]:
    return {
        "name": "health", "url": f"http://127.0.0.1:{port}/", "status": [200],
        "json": {"status": "healthy"}, "commit_json": "", "commit_header": "X-Commit",
        "required": True, **changes,
    }  # fmt: skip


def unit(folder: Path, *argv: str, checks: tuple[dict[str, object], ...] = (), **changes: object
         ) -> dict[str, object]:  # fmt: skip
    return {
        "name": "web", "argv": [sys.executable, *argv], "env": {"PATH": "/usr/bin"},
        "cwd": str(folder), "deadline": 20, "stability": 0.2, "checks": list(checks), **changes,
    }  # fmt: skip


def server(folder: Path, port: int, status: int = 200, pid: str = "pid") -> list[str]:
    (folder / "server.py").write_text(SERVER)
    return ["server.py", str(port), str(status), pid]


def run(folder: Path, *units: dict[str, object]) -> tuple[int, str]:
    (folder / "plan.json").write_text(json.dumps({"commit": "c" * 40, "units": units}))
    source = Path(trial.__file__).parents[1]
    command = [sys.executable, "-I", trial.__file__, str(source), str(folder / "plan.json")]
    result = Runner().run(command, check=False)
    return result.returncode, result.text


def is_alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_a_healthy_service_proves_and_is_stopped(tmp_path: Path, port: int) -> None:
    web = unit(tmp_path, *server(tmp_path, port), checks=(check(port),))
    assert run(tmp_path, web) == (0, "")
    assert not is_alive(tmp_path / "pid")


def test_a_service_without_checks_has_to_stay(tmp_path: Path) -> None:
    assert run(tmp_path, unit(tmp_path, "-c", "import time; time.sleep(20)")) == (0, "")
    code, text = run(tmp_path, unit(tmp_path, "-c", "print('bye'); raise SystemExit(3)",
                                    stability=20))  # fmt: skip
    assert code == 1
    assert text.startswith("bye\nweb: ended with exit code 3: ")


def test_a_wrong_answer_is_told_and_everything_is_stopped(tmp_path: Path, port: int) -> None:
    first = unit(tmp_path, *server(tmp_path, port, pid="first"), checks=(check(port),))
    wrong = check(port, json={"status": "ill"})
    second = unit(tmp_path, "-c", "import time; time.sleep(20)", name="worker", deadline=0.5,
                  checks=(wrong,))  # fmt: skip
    code, text = run(tmp_path, first, second)
    assert code == 1
    assert "worker: no good answer within 0.5 s: check 'health': expected " in text
    assert "got healthy" in text
    assert not is_alive(tmp_path / "first")


@pytest.mark.parametrize(
    ("status", "changes", "said"),
    [
        (500, {}, "got status 500"),
        (401, {"status": [200]}, "got status 401"),
        (200, {"commit_header": "X-Other"}, f"expected commit {'c' * 40} in header X-Other"),
    ],
)
def test_bad_answers(
    tmp_path: Path, port: int, status: int, changes: dict[str, object], said: str
) -> None:
    web = unit(tmp_path, *server(tmp_path, port, status), checks=(check(port, **changes),),
               deadline=5)  # fmt: skip
    code, text = run(tmp_path, web)
    assert code == 1
    assert said in text


def test_being_asked_for_a_password_can_be_good(tmp_path: Path, port: int) -> None:
    alive = check(port, status=[401], json={})
    web = unit(tmp_path, *server(tmp_path, port, 401), checks=(alive,))
    assert run(tmp_path, web) == (0, "")


def test_a_program_that_nobody_brings_is_told_with_what_else_is_missing(tmp_path: Path) -> None:
    argv = [str(tmp_path / "python-less/gunicorn"), "--bind", "127.0.0.1:1", "no_such.app:server"]
    (tmp_path / "python-less").mkdir()
    (tmp_path / "python-less/python").symlink_to(sys.executable)
    code, said = run(tmp_path, unit(tmp_path, argv=argv))
    assert code == 1
    assert "ModuleNotFoundError: No module named 'no_such'" in said
    assert f"web: no distribution brings {argv[0]}" in said


def test_units_start_one_after_the_other(tmp_path: Path, port: int) -> None:
    broken = unit(tmp_path, "-c", "raise SystemExit(1)", stability=20)
    never = unit(tmp_path, "-c", "open('started', 'w')", name="never")
    assert run(tmp_path, broken, never)[0] == 1
    assert not (tmp_path / "started").exists()
