"""Laying out what a component ships."""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.model import project

from debstack.describe import describe
from debstack.errors import BuildError
from debstack.model.definition import Component, SecretDefinition, StateDirectory
from debstack.model.reading import load
from debstack.steps.stage import discard, stage, state_directories, tree_of, units, unpack
from tradingctl.description import parse_component

HOMEPAGE = "https://demo.example.org/"


@pytest.fixture
def web(tmp_path: Path) -> Component:
    return load(project.write(tmp_path)).component("web")


def exported(folder: Path, *members: tuple[str, str] | tarfile.TarInfo) -> Path:
    """Write a tar of (name, text) files and of ready members, and return it."""
    path = folder / "source.tar"
    with tarfile.open(path, "w") as archive:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
            else:
                info = tarfile.TarInfo(each[0])
                info.size, info.mode = len(each[1].encode()), 0o644
                archive.addfile(info, io.BytesIO(each[1].encode()))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def staged(web: Component, tmp_path: Path, files: dict[str, str] | None = None) -> Path:
    """Stage the component over a tree of ``files`` and return the payload."""
    payload = tmp_path / "payload"
    for name, text in (files or {}).items():
        path = tree_of("web", payload) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    described = describe(web, "1-1~deb12", "2026.11.23.1", "c" * 40)
    tree = stage(web, described, HOMEPAGE, tmp_path / "packaging", payload)
    assert tree == payload / "usr/lib/trading/web"
    return payload


def test_files_are_unpacked_with_their_kinds_and_plain_modes(tmp_path: Path) -> None:
    program = tarfile.TarInfo("bin/run")
    program.mode = 0o4777
    private = tarfile.TarInfo("private")
    private.mode = 0o600
    tar = exported(tmp_path, ("a/ä b.txt", "x"), program, private, link("here", "a/ä b.txt"))
    unpack(tar, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "a/ä b.txt").read_text() == "x"
    assert (out / "here").readlink() == Path("a/ä b.txt")
    modes = {name: (out / name).stat().st_mode & 0o7777 for name in ("bin/run", "private")}
    assert modes == {"bin/run": 0o755, "private": 0o644}


def test_excluded_files_stay_out(tmp_path: Path) -> None:
    names = [
        "app.py",
        "tests/test_app.py",
        "web/tests/x.py",
        "README.md",
        "docs/keep.md",
        ".gitignore",
    ]
    tar = exported(tmp_path, *((name, "") for name in names))
    unpack(tar, tmp_path / "out", ("tests/", "/*.md", ".gitignore"))
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"app.py", "docs/keep.md"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil"])
def test_a_file_outside_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildError, match="outside of itself"):
        unpack(exported(tmp_path, (name, "x")), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_state_and_logs_become_links_below_var(web: Component, tmp_path: Path) -> None:
    tree = tree_of("web", staged(web, tmp_path))
    assert (tree / "data").readlink() == Path("/var/lib/trading/web/data")
    assert (tree / "logs").readlink() == Path("/var/log/trading/web")


def test_tracked_files_of_a_state_directory_are_kept_aside(web: Component, tmp_path: Path) -> None:
    tracked = replace(web, state=(StateDirectory("data/prices", tracked=True),))
    tree = tree_of("web", staged(tracked, tmp_path, {"data/prices/a.csv": "1", "data/b": "2"}))
    assert (tree / ".tracked/data/prices/a.csv").read_text() == "1"
    assert (tree / "data/prices").readlink() == Path("/var/lib/trading/web/data/prices")
    assert (tree / "data/b").read_text() == "2"


def test_tracked_without_tracked_files_names_the_key(web: Component, tmp_path: Path) -> None:
    tracked = replace(web, state=(StateDirectory("data", tracked=True),))
    with pytest.raises(BuildError, match="web has no tracked files in data") as caught:
        staged(tracked, tmp_path)
    assert "remove `tracked = true` of 'data' in packaging/components/web.toml" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "key"), [("data/a.csv", "state: 'data'"), ("logs/x", "logs: 'logs'")]
)
def test_tracked_files_where_the_service_writes_name_the_key(
    web: Component, tmp_path: Path, file: str, key: str
) -> None:
    with pytest.raises(BuildError, match=f"{key} is declared as written") as caught:
        staged(web, tmp_path, {file: "x"})
    assert "tracked = true" in caught.value.hint


