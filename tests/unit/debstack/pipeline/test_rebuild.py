"""What a release must be like to be built again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import KEYS, folders, release

from debstack.errors import BuildError, LockError, RebuildError, StartError
from debstack.log import Log
from debstack.pipeline.assemble import Parts
from debstack.pipeline.compare import Compared, State
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.rebuild import (
    Released,
    demand_same_lock,
    rebuild,
    released,
    reopen,
    workplace,
)
from debstack.pipeline.unsigned import Outcome, Unsigned
from debstack.process import Runner
from debstack.steps.package import Package


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    return release(tmp_path / "project")


@pytest.fixture
def folder(demo: Release, tmp_path: Path) -> Path:
    """Return a release with two packages."""
    made = tmp_path / "release"
    made.mkdir()
    packages = [
        {"package": name, "version": demo.version(name), "file": f"{name}.deb"}
        for name in ("feed", "web")
    ]
    for each in packages:
        (made / each["file"]).write_bytes(b"deb")
    document = {"release": demo.lock.release, "target": "bookworm", "packages": packages}
    (made / "bookworm.json").write_text(json.dumps(document))
    demo.lock.write(made / "repos.lock")
    return made


def test_a_release_of_another_lock_is_refused(demo: Release, folder: Path) -> None:
    demand_same_lock(folder, demo.lock)
    replace(demo.lock, release="2999.01.01.1").write(folder / "repos.lock")
    with pytest.raises(LockError, match=r"another lock \(2999\.01\.01\.1\)") as caught:
        demand_same_lock(folder, demo.lock)
    assert "git log packaging/repos.lock" in caught.value.hint
    (folder / "repos.lock").unlink()
    demand_same_lock(folder, demo.lock)


def test_its_manifest_says_what_is_compared(demo: Release, folder: Path) -> None:
    (folder / "stray.deb").write_bytes(b"deb")
    assert [each.package for each in released(folder, demo.target)] == ["feed", "web"]
    (web,) = released(folder, demo.target, ["web"])
    assert web == Released("web", demo.version("web"), folder / "web.deb")
    with pytest.raises(RebuildError, match="has no package wbe for bookworm") as caught:
        released(folder, demo.target, ["wbe"])
    assert caught.value.hint == "it has feed, web"


def test_a_file_that_is_missing_is_named(demo: Release, folder: Path) -> None:
    (folder / "web.deb").unlink()
    with pytest.raises(RebuildError, match=r"web\.deb is missing, which bookworm\.json names"):
        released(folder, demo.target)


def test_a_release_that_was_not_built_for_the_target_is_named(demo: Release, folder: Path) -> None:
    with pytest.raises(RebuildError, match="holds no release built for trixie") as caught:
        released(folder, replace(demo.target, name="trixie"))
    assert "without --target" in caught.value.hint


@pytest.mark.parametrize("text", ["", '{"packages": [{"pack', "[]", '{"packages": [{}]}', "\xff"])
def test_a_manifest_that_is_not_whole_is_named(demo: Release, folder: Path, text: str) -> None:
    (folder / "bookworm.json").write_text(text, "latin-1")
    with pytest.raises(RebuildError, match=r"bookworm\.json is not the manifest") as caught:
        released(folder, demo.target)
    assert caught.value.hint == "copy the release again, whole"


def test_with_other_inputs_nobody_is_told_to_lock(demo: Release) -> None:
    assert reopen(demo.project, demo.definition, demo.lock, demo.target) == demo
    changed = replace(
        demo.definition, stack=replace(demo.definition.stack, maintainer="X <x@example.org>")
    )
    with pytest.raises(LockError, match="was made from other inputs: feed, web, ") as caught:
        reopen(demo.project, changed, demo.lock, demo.target)
    assert "debstack lock" not in caught.value.hint
    assert "the debstack that built the release" in caught.value.hint


@pytest.mark.parametrize("hint", ["", "edit web.toml"])
def test_the_log_of_what_fails_stays(demo: Release, hint: str) -> None:
    build = folders(demo).build
    with (
        pytest.raises(StartError) as caught,
        workplace(folders(demo), Log(quiet=True)) as place,
    ):
        log = place / "build/packages/bookworm/web_1.2-1~deb12/build.log"
        log.parent.mkdir(parents=True)
        log.write_text("it does not start\n")
        failure = StartError("web does not start", hint=hint)
        failure.log = log
        raise failure
    assert caught.value.log == build / "rebuild-web.log"
    assert caught.value.log.read_text() == "it does not start\n"
    assert caught.value.hint == (
        hint or "read the log; see whether it can be built: debstack build web"
    )
    assert not place.exists()
    with pytest.raises(BuildError), workplace(folders(demo), Log(quiet=True)):
        raise BuildError("it has no log")


@pytest.mark.parametrize("state", ["same", "same contents", "differs"])
def test_the_buildinfo_of_what_differs_stays(
    demo: Release, folder: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """It names the tools, and nothing else is left of what was built."""
    wanted = released(folder, demo.target, ["web"])
    build = folders(demo).build

    def unsigned(_: Release, orders: Sequence[Parts], shelf: Path, __: Workshop) -> Outcome:
        (web,) = orders
        shelf.mkdir(parents=True)
        left = Package(*(shelf / f"web_1_amd64.{kind}" for kind in ("deb", "buildinfo", "changes")))
        left.buildinfo.write_text("Installed-Build-Depends: zstd\n")
        return Outcome((Unsigned("web", web.version, left, "0" * 64, 1.0),))

    compared = Compared("web", state, "0" * 64, "1" * 64)
    for name, value in {
        "demand_machine": lambda *_: None,
        "fetch": lambda *_: {},
        "unsigned": unsigned,
        "compare": lambda *_: compared,
    }.items():
        monkeypatch.setattr(f"debstack.pipeline.rebuild.{name}", value)
    log = Log(quiet=True)
    workshop = Workshop(demo.project / "cache", 1, True, Runner(), log)
    with workplace(folders(demo), log) as place:
        (found,) = rebuild(demo, wanted, KEYS, place, workshop, in_root=False)
    kept = build / "rebuild-web_1_amd64.buildinfo"
    if state != "differs":
        assert found == compared
        assert {each.name for each in build.iterdir()} == {".lock"}
    else:
        assert found == replace(compared, buildinfo=kept)
        assert kept.read_text() == "Installed-Build-Depends: zstd\n"
        assert {each.name for each in build.iterdir()} == {".lock", kept.name}


def test_what_was_killed_leaves_nothing_for_long(demo: Release) -> None:
    build = folders(demo).build
    (build / "rebuild-0123/dist").mkdir(parents=True)
    (build / "rebuild-web.log").touch()
    with workplace(folders(demo), Log(quiet=True)) as place:
        assert {each.name for each in build.iterdir()} == {".lock", "rebuild-web.log", place.name}
    assert {each.name for each in build.iterdir()} == {".lock", "rebuild-web.log"}


def test_a_manifest_names_no_file_elsewhere(demo: Release, folder: Path) -> None:
    manifest = folder / "bookworm.json"
    manifest.write_text(manifest.read_text().replace("web.deb", "/etc/../web.deb"))
    assert released(folder, demo.target, ["web"])[0].deb == folder / "web.deb"


def test_a_keyring_of_other_keys_cannot_be_compared(demo: Release, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "cache", 1, True, Runner(), Log(quiet=True))
    keyring = "traderunner-archive-keyring"
    release, _, suffix = demo.version(keyring).rpartition("~")
    version = f"{release}~dev0123abcd~{suffix}"
    theirs = Released(keyring, version, tmp_path / "keyring.deb")
    with pytest.raises(
        RebuildError, match=r"keyring is .*~dev0123abcd~.* there, and .*~key"
    ) as caught:
        rebuild(demo, [theirs], KEYS, tmp_path, workshop, in_root=False)
    assert "keys of another machine" in caught.value.hint


def test_a_package_of_another_lock_is_not_blamed_on_keys(demo: Release, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "cache", 1, True, Runner(), Log(quiet=True))
    theirs = Released("feed", "2020.01.01.1-1~deb12", tmp_path / "feed.deb")
    with pytest.raises(RebuildError, match=r"feed is 2020") as caught:
        rebuild(demo, [theirs], KEYS, tmp_path, workshop, in_root=False)
    assert "git log packaging/repos.lock" in caught.value.hint
    assert "keys" not in caught.value.hint
