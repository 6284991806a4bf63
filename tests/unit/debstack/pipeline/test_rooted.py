"""What a build in a root gets to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release

from debstack.errors import BuildError
from debstack.log import Log
from debstack.pipeline import rooted
from debstack.pipeline.assemble import Parts
from debstack.pipeline.contents import Workshop
from debstack.pipeline.rooted import needs_root
from debstack.process import Runner


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


def test_a_run_that_tells_nothing_is_an_error_and_not_an_empty_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = release(tmp_path / "project")
    shelf = tmp_path / "packages"
    (shelf / "web_1" / "work" / "output").mkdir(parents=True)
    # A root without a Python in it.
    monkeypatch.setattr(rooted, "prepare", lambda *_: (tmp_path / "root", tmp_path / "needed"))
    workshop = Workshop(tmp_path / "cache", 1, True, Runner(), Log(quiet=True))
    with pytest.raises(BuildError, match="in a root of bookworm ended with exit code") as caught:
        rooted.rooted(demo, [Parts("web", "1")], shelf, workshop)
    assert f"rm -r {tmp_path / 'root'}" in caught.value.hint
    # What another build left there is not taken for what came of this one.
    assert not (shelf / "web_1/work").exists()
