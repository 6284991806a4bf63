"""The linters and the type checker, each as a test."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from tests.golden.trees import rendered

from debstack.process import SYSTEM_PATH, Runner, base_environment

ROOT = Path(__file__).parents[2]


def need_module(name: str) -> list[str]:
    pytest.importorskip(name, reason=f"{name} is not installed; make .venv/.test installs it")
    return [sys.executable, "-m", name]


def clean(command: list[str]) -> None:
    result = Runner().run(command, cwd=ROOT, env=base_environment(), check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.text}"


def test_ruff_check() -> None:
    clean([*need_module("ruff"), "check", "--no-cache"])


def test_ruff_format() -> None:
    clean([*need_module("ruff"), "format", "--check", "--no-cache"])


def test_mypy() -> None:
    clean([*need_module("mypy")])


def test_shellcheck_of_scripts() -> None:
    scripts = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci/run"]
    assert len(scripts) > 2
    shellcheck(scripts)


def test_scripts_are_short() -> None:
    for script in (ROOT / "scripts").iterdir():
        assert script.stat().st_mode & 0o111, f"{script} is not executable"
        lines = len(script.read_text().splitlines())
        assert lines <= 30, f"{script} has {lines} lines: its logic belongs into debstack"


def test_shellcheck_of_the_rendered_maintainer_scripts(tmp_path: Path) -> None:
    scripts = []
    for package, tree in rendered().items():
        for path, (text, _) in tree.items():
            if text.startswith("#!/bin/sh"):
                script = tmp_path / package / path
                script.parent.mkdir(parents=True, exist_ok=True)
                script.write_text(text)
                scripts.append(script)
    assert {"postinst", "postrm", "prerm", "check", "run"} <= {script.name for script in scripts}
    shellcheck(scripts)


def test_maintainer_scripts_stop_at_the_first_error() -> None:
    for package, tree in rendered().items():
        for path, (text, is_program) in tree.items():
            if path.startswith("debian/") and text.startswith("#!/bin/sh"):
                assert text.startswith("#!/bin/sh\nset -e\n"), f"{package}/{path}"
                assert "\n#DEBHELPER#\n" in text, f"{package}/{path}"
                assert is_program, f"{package}/{path}"


def shellcheck(scripts: list[Path]) -> None:
    if shutil.which("shellcheck", path=SYSTEM_PATH) is None:
        pytest.skip("shellcheck is not installed")
    clean(["shellcheck", "--norc", *map(str, scripts)])


def test_pytest_collects_every_test_module() -> None:
    # Left alone it passes over every folder called build.
    command = [*need_module("pytest"), "--collect-only", "-q", "-p", "no:cacheprovider"]
    collected = Runner().capture(command, cwd=ROOT).text
    modules = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
    assert [str(path) for path in modules if f"{path}::" not in collected] == []
