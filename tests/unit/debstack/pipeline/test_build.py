"""What a build would do and why, and what it refuses before it begins."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import (
    DEVELOPMENT,
    KEYS,
    folders,
    record,
    release,
)

from debstack.errors import BuildError, LockError, StartError
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.reading import load
from debstack.pipeline.build import Action, build, open_release, plan
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.make import Built, recorded
from debstack.pipeline.unsigned import Outcome, Unsigned
from debstack.process import Runner
from debstack.steps.package import Package


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    return release(tmp_path)


def write_record(demo: Release, built: Built) -> Path:
    folder = folders(demo).package(demo.target, built.package, built.version)
    (folder / "build.json").write_text(json.dumps(asdict(built)))
    return folder


def action(demo: Release, name: str, keys: Keys = KEYS) -> Action:
    (found,) = plan(demo, folders(demo), keys, [name])
    return found


def test_nothing_is_built_yet(demo: Release) -> None:
    actions = plan(demo, folders(demo), KEYS, [])
    assert [each.package for each in actions] == [
        "feed", "web", "traderunner-archive-keyring", "traderunner-common", "traderunner-stack",
        "trading-ibgateway",
    ]  # fmt: skip
    assert all(each.build and each.reason == "not built yet" for each in actions)
    assert not folders(demo).build.exists()


def test_what_is_there_with_the_same_inputs_is_kept(demo: Release) -> None:
    write_record(demo, record(demo, "web"))
    assert not action(demo, "web").build
    assert action(demo, "web").reason == "unchanged"
    assert action(demo, "web").version == demo.version("web")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": "0" * 64}, "its inputs changed"),
        ({"key": "E" * 40}, "it is signed with another key"),
        ({"sha256": "0" * 64}, "the built file is missing or was changed"),
        ({"file": "gone.deb"}, "the built file is missing or was changed"),
        ({"beside": ("gone.changes",)}, "what goes with the built file is missing"),
    ],
)
def test_why_something_is_built_again(demo: Release, change: dict[str, str], reason: str) -> None:
    write_record(demo, replace(record(demo, "web"), **change))  # type: ignore[arg-type]
    assert action(demo, "web") == Action(
        "web", demo.version("web"), action(demo, "web").inputs, True, reason
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"package": "web"}', '{"unknown": 1}'])
def test_a_record_that_cannot_be_read_is_none(demo: Release, text: str) -> None:
    folder = write_record(demo, record(demo, "web"))
    (folder / "build.json").write_text(text)
    assert recorded(folder) is None
    assert action(demo, "web").reason == "not built yet"


def test_another_key_makes_another_keyring(demo: Release) -> None:
    ours, theirs = (
        action(demo, "traderunner-archive-keyring", keys) for keys in (KEYS, DEVELOPMENT)
    )
    assert ours.inputs != theirs.inputs
    assert ours.version != theirs.version
    stem, _, suffix = demo.version("traderunner-archive-keyring").rpartition("~")
    assert ours.version.startswith(f"{stem}~key")
    assert theirs.version.startswith(f"{stem}~dev")
    assert ours.version.endswith(f"~{suffix}")


def test_the_keyring_is_signed_by_the_key_that_all_servers_know(demo: Release) -> None:
    known = replace(KEYS.package, fingerprint="E" * 40)
    keys = replace(KEYS, keyring=known)
    keyring = "traderunner-archive-keyring"
    (planned,) = plan(demo, folders(demo), keys, [keyring])
    built = record(demo, keyring, key=known.fingerprint)
    folder = folders(demo).package(demo.target, keyring, planned.version)
    folder.mkdir(parents=True)
    (folder / built.file).write_bytes(b"deb")
    for key, reason in ((known, "unchanged"), (KEYS.package, "it is signed with another key")):
        told = replace(built, version=planned.version, inputs=planned.inputs, key=key.fingerprint)
        (folder / "build.json").write_text(json.dumps(asdict(told)))
        (again,) = plan(demo, folders(demo), keys, [keyring])
        assert again.reason == reason


def test_only_what_is_asked_for_is_planned(demo: Release) -> None:
    actions = plan(demo, folders(demo), KEYS, ["traderunner-stack", "web"])
    assert [each.package for each in actions] == ["web", "traderunner-stack"]
    with pytest.raises(BuildError, match="the release has no package wbe") as caught:
        plan(demo, folders(demo), KEYS, ["web", "wbe"])
    assert "it has feed, web, " in caught.value.hint


def test_a_lock_of_these_inputs_is_opened(demo: Release) -> None:
    assert open_release(demo.project, demo.definition, demo.lock, demo.target) == demo


def test_every_package_whose_inputs_changed_is_named(demo: Release) -> None:
    (demo.project / "packaging/conf/web.env").write_text("WEB_THEME=dark\n")
    stack = demo.project / "packaging/stack.toml"
    stack.write_text(stack.read_text().replace("file:///srv/demo/apt", "https://apt.example.org"))
    with pytest.raises(
        LockError, match=r"other inputs: web, traderunner-archive-keyring$"
    ) as caught:
        open_release(demo.project, load(demo.project), demo.lock, demo.target)
    assert "debstack lock" in caught.value.hint


def test_a_package_or_target_that_the_lock_does_not_know_is_named(demo: Release) -> None:
    packages = {name: each for name, each in demo.lock.packages.items() if name != "feed"}
    with pytest.raises(LockError, match=r"other inputs: feed$"):
        open_release(demo.project, demo.definition, replace(demo.lock, packages=packages),
                     demo.target)  # fmt: skip
    trixie = replace(demo.target, name="trixie")
    with pytest.raises(LockError, match="other inputs: feed, web, "):
        open_release(demo.project, demo.definition, demo.lock, trixie)


def workshop(demo: Release) -> Workshop:
    return Workshop(demo.project / "cache", 1, True, Runner(), Log(quiet=True))


def test_without_anything_to_build_no_tool_is_needed(
    demo: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debstack.process.SYSTEM_PATH", "/nowhere")
    built = record(demo, "web")
    write_record(demo, built)
    (kept,) = build(
        demo, folders(demo), KEYS, [action(demo, "web")], {}, workshop(demo), in_root=False
    )
    assert kept == replace(built, built=False)


def test_what_vanishes_between_plan_and_build_is_told(demo: Release) -> None:
    folder = write_record(demo, record(demo, "web"))
    planned = action(demo, "web")
    (folder / "build.json").unlink()
    with pytest.raises(BuildError, match=r"web .* vanished"):
        build(demo, folders(demo), KEYS, [planned], {}, workshop(demo), in_root=False)


def test_what_is_for_another_machine_is_not_begun(demo: Release) -> None:
    arm = replace(demo, target=replace(demo.target, architecture="arm64"))
    with pytest.raises(BuildError, match="bookworm is for arm64 and this machine is ") as caught:
        build(arm, folders(arm), KEYS, [action(demo, "web")], {}, workshop(arm), in_root=False)
    assert caught.value.hint == "build on a machine of arm64"
    assert not folders(arm).build.exists()


def test_what_could_be_made_is_kept_although_another_package_failed(
    demo: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = folders(demo).shelf(demo.target) / "work/output"
    left = Package(*(output / name for name in ("deb", "buildinfo", "changes")))
    made = Unsigned("web", demo.version("web"), left, "0" * 64, 1.0)
    finished = []
    failure = StartError("feed does not start")

    def finish(release: Release, unsigned: Unsigned, inputs: str, *_: object) -> Built:
        finished.append((unsigned, inputs))
        return record(demo, unsigned.package)

    monkeypatch.setattr("debstack.pipeline.build.unsigned", lambda *_: Outcome((made,), failure))
    monkeypatch.setattr("debstack.pipeline.build.finish", finish)
    actions = [action(demo, "feed"), action(demo, "web")]
    with pytest.raises(StartError, match="feed does not start"):
        build(demo, folders(demo), KEYS, actions, {}, workshop(demo), in_root=False)
    assert finished == [(made, actions[1].inputs)]


def test_another_version_of_a_component_makes_another_stack(demo: Release) -> None:
    web = replace(demo.lock.packages["web"], changed_in="2020.01.01.1")
    other = replace(demo, lock=replace(demo.lock, packages={**demo.lock.packages, "web": web}))
    assert action(other, "traderunner-stack").version == action(demo, "traderunner-stack").version
    assert action(other, "traderunner-stack").inputs != action(demo, "traderunner-stack").inputs
