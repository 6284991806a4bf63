"""A vendored folder: what a killed run left in it, and what one at work has there."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from debstack.log import Log
from debstack.pipeline.contents import Workshop
from debstack.pipeline.vendor import vendor
from debstack.process import Runner


@pytest.fixture
def half_copied(tmp_path: Path) -> Path:
    file = tmp_path / "vendor/wheels" / ("0" * 64) / ".incoming-x1y2/web-1-py3-none-any.whl"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half")
    return file


def workshop(cache: Path, log: Log | None = None) -> Workshop:
    return Workshop(cache, 1, True, Runner(), log or Log(quiet=True))


def test_what_a_killed_one_left_is_removed_and_nothing_else(
    tmp_path: Path, half_copied: Path
) -> None:
    folder = tmp_path / "vendor"
    other = folder / "wheels" / ("1" * 64) / "feed-1-py3-none-any.whl"
    other.parent.mkdir()
    other.touch()
    done = vendor([], folder, workshop(tmp_path / "cache"))
    assert not half_copied.parent.exists()
    assert done.foreign == (other,)
    assert other.exists()


def test_what_another_one_is_copying_stays(
    tmp_path: Path, half_copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "vendor"
    waiting = threading.Event()
    monkeypatch.setattr(Log, "say", lambda *_: waiting.set())
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = threading.Thread(target=vendor, args=([], folder, workshop(tmp_path / "cache")))
        second.start()
        assert waiting.wait(60)
        assert half_copied.exists()
    second.join()
    assert not half_copied.parent.exists()


def test_a_cache_is_left_alone(tmp_path: Path, half_copied: Path) -> None:
    """Others fetch into it at the same time, and do not wait."""
    vendor([], tmp_path / "vendor", workshop(tmp_path / "vendor"))
    assert half_copied.exists()
