"""Which uv is used, and the one that is taken along."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from debstack import uv_program
from debstack.errors import DependencyError, ToolMissingError
from debstack.model.definition import Target
from debstack.model.requirements import parse_requirements
from debstack.model.uv import PROGRAM, VERSION, uv_lock, uv_wheel
from debstack.model.wheel import is_of, runs_on
from debstack.uv_program import find_uv, unpack_uv

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
TARGETS = (
    Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36"),
    Target("trixie", "deb13", "3.13", "arm64", "aarch64-manylinux_2_40"),
)


def test_the_one_that_is_installed_is_the_one_that_is_taken_along() -> None:
    assert f"uv=={VERSION}" in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]


@pytest.mark.parametrize("target", TARGETS, ids=lambda each: each.architecture)
def test_it_is_locked_as_any_other_wheel(target: Target) -> None:
    lock = uv_lock(target)
    assert parse_requirements(lock.text(), "uv.txt") == lock
    wheel = uv_wheel(target.architecture)
    assert is_of(wheel.filename, "uv", VERSION)
    assert runs_on(wheel.filename, target)


def test_python_is_asked_first_then_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_uv().is_file()
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setattr(uv_program, "PACKAGED", tmp_path / "uv")
    with pytest.raises(ToolMissingError, match="uv is not installed"):
        find_uv()
    program(tmp_path / "uv", f"echo 'uv {VERSION} (x86_64-unknown-linux-gnu)'")
    assert find_uv() == tmp_path / "uv"


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("body", "said"),
    [("echo uv 0.1.0", r"is uv 0\.1\.0, and"), ("exit 1", "of no version"),
     (f"echo uvx {VERSION}", "of no version"), ("echo uv", "of no version")],
)  # fmt: skip
@pytest.mark.parametrize("packaged", [True, False])
def test_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str, packaged: bool
) -> None:
    program(tmp_path / "uv", body)
    if packaged:
        monkeypatch.setitem(sys.modules, "uv", None)
        monkeypatch.setattr(uv_program, "PACKAGED", tmp_path / "uv")
    else:
        monkeypatch.setattr("uv.find_uv_bin", lambda: str(tmp_path / "uv"))
    with pytest.raises(ToolMissingError, match=f"{said}.* needs {re.escape(VERSION)}") as caught:
        find_uv()
    install = "apt-get install --reinstall debstack" if packaged else f"pip install uv=={VERSION}"
    assert caught.value.hint == install


def test_the_version_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "uv", f"echo x >> {tmp_path}/asked; echo uv {VERSION}")
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(tmp_path / "uv"))
    assert [find_uv(), find_uv()] == [tmp_path / "uv"] * 2
    assert (tmp_path / "asked").read_text() == "x\n"


def test_the_program_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "uv.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(PROGRAM, "program")
    unpacked = unpack_uv(wheel, tmp_path)
    assert unpacked.read_text() == "program"
    assert unpacked.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_without_the_program_is_named(tmp_path: Path, content: bytes) -> None:
    wheel = tmp_path / "uv.whl"
    wheel.write_bytes(content)
    with pytest.raises(DependencyError, match=r"uv\.whl holds no program uv"):
        unpack_uv(wheel, tmp_path)
