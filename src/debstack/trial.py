"""Start services, ask them their health checks, and stop them again. Run inside the sandbox.

Usage: python3 -I trial.py SOURCE_ROOT PLAN, with the target's own Python. It asks with the code
that asks on the server. Ends with 0 if every service gave its good answers, with 1 and what
happened otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.1


def main(source_root: str, plan_file: str) -> int:
    """Run the plan and say what came of it."""
    sys.path.insert(0, source_root)
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    running: list[tuple[dict[str, Any], subprocess.Popen[bytes]]] = []
    try:
        for unit in plan["units"]:
            process = _start(unit)
            if process is None:
                print(f"{unit['name']}: no distribution brings {unit['argv'][0]}")  # noqa: T201
                return 1
            running.append((unit, process))
            if problem := _wait(unit, process, plan["commit"]):
                print(f"{unit['name']}: {problem}")  # noqa: T201
                return 1
        return 0
    finally:
        _stop([process for _, process in running])


def _start(unit: dict[str, Any]) -> subprocess.Popen[bytes] | None:
    """Return the running service, or None after showing why its program does not exist."""
    sys.stdout.flush()
    try:
        return subprocess.Popen(unit["argv"], cwd=unit["cwd"], env=unit["env"])
    except FileNotFoundError:
        # What the program would have imported may be missing as well: to be told at once.
        for word in unit["argv"][1:]:
            module, separator, _ = word.partition(":")
            if separator and all(part.isidentifier() for part in module.split(".")):
                python = Path(unit["argv"][0]).with_name("python")
                command = [str(python), "-c", f"import {module}"]
                subprocess.run(command, cwd=unit["cwd"], env=unit["env"], check=False)
        return None


def _wait(unit: dict[str, Any], process: subprocess.Popen[bytes], commit: str) -> str:
    """Return what is wrong, or nothing once every check was answered well."""
    from tradingctl.description import Check
    from tradingctl.probe import ask

    checks = [Check(**{**each, "status": tuple(each["status"])}) for each in unit["checks"]]
    seconds = unit["deadline"] if checks else unit["stability"]
    end = time.monotonic() + seconds
    last = ""
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"ended with exit code {process.returncode}: {' '.join(unit['argv'])}"
        answers = [(check, ask(check, commit)) for check in checks]
        bad = [
            f"check {check.name!r}: expected {answer.expected}, got {answer.got}"
            for check, answer in answers
            if not answer.ok
        ]
        if checks and not bad:
            return ""
        last = "; ".join(bad)
        time.sleep(_POLL_SECONDS)
    return f"no good answer within {seconds:g} s: {last}" if checks else ""


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
