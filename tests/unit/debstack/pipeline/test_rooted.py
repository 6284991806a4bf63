"""What a build in a root gets to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release

from debstack.pipeline import rooted
from debstack.pipeline.rooted import needs_root


def test_it_sees_what_was_fetched_and_no_key(tmp_path: Path) -> None:
    demo = release(tmp_path / "project")
    (demo.project / "build/keys").mkdir(parents=True)
    for name in ("wheels", "sources", "roots"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    shown = rooted._shown(demo, tmp_path / "needed", tmp_path / "cache")
    assert shown["/debstack/project/packaging"] == demo.project / "packaging"
    assert {name for name in shown if name.startswith("/debstack/cache")} == {
        "/debstack/cache/wheels", "/debstack/cache/sources",
    }  # fmt: skip
    keys = demo.project / "build/keys"
    assert not any(keys.is_relative_to(each) or each.is_relative_to(keys)
                   for each in shown.values())  # fmt: skip
    assert all(each.exists() or each == tmp_path / "needed" for each in shown.values())


def test_another_release_than_this_machines_needs_a_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = release(tmp_path).target
    monkeypatch.setattr(rooted, "host_release", lambda: "bookworm")
    assert not needs_root(target)
    assert needs_root(replace(target, name="trixie"))
    monkeypatch.setattr(rooted, "host_release", lambda: "")
    assert needs_root(target)
