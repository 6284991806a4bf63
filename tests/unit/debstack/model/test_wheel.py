"""Tags of wheels against targets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from debstack.model.definition import Target
from debstack.model.wheel import is_of, parse_platform, pip_platforms, runs_on

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")


@pytest.mark.parametrize(
    ("tags", "runs"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py311-none-any", True),
        ("py312-none-any", False),
        ("py2-none-any", False),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_39_x86_64", False),
        ("cp311-cp311-manylinux_2_17_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp312-cp312-manylinux_2_17_x86_64", False),
        ("cp310-cp310-manylinux_2_17_x86_64", False),
        ("cp38-abi3-manylinux2010_x86_64", True),
        ("cp312-abi3-manylinux2014_x86_64", False),
        ("cp311-none-linux_x86_64", True),
        ("cp37.cp38.cp311-none-any", True),
    ],
)
def test_runs_on(tags: str, runs: bool) -> None:
    assert runs_on(f"x-1.0-{tags}.whl", TARGET) is runs
    assert runs_on(f"x-1.0-1build-{tags}.whl", TARGET) is runs


def test_an_old_glibc_does_not_run_newer_wheels() -> None:
    old = replace(TARGET, platform="x86_64-manylinux_2_16")
    assert runs_on("x-1.0-cp311-cp311-manylinux2010_x86_64.whl", old)
    assert not runs_on("x-1.0-cp311-cp311-manylinux2014_x86_64.whl", old)


def test_a_name_that_is_no_wheel_runs_nowhere() -> None:
    assert not runs_on("x-1.0.tar.gz", TARGET)


@pytest.mark.parametrize(
    ("filename", "name", "version", "belongs"),
    [
        ("Typing_Extensions-4.16.0-py3-none-any.whl", "typing-extensions", "4.16.0", True),
        ("pytz-2026.01-py3-none-any.whl", "pytz", "2026.1", True),
        ("x-1.0+cpu-py3-none-any.whl", "x", "1.0+cpu", True),
        ("x-1.0-py3-none-any.whl", "x", "1.1", False),
        ("xy-1.0-py3-none-any.whl", "x", "1.0", False),
        ("x-1.0.tar.gz", "x", "1.0", False),
    ],
)
def test_is_of(filename: str, name: str, version: str, belongs: bool) -> None:
    assert is_of(filename, name, version) is belongs


def test_pip_is_told_every_tag_that_runs_newest_first() -> None:
    tags = pip_platforms(TARGET)
    assert tags[0] == "manylinux_2_36_x86_64"
    assert tags[-1] == "linux_x86_64"
    assert {"manylinux2014_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"} <= set(tags)
    assert all(runs_on(f"x-1-cp311-cp311-{tag}.whl", TARGET) for tag in tags)


def test_unknown_platforms() -> None:
    assert parse_platform("windows") is None
    with pytest.raises(ValueError, match="windows"):
        pip_platforms(Target("w", "w", "3.11", "amd64", "windows"))
