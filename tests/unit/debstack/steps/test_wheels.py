"""The cache of wheels: what is in it is proven on every use."""

from __future__ import annotations

import hashlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from debstack.errors import DependencyError
from debstack.model.definition import Target
from debstack.model.requirements import LockedWheel, RequirementsLock
from debstack.process import Runner
from debstack.steps import wheels
from debstack.steps.wheels import cached, collect, command

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")


def wheel(name: str) -> LockedWheel:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return LockedWheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", digest, len(name))


LOCK = RequirementsLock(
    "web", "bookworm", "3.11", "run", "c" * 64, (wheel("apple"), wheel("bread"))
)


def fill(cache: Path, *locked: LockedWheel) -> None:
    for each in locked:
        path = cached(cache, each)
        path.parent.mkdir(parents=True)
        path.write_bytes(each.name.encode())


def fake_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    """Let the download run ``body``: $1 is the folder, $2 the requirements."""
    script = tmp_path / "pip"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)

    def line(requirements: Path, target: Target, folder: Path) -> list[str]:
        return [str(script), str(folder), str(requirements)]

    monkeypatch.setattr(wheels, "command", line)


def refuse(cache: Path, *, offline: bool = False) -> DependencyError:
    with pytest.raises(DependencyError) as raised:
        collect(LOCK, cache, TARGET, Runner(), offline=offline)
    return raised.value


def test_the_command_line_takes_exactly_the_hashed_wheels_of_the_target() -> None:
    line = command(Path("r.txt"), TARGET, Path("out"))
    assert line[:5] == [sys.executable, "-I", "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", "--platform=manylinux_2_36_x86_64"} <= set(line)
    pairs = dict(itertools.pairwise(line))
    assert (pairs["--only-binary"], pairs["--python-version"]) == (":all:", "3.11")
    assert (pairs["--dest"], pairs["--requirement"]) == ("out", "r.txt")


def test_a_full_cache_is_enough_offline(tmp_path: Path) -> None:
    fill(tmp_path, *LOCK.wheels)
    found = collect(LOCK, tmp_path, TARGET, Runner(), offline=True)
    assert found == tuple(cached(tmp_path, each) for each in LOCK.wheels)
    assert found[0] == tmp_path / "wheels" / wheel("apple").sha256 / "apple-1.0-py3-none-any.whl"


def test_a_changed_wheel_in_the_cache_is_refused_and_kept(tmp_path: Path) -> None:
    fill(tmp_path, *LOCK.wheels)
    path = cached(tmp_path, wheel("bread"))
    path.write_bytes(b"poison")
    error = refuse(tmp_path)
    (detail,) = error.details
    got = hashlib.sha256(b"poison").hexdigest()
    assert detail == f"bread 1.0: expected sha256 {wheel('bread').sha256}, got {got}: {path}"
    assert path.read_bytes() == b"poison"


def test_offline_what_is_missing_is_named(tmp_path: Path) -> None:
    fill(tmp_path, wheel("apple"))
    error = refuse(tmp_path, offline=True)
    assert "1 of 2 wheels" in error.message
    assert error.details == ("bread 1.0: bread-1.0-py3-none-any.whl",)
    assert "debstack fetch" in error.hint


def test_only_the_missing_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    fill(cache, wheel("apple"))
    body = f'cp "$2" {tmp_path}/asked; printf bread > "$1/bread-1.0-py3-none-any.whl"'
    fake_pip(monkeypatch, tmp_path, body)
    found = collect(LOCK, cache, TARGET, Runner(), offline=False)
    asked = (tmp_path / "asked").read_text()
    assert asked == f"bread==1.0 --hash=sha256:{wheel('bread').sha256}\n"
    assert found[1].read_bytes() == b"bread"
    assert found[1].stat().st_mode & 0o777 == 0o644
    assert [each.name for each in cache.iterdir()] == ["wheels"]


def test_a_downloaded_file_is_hashed_by_us_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = 'for n in apple bread; do printf poison > "$1/$n-1.0-py3-none-any.whl"; done'
    fake_pip(monkeypatch, tmp_path, body)
    error = refuse(tmp_path / "cache")
    assert "web: apple 1.0: expected sha256" in error.message
    assert not (tmp_path / "cache/wheels").exists()


def test_a_file_of_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, tmp_path, 'printf apple > "$1/apple-1.0-py2-none-any.whl"')
    error = refuse(tmp_path / "cache")
    assert "expected apple-1.0-py3-none-any.whl, got apple-1.0-py2-none-any.whl" in error.message


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("ERROR: No matching distribution found for bread==1.0",
         "web: bread 1.0: cannot be had from the index"),
        ("Collecting apple==1.0\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n"
         "    bread==1.0 from https://h", "web: bread 1.0: the index serves a file with another"),
        ("ERROR: connection refused", "web: apple 1.0, bread 1.0: cannot be had from the index"),
    ],
)  # fmt: skip
def test_a_refused_download_names_the_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    (tmp_path / "said").write_text(output)
    fake_pip(monkeypatch, tmp_path, f"cat {tmp_path}/said; exit 1")
    error = refuse(tmp_path / "cache")
    assert error.message.startswith(message)
    assert error.details[-1] == output.splitlines()[-1]


def test_an_empty_lock_needs_nothing(tmp_path: Path) -> None:
    empty = replace(LOCK, wheels=())
    assert collect(empty, tmp_path / "none", TARGET, Runner(), offline=True) == ()
