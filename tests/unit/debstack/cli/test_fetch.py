"""`debstack fetch`: what a build without a network says is missing is there afterwards."""

from __future__ import annotations

import shlex
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.debstack.pipeline.release import release

from debstack.cli.root import debstack
from debstack.errors import BuildError, DebstackError, DependencyError
from debstack.log import Log
from debstack.model.definition import Definition, Target
from debstack.pipeline.contents import Workshop
from debstack.pipeline.rooted import prepare
from debstack.process import Result, Runner

HOST = "bookworm"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project for two releases, on a machine whose mmdebstrap and pip are quick."""
    demo = release(tmp_path / "project")
    trixie = replace(demo.target, name="trixie", suffix="deb13", python="3.13")
    stack = replace(demo.definition.stack, targets=(demo.target, trixie))
    definition = Definition(stack, demo.definition.components)
    really = Runner.run

    def run(self: Runner, asked: list[str | Path], **values: object) -> Result:
        words = list(map(str, asked))
        if "mmdebstrap" in words:
            (tar,) = (each for each in words if each.endswith(".tar"))
            with tarfile.open(tar, "w") as archive:
                archive.addfile(tarfile.TarInfo("hello"))
        elif "pip" in words:
            Path(words[words.index("--target") + 1]).mkdir()
        else:
            return really(self, asked)
        return Result(tuple(words), 0)

    for place, value in {
        "debstack.cli.project.load": lambda _: definition,
        "debstack.pipeline.build.open_release": lambda *values: replace(demo, target=values[-1]),
        "debstack.pipeline.build.fetch": lambda *_: {},
        "debstack.pipeline.rooted.demand_enterable": lambda *_: None,
        "debstack.pipeline.rooted.host_release": lambda: HOST,
        "debstack.pipeline.rooted.collect": lambda *_, **__: (),
        "debstack.steps.root.require": lambda *_: None,
        "debstack.steps.root._sources": lambda *_: [],
        "debstack.steps.root._apt_options": lambda *_: [],
        "debstack.process.Runner.run": run,
    }.items():
        monkeypatch.setattr(place, value)
    monkeypatch.setenv("DEBSTACK_CACHE_DIR", str(tmp_path / "cache"))
    return demo.project


def missing(cache: Path, target: Target) -> DebstackError | None:
    """Return what a build in a root of ``target`` says without a network."""
    workshop = Workshop(cache, 1, True, Runner(), Log(quiet=True))
    try:
        prepare(target, workshop)
    except DebstackError as error:
        return error
    return None


def do(hint: str, project: Path) -> None:
    words = shlex.split(hint.partition("debstack fetch ")[2].partition(";")[0])
    result = CliRunner().invoke(debstack, ["--project", str(project), "fetch", *words])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", [HOST, "trixie"])
def test_the_command_in_the_hint_makes_what_was_missing(
    project: Path, tmp_path: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    target = replace(release(tmp_path).target, name=name, python={HOST: "3.11"}.get(name, "3.13"))
    no_root = missing(cache, target)
    assert isinstance(no_root, BuildError)
    do(no_root.hint, project)
    assert missing(cache, target) is None
    shutil.rmtree(cache / "distributions")
    no_distributions = missing(cache, target)
    assert isinstance(no_distributions, DependencyError)
    do(no_distributions.hint, project)
    assert missing(cache, target) is None


def test_this_machines_release_has_a_root_only_if_it_is_asked_for(
    project: Path, tmp_path: Path
) -> None:
    def roots() -> list[str]:
        return sorted(each.name.partition("-")[0] for each in (tmp_path / "cache/roots").glob("*/"))

    do("debstack fetch --target all", project)
    assert roots() == ["trixie"]
    do("debstack fetch --target all --in-root", project)
    assert roots() == ["bookworm", "trixie"]
