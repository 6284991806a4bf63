"""The clean root of a Debian release: its name, its command lines, what goes wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack.errors import BuildError, ToolMissingError
from debstack.log import Log
from debstack.process import Result, Runner
from debstack.steps import root as step
from debstack.steps.root import Entrance, bootstrap, command, demand_enterable, place, root

LOG = Log(quiet=True)


def test_a_root_is_kept_by_release_and_list_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = place("trixie", tmp_path)
    assert ours.parent == tmp_path / "roots"
    assert ours.name.startswith("trixie-")
    assert place("bookworm", tmp_path).name.partition("-")[2] != ours.name.partition("-")[2]
    monkeypatch.setattr(step, "PACKAGES", (*step.PACKAGES, "hello"))
    assert place("trixie", tmp_path) != ours


def test_a_root_that_is_there_is_used_and_no_tool_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debstack.process.SYSTEM_PATH", "/nowhere")
    place("trixie", tmp_path).mkdir(parents=True)
    assert root("trixie", tmp_path, Runner(), LOG, offline=True) == place("trixie", tmp_path)


def test_without_a_network_and_a_root_the_next_command_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no root of trixie") as caught:
        root("trixie", tmp_path, Runner(), LOG, offline=True)
    assert "debstack fetch --target trixie" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_without_mmdebstrap_its_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debstack.process.SYSTEM_PATH", "/nowhere")
    with pytest.raises(ToolMissingError) as caught:
        root("trixie", tmp_path, Runner(), LOG, offline=False)
    assert caught.value.hint == "apt-get install mmdebstrap"


def test_mmdebstrap_gets_the_release_the_packages_and_the_archives() -> None:
    sources = ["deb http://deb.example.org/debian trixie main"]
    line = bootstrap("trixie", sources, ['Acquire::Check-Date "false"'], Path("/c/root.tar"))
    assert line[:3] == ["setsid", "--wait", "mmdebstrap"]
    assert line[-3:] == ["trixie", "/c/root.tar", *sources]
    assert '--aptopt=Acquire::Check-Date "false"' in line
    (included,) = (word for word in line if word.startswith("--include="))
    assert {"debhelper", "dpkg-dev", "lintian", "python3"} <= set(included[10:].split(","))


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: Failed to fetch http://deb.example.org/x  Could not resolve 'deb.example.org'",
         "apt-get update"),
        ("E: The repository 'http://deb.example.org x Release' does not have a Release file.",
         "code name"),
        ("tar: ./usr: Cannot write: No space left on device", "make room"),
        ("E: unshare: Operation not permitted", "uidmap"),
        ("E: something else", "by hand"),
    ],
)  # fmt: skip
def test_a_root_that_cannot_be_made_leaves_nothing_but_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    def run(self: Runner, asked: list[str], **_: object) -> Result:
        return Result(tuple(asked), 25, said.encode())

    monkeypatch.setattr(step, "require", lambda *_: None)
    monkeypatch.setattr(step, "_sources", lambda *_: ["deb http://deb.example.org trixie main"])
    monkeypatch.setattr(step, "_apt_options", lambda *_: [])
    monkeypatch.setattr(Runner, "run", run)
    with pytest.raises(BuildError, match="root of trixie cannot be made") as caught:
        root("trixie", tmp_path, Runner(), LOG, offline=False)
    assert hint in caught.value.hint
    assert said in caught.value.details
    assert not place("trixie", tmp_path).exists()
    assert [path for path in (tmp_path / "roots").iterdir() if path.is_dir()] == []


def test_only_the_archives_of_debian_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "host_release", lambda: "bookworm")
    known = (
        "Debian|bookworm|http://deb.example.org/debian|main\n"
        "Debian|bookworm|http://deb.example.org/debian|contrib\n"
        "Debian|bookworm-security|http://security.example.org/|main\n"
        "Debian Backports|bookworm-backports|http://deb.example.org/debian|main\n"
        "Somebody|bookworm|https://apt.example.com/|main\n"
    )
    monkeypatch.setattr(Runner, "capture", lambda self, asked: Result((), 0, known.encode()))
    assert step._sources("trixie", Runner()) == [
        "deb http://deb.example.org/debian trixie main",
        "deb http://security.example.org/ trixie-security main",
    ]
    monkeypatch.setattr(Runner, "capture", lambda self, asked: Result((), 0, b""))
    with pytest.raises(BuildError, match="no Debian archive that trixie") as caught:
        step._sources("trixie", Runner())
    assert "apt-get update" in caught.value.hint


def test_programs_in_a_root_see_it_read_only_and_what_is_bound(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    entrance = Entrance(
        tmp_path, {"/debstack/project": Path("/p")}, {"/debstack/packages": Path("/b")}, {"A": "1"}
    )
    line = " ".join(command(entrance))
    assert line.startswith("bwrap --unshare-net ")
    assert f"--ro-bind {tmp_path}/usr /usr" in line
    assert "--symlink usr/lib /lib" in line
    assert "--ro-bind /p /debstack/project" in line
    assert line.count("--bind ") == 1
    assert "--bind /b /debstack/packages" in line
    assert line.index("--clearenv") < line.index("--setenv A 1")


def test_where_namespaces_are_not_allowed_it_is_said_before_the_build(tmp_path: Path) -> None:
    # No root at all: bubblewrap's own words are passed on in the same way.
    with pytest.raises(BuildError, match="no program can be run in the root") as caught:
        demand_enterable(tmp_path, Runner())
    assert "--privileged" in caught.value.hint
    assert any("bwrap" in line for line in caught.value.details)