@pytest.mark.parametrize("name", [".venv", ".tracked", "RELEASE.json"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_nothing_is_tracked_where_the_build_writes(
    web: Component, tmp_path: Path, name: str, kind: str
) -> None:
    place = tree_of("web", tmp_path / "payload") / name
    if kind == "folder":
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BuildError, match=f"tracks {re.escape(name)}, which the build") as caught:
        staged(web, tmp_path)
    assert "packaging/components/web.toml, [source] exclude" in caught.value.hint


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_a_tracked_link_above_a_state_directory_is_not_followed(
    web: Component, tmp_path: Path, tracked: bool, exists: bool
) -> None:
    shared = tmp_path / "shared"
    if exists:
        (shared / "seed").mkdir(parents=True)
    link = tree_of("web", tmp_path / "payload") / "data"
    link.parent.mkdir(parents=True)
    link.symlink_to(shared)
    path = "data/seed" if tracked else "data/new"
    state = replace(web, state=(StateDirectory(path, tracked=tracked),))
    with pytest.raises(BuildError, match=f"a link in place of a folder above {path}") as caught:
        staged(state, tmp_path)
    assert "packaging/components/web.toml" in caught.value.hint
    (link.parent / "RELEASE.json").unlink()
    with pytest.raises(BuildError, match="a link in place of a folder above data/logs"):
        staged(replace(web, state=(), logs=("data/logs",)), tmp_path)
    assert not exists or [each.name for each in shared.iterdir()] == ["seed"]


def test_a_tracked_link_is_not_kept_in_place_of_its_files(web: Component, tmp_path: Path) -> None:
    seed = tree_of("web", tmp_path / "payload") / "seed"
    (tmp_path / "shared").mkdir()
    seed.parent.mkdir(parents=True)
    seed.symlink_to(tmp_path / "shared")
    tracked = replace(web, state=(StateDirectory("seed", tracked=True),))
    with pytest.raises(BuildError, match="web has no tracked files in seed"):
        staged(tracked, tmp_path)


def test_the_code_knows_which_release_it_is(web: Component, tmp_path: Path) -> None:
    release = json.loads((tree_of("web", staged(web, tmp_path)) / "RELEASE.json").read_text())
    assert release == {
        "component": "web",
        "version": "1-1~deb12",
        "release": "2026.11.23.1",
        "commit": "c" * 40,
    }


def test_settings_units_and_description_are_in_place(web: Component, tmp_path: Path) -> None:
    payload = staged(web, tmp_path)
    files = {p.relative_to(payload).as_posix() for p in payload.rglob("*") if p.is_file()}
    assert files == {
        "etc/needrestart/conf.d/web.conf",
        "lib/systemd/system/web-server.service",
        "usr/lib/trading/web/RELEASE.json",
        "usr/share/trading/components/web.json",
        "usr/share/trading/settings/web.env",
    }
    assert (payload / "usr/share/trading/settings/web.env").read_text() == "WEB_THEME=light\n"
    text = (payload / "usr/share/trading/components/web.json").read_text()
    assert parse_component(text, "web.json").commit == "c" * 40


def test_the_unit_of_a_notify_service(web: Component) -> None:
    (name,) = units(web, HOMEPAGE)
    lines = units(web, HOMEPAGE)[name].splitlines()
    assert name == "web-server.service"
    for expected in (
        "Type=notify",
        "User=trading",
        "WorkingDirectory=/opt/trading/web",
        "ExecStart=/opt/trading/web/.venv/bin/gunicorn --bind 127.0.0.1:9001 web:app",
        "Environment=WEB_ROOT=/opt/trading/web",
        "Environment=WEB_PORT=9001",
        "Environment=SHELL=${HOME}",
        "After=network.target feed.service postgresql.service trading-restore.service"
        " trading-rollback-boot.service trading-market-boot.service",
        "TimeoutStartSec=75",
        "StateDirectory=trading/web",
        "LogsDirectory=trading/web",
        "ProtectSystem=strict",
        f"Documentation={HOMEPAGE}",
        "WantedBy=multi-user.target",
    ):
        assert lines.count(expected) == 1, expected
    assert not any(line.startswith("ExecStartPost=") for line in lines)


def test_systemd_takes_what_the_definition_says_word_by_word(web: Component) -> None:
    values = {"OPTS": "a  b", "FORMAT": "%Y-%m", "SAID": '"it\'s" \\n', "PLAIN": "a=b,c;${X}"}
    unit = replace(
        web.units[0], environment=values, exec=".venv/bin/web --log %d", description="%u"
    )
    lines = units(replace(web, units=(unit,)), HOMEPAGE)["web-server.service"].splitlines()
    for expected in (
        "Description=%%u",
        "ExecStart=/opt/trading/web/.venv/bin/web --log %%d",
        'Environment="OPTS=a  b"',
        "Environment=FORMAT=%%Y-%%m",
        'Environment="SAID=\\"it\'s\\" \\\\n"',
        "Environment=PLAIN=a=b,c;${X}",
    ):
        assert expected in lines, expected


def test_settings_are_read_before_what_the_administrator_wrote(web: Component) -> None:
    text = units(web, HOMEPAGE)["web-server.service"]
    files = [
        line.partition("=")[2] for line in text.splitlines() if line.startswith("EnvironmentF")
    ]
    assert files == [
        "/etc/trading/web.env", "-/etc/trading/environment", "-/etc/trading/secrets/web.env",
    ]  # fmt: skip


def test_a_sandbox_exception_replaces_the_directive_and_gives_its_reason(web: Component) -> None:
    lines = units(web, HOMEPAGE)["web-server.service"].splitlines()
    assert [line for line in lines if line.startswith("MemoryDenyWriteExecute=")] == [
        "MemoryDenyWriteExecute=no"
    ]
    assert lines[lines.index("MemoryDenyWriteExecute=no") - 1] == "# compiles at run time"


def test_a_simple_service_with_a_port_waits_until_it_is_ready(tmp_path: Path) -> None:
    feed = load(project.write(tmp_path)).component("feed")
    text = units(feed, HOMEPAGE)["feed.service"]
    assert "ExecStartPost=/usr/bin/tradingctl wait-ready feed.service\n" in text
    assert "MemoryDenyWriteExecute=yes\n" in text
    assert "LogsDirectory" not in text
    silent = replace(feed, units=(replace(feed.units[0], port=0, checks=()),))
    assert "ExecStartPost" not in units(silent, HOMEPAGE)["feed.service"]


def test_a_required_unit_of_the_component_is_waited_for(web: Component) -> None:
    server = web.units[0]
    job = replace(
        server, name="web-job", port=0, checks=(), deadline=20.0, after=("network.target",),
        wants=("feed.service",), requires=("web-server.service", "other.service"),
    )  # fmt: skip
    lines = units(replace(web, units=(server, job)), HOMEPAGE)["web-job.service"].splitlines()
    for expected in (
        "After=network.target web-server.service trading-restore.service"
        " trading-rollback-boot.service trading-market-boot.service",
        "Wants=feed.service web-server.service",
        "PartOf=web-server.service",
        "Requires=other.service trading-restore.service",
        "StartLimitIntervalSec=0",
        "ExecStartPre=/usr/bin/tradingctl wait-ready --once web-server.service",
    ):
        assert lines.count(expected) == 1, expected


def test_directories_that_the_component_writes(web: Component) -> None:
    assert state_directories(web) == [
        "/var/lib/trading/web", "/var/lib/trading/web/data", "/var/log/trading/web",
    ]  # fmt: skip
    assert state_directories(replace(web, logs=(), state=())) == ["/var/lib/trading/web"]


def test_discarding_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "work/x").mkdir(parents=True)
    discard(tmp_path / "work")
    discard(tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_secret_in_a_file_is_a_credential_with_something_in_its_place(web: Component) -> None:
    secrets = (SecretDefinition("KEY", credential=True), SecretDefinition("PASS"))
    (text,) = units(replace(web, secrets=secrets), HOMEPAGE).values()
    lines = text.splitlines()
    assert "LoadCredential=KEY:/etc/trading/secrets/web/KEY" in lines
    assert "SetCredential=KEY:\\n" in lines, "systemd 252 takes an empty one for a mistake"
    assert "Environment=KEY_FILE=%d/KEY" in lines
    assert "PASS" not in text
    assert "Type=notify" in lines
    simple = replace(web, secrets=secrets, units=(replace(web.units[0], type="simple"),))
    assert "Type=exec" in next(iter(units(simple, HOMEPAGE).values())).splitlines()


def test_a_unit_that_sends_orders_is_asked_before_it_starts(web: Component) -> None:
    (text,) = units(web, HOMEPAGE).values()
    assert "ExecCondition" not in text
    sender = replace(web, units=(replace(web.units[0], sends_orders=True),))
    (text,) = units(sender, HOMEPAGE).values()
    assert "\nExecCondition=/usr/bin/tradingctl may-start web-server.service\n" in text


def test_other_words_for_the_environment_come_between_the_files(web: Component) -> None:
    (text,) = units(replace(web, environments={"staging": "test"}), HOMEPAGE).values()
    files = [line for line in text.splitlines() if line.startswith("EnvironmentFile=")]
    assert files[-3:] == [
        "EnvironmentFile=-/etc/trading/environment",
        "EnvironmentFile=-/run/trading/web-server/environment",
        "EnvironmentFile=-/etc/trading/secrets/web.env",
    ]
    assert "\nRuntimeDirectory=trading/web-server\n" in text
    assert "\nExecStartPre=/usr/bin/tradingctl environment --spell web-server.service\n" in text
