"""The command line: help, exit codes, wrong usage."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.release import DEVELOPMENT, folders, record, release
from tests.unit.debstack.test_errors import all_errors

from debstack import __main__
from debstack.cli.project import Project
from debstack.cli.root import debstack
from debstack.errors import DebstackError, DefinitionError, LockError, Problem, RebuildError
from debstack.pipeline.contents import Workshop

COMMANDS = (
    *("audit", "build", "diff", "fetch", "inspect", "lock", "rebuild", "vendor"),
    *("publish", "promote", "unpublish", "retain", "refresh", "archive", "serve"),
)


def invoke(*arguments: str, folder: Path | None = None) -> Result:
    place = ["--project", str(folder)] if folder else []
    return CliRunner().invoke(debstack, [*place, *arguments], prog_name="debstack")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_everything_has_help(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert result.output.startswith(
        f"Usage: debstack {'' if len(arguments) == 1 else arguments[0]}"
    )
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_help_lists_every_command_with_a_line() -> None:
    listed = invoke("--help").output.partition("Commands:\n")[2].splitlines()
    lines = {line.split()[0]: line for line in listed if line.startswith("  ")}
    assert set(COMMANDS) <= lines.keys()
    for name in COMMANDS:
        assert lines[name].endswith("."), f"{name} has no whole sentence: {lines[name]}"


def test_the_short_form_and_the_version() -> None:
    assert invoke("-h").output == invoke("--help").output
    assert invoke("--version").output.startswith("debstack, version ")


def test_help_is_quick_because_it_loads_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMMANDS:
        monkeypatch.delitem(sys.modules, f"debstack.cli.{name}", raising=False)
    assert invoke("lock", "--help").exit_code == 0
    assert "debstack.cli.lock" in sys.modules
    assert "debstack.cli.publish" not in sys.modules


@pytest.mark.parametrize(
    "arguments",
    [["bulid"], ["build", "--jobs", "0"], ["build", "--no-such"], ["diff", "none", "none"],
     ["--project", "/nowhere", "build"], ["lock", "--exclude-newer", "soon"],
     ["build", "--vendor", "/nowhere"]],
)  # fmt: skip
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the program as a shell would and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["debstack", *arguments])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize("kind", list(all_errors()))
def test_every_error_ends_with_its_code_and_its_text(
    kind: type[DebstackError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = (
        DefinitionError([Problem("stack.toml", "name", "is empty")])
        if kind is DefinitionError
        else kind("it failed", hint="try this", details=["one", "two"])
    )

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(debstack, "main", fail)
    assert run_main(monkeypatch) == kind.exit_code
    shown = capsys.readouterr()
    details = "".join(f"    {line}\n" for line in error.details)
    assert shown.err == f"\nerror: {error.message}\n{details}next: {error.hint}\n"
    assert shown.out == ""


def test_all_mistakes_in_the_definitions_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write(tmp_path, {
        "packaging/stack.toml": project.STACK.replace('homepage = "https:', 'homepage = "ftp:'),
        "packaging/components/web.toml": project.WEB.replace("port = 9001", "prot = 9001"),
    })  # fmt: skip
    assert run_main(monkeypatch, "--project", str(tmp_path), "build") == 4
    shown = capsys.readouterr().err
    assert "packaging/stack.toml: homepage: " in shown
    assert "packaging/components/web.toml: units[0].prot: " in shown


def test_a_project_that_was_never_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write(tmp_path)
    assert run_main(monkeypatch, "--project", str(tmp_path), "lock", "--check") == 5
    assert "next: run `debstack lock`\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "fetch", "publish"])
def test_an_unknown_target_is_wrong_usage_and_names_those_there_are(
    tmp_path: Path, command: str
) -> None:
    result = invoke(command, "--target", "sarge", folder=release(tmp_path).project)
    assert result.exit_code == 2
    assert "no target is called sarge; there is bookworm" in result.output


@pytest.mark.parametrize(
    ("host", "asked", "chosen"),
    [
        ("trixie", None, ["trixie"]),
        ("bookworm", None, ["bookworm"]),
        ("sid", None, ["bookworm"]),
        ("trixie", "bookworm", ["bookworm"]),
        ("trixie", "all", ["bookworm", "trixie"]),
    ],
)
def test_a_build_is_for_this_machines_release_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, asked: str | None, chosen: list[str]
) -> None:
    demo = release(tmp_path)
    trixie = replace(demo.target, name="trixie", suffix="deb13")
    stack = replace(demo.definition.stack, targets=(demo.target, trixie))
    opened = Project(demo.project, False)
    opened.__dict__["definition"] = replace(demo.definition, stack=stack)
    monkeypatch.setattr("debstack.pipeline.rooted.host_release", lambda: host)
    assert [each.name for each in opened.chosen(asked)] == chosen


def test_an_unknown_channel_is_wrong_usage_and_names_those_there_are(tmp_path: Path) -> None:
    result = invoke("publish", "--channel", "live", folder=release(tmp_path).project)
    assert result.exit_code == 2
    assert "no channel is called live; there is staging, prod" in result.output


@pytest.fixture
def development(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give development keys without making any."""
    monkeypatch.setattr("debstack.keys.load", lambda *_: DEVELOPMENT)


