"""repos.lock as a file, the versions it gives, and release ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from debstack.errors import LockError
from debstack.model.definition import Target
from debstack.model.lock import (
    Lock,
    LockedComponent,
    LockedPackage,
    next_release,
    parse_lock,
    read_lock,
    write_atomically,
)

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")
COMMIT = "7817388" + "0" * 33
LOCK = Lock(
    1,
    "2026.11.23.2",
    1_795_400_000,
    {"web": LockedComponent("build/web.git", "main", COMMIT, "a" * 64, {"bookworm": "b" * 64}, {})},
    {
        "web": LockedPackage("2026.11.23.1", 1_795_300_000, {"bookworm": "c" * 64}),
        "traderunner-stack": LockedPackage("2026.11.23.2", 1_795_400_000, {"bookworm": "d" * 64}),
    },
)


def test_round_trip_and_header() -> None:
    text = LOCK.text()
    assert text.startswith("# Written by `debstack lock`; do not edit.\n")
    assert parse_lock(text, "repos.lock") == LOCK
    assert parse_lock(text, "repos.lock").text() == text


def test_versions() -> None:
    assert LOCK.version("web", TARGET) == "2026.11.23.1+g7817388-1~deb12"
    assert LOCK.version("traderunner-stack", TARGET) == "2026.11.23.2~deb12"
    with pytest.raises(LockError, match="no package feed"):
        LOCK.version("feed", TARGET)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format: is 2, this debstack reads 1"),
        ("format = 1", "", "format: this key is missing"),
        ("ref =", "reff =", "components.web.reff: unknown key (did you mean ref?)"),
        (COMMIT, "7817388", "components.web.commit: '7817388' is not a commit of 40 hex digits"),
        (COMMIT, COMMIT.upper().replace("7", "F"), "components.web.commit: "),
        ("a" * 64, "a" * 63, "components.web.tree: "),
        ("b" * 64, "", "components.web.requirements.bookworm: '' is not a sha256"),
        ("c" * 64, "x", "packages.web.inputs.bookworm: 'x' is not a sha256"),
        ('release = "2026.11.23.2"', 'release = "2026.11.23"', "release: '2026.11.23' is not"),
        ('release = "2026.11.23.2"', 'release = "2026.13.23.2"', "release: '2026.13.23.2' is not"),
        ('changed_in = "2026.11.23.1"', 'changed_in = "2026.11.24.1"',
         "packages.web.changed_in: 2026.11.24.1 is after the release"),
        ('changed_in = "2026.11.23.1"', 'changed_in = "x"', "packages.web.changed_in: 'x' is not"),
        ("timestamp = 1795400000", "timestamp = 0", "timestamp: 0, beside release"),
        ("[packages.web", "[packages.wob", "components.web: has no package"),
        ("format = 1", "format", "line 3: not valid TOML"),
    ],
)  # fmt: skip
def test_a_malformed_lock_is_refused_with_file_and_key(old: str, new: str, message: str) -> None:
    text = LOCK.text()
    assert old in text
    with pytest.raises(LockError) as raised:
        parse_lock(text.replace(old, new), "repos.lock")
    said = [raised.value.message, *raised.value.details]
    assert any(f"repos.lock: {message}" in each for each in said), said


def test_a_missing_lock_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path / "repos.lock")
    assert raised.value.hint == "run `debstack lock`"


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "repos.lock"
    LOCK.write(path)
    assert read_lock(path) == LOCK
    assert path.stat().st_mode & 0o777 == 0o644

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "half")
    assert [each.name for each in tmp_path.iterdir()] == ["repos.lock"]
    assert read_lock(path) == LOCK


@pytest.mark.parametrize(
    ("previous", "now", "expected"),
    [
        (None, datetime(2026, 11, 23, 12, tzinfo=UTC), "2026.11.23.1"),
        ("2026.11.22.7", datetime(2026, 11, 23, 12, tzinfo=UTC), "2026.11.23.1"),
        ("2026.11.23.1", datetime(2026, 11, 23, 12, tzinfo=UTC), "2026.11.23.2"),
        ("2026.11.23.9", datetime(2026, 11, 23, 12, tzinfo=UTC), "2026.11.23.10"),
        # A clock that is behind must not make the versions go down.
        ("2026.11.24.3", datetime(2026, 11, 23, 12, tzinfo=UTC), "2026.11.24.4"),
        (None, datetime(2026, 11, 24, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2026.11.23.1"),
    ],
)
def test_release_ids_only_rise(previous: str | None, now: datetime, expected: str) -> None:
    assert next_release(previous, now) == expected