@pytest.mark.usefixtures("development")
def test_dry_run_prints_the_plan_and_does_nothing(tmp_path: Path) -> None:
    demo = release(tmp_path)
    result = invoke("build", "--dry-run", "web", "traderunner-common", folder=demo.project)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"build  web {demo.version('web')}: not built yet\n"
        f"build  traderunner-common {demo.version('traderunner-common')}: not built yet\n"
    )
    assert "warning: signing with DEVELOPMENT KEYS" in result.stderr
    assert not folders(demo).dist.exists()


@pytest.mark.usefixtures("development")
def test_results_as_table_and_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = release(tmp_path)
    built = [record(demo, "web", content=b"x" * 12_345), record(demo, "feed", content=b"y")]
    monkeypatch.setattr("debstack.pipeline.build.plan", lambda *_: [])
    monkeypatch.setattr("debstack.pipeline.build.build", lambda *_, **__: built)
    monkeypatch.setattr("debstack.cli.build.collect_release", lambda *_: demo.project / "dist/r")
    text = invoke("build", folder=demo.project).stdout.splitlines()
    assert text[0].split() == ["package", "version", "size", "installed", "sha256", "seconds"]
    assert text[1].split() == [
        "web", demo.version("web"), "12.3", "kB", "1.0", "kB", built[0].sha256, "1.5", "built",
    ]  # fmt: skip
    assert text[-1] == f"release {demo.lock.release} for bookworm is in {demo.project}/dist/r"
    data = json.loads(invoke("build", "--json", folder=demo.project).stdout)
    assert [(each["package"], each["size"]) for each in data] == [("web", 12_345), ("feed", 1)]


def test_errors_of_a_command_reach_main(tmp_path: Path) -> None:
    demo = release(tmp_path)
    (demo.project / "packaging/repos.lock").write_text("format = 1\n")
    assert isinstance(invoke("build", folder=demo.project).exception, LockError)


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Project(tmp_path, verbose=False)
    for name in ("DEBSTACK_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/dev")
    assert made.cache == Path("/home/dev/.cache/debstack")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/dev")
    assert made.cache == Path("/var/cache/dev/debstack")
    monkeypatch.setenv("DEBSTACK_CACHE_DIR", "/srv/wheels")
    assert made.cache == Path("/srv/wheels")


@pytest.mark.usefixtures("development")
def test_a_rebuild_is_told_what_it_cannot_build_again(tmp_path: Path) -> None:
    demo = release(tmp_path)
    made, killed = tmp_path / "made", folders(demo).build / "rebuild-0123"
    made.mkdir()
    killed.mkdir(parents=True)
    package = {"package": "web", "version": "1~other", "file": "web.deb"}
    (made / "web.deb").touch()
    (made / "bookworm.json").write_text(json.dumps({"packages": [package]}))
    result = invoke("rebuild", "--offline", "--check", str(made), folder=demo.project)
    assert isinstance(result.exception, RebuildError)
    assert "web is 1~other there" in result.exception.message
    # The one before it, which was killed, left what is nobody's.
    assert not killed.exists()


@pytest.mark.usefixtures("development")
@pytest.mark.parametrize(
    ("arguments", "place"), [([], "project/vendor"), (["--vendor", "{}/copied"], "copied")]
)
def test_a_rebuild_takes_what_was_vendored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], place: str
) -> None:
    demo = release(tmp_path / "project")
    (demo.project / "vendor").mkdir()
    (tmp_path / "copied").mkdir()
    (tmp_path / "web.deb").touch()
    package = {"package": "web", "version": "1", "file": "web.deb"}
    (tmp_path / "bookworm.json").write_text(json.dumps({"packages": [package]}))
    found: list[Workshop] = []

    def rebuild(*values: object, **_: object) -> list[object]:
        assert isinstance(values[-1], Workshop)
        found.append(values[-1])
        return []

    monkeypatch.setattr("debstack.cli.rebuild.rebuild", rebuild)
    chosen = [each.format(tmp_path) for each in arguments]
    result = invoke("rebuild", "--check", str(tmp_path), *chosen, folder=demo.project)
    assert result.exit_code == 0, result.output
    assert [workshop.vendor for workshop in found] == [tmp_path / place]


@pytest.mark.usefixtures("development")
def test_source_removes_what_was_left_by_one_that_was_killed(tmp_path: Path) -> None:
    demo = release(tmp_path)
    sources = folders(demo).dist / "source"
    killed, done = (
        sources / "2025.01.01.1/trixie/.incoming-0",
        sources / "2025.01.01.1/trixie/a.dsc",
    )
    killed.mkdir(parents=True)
    done.touch()
    # The demo project has no repositories to fetch from.
    assert isinstance(invoke("source", folder=demo.project).exception, DebstackError)
    assert done.exists()
    assert not killed.exists()
