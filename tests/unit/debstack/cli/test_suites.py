"""Commands that change several suites, of which a later one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.debstack.archive.suites import offering, put
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.release import KEYS

from debstack.archive.content import About
from debstack.archive.suite import Publication
from debstack.archive.tree import Tree
from debstack.cli import publish
from debstack.cli.project import Project
from debstack.cli.root import debstack
from debstack.errors import ArchiveError
from debstack.model.definition import Definition, Target
from debstack.model.reading import load
from debstack.pipeline.channels import Channels
from debstack.pipeline.publish import BuiltRelease

FIRST, SECOND = "bookworm-staging", "trixie-staging"
RELEASE = "2026.11.23.1"

Act = Callable[..., Publication]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a project with two targets, of which the second one has a single release."""
    block = project.STACK[project.STACK.index("[[targets]]") : project.STACK.index("[[channels]]")]
    second = block.replace("bookworm", "trixie").replace("deb12", "deb13").replace("3.11", "3.13")
    made = project.write(
        tmp_path, {"packaging/stack.toml": project.STACK.replace(block, block + second)}
    )
    definition, tree = load(made), Tree(made / "dist/apt")
    for target, releases in zip(
        definition.stack.targets, [(RELEASE, "2026.11.23.2"), (RELEASE,)], strict=True
    ):
        place = Project(made, verbose=False).channels.place(target, definition.stack.channels[0])
        put(tree, place.suite, KEYS.repository, offering(*releases))
    return made


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is written in place of the page, and let nobody ask for keys."""
    written: list[str] = []
    monkeypatch.setattr(Project, "write_page", lambda _: written.append("page"))
    monkeypatch.setattr(Project, "keys", KEYS)
    return written


def invoke(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(debstack, ["--project", str(folder), *arguments])


def failing(at: int) -> Act:
    """Return what does nothing for the suites before number ``at``, and fails there."""
    asked: list[str] = []

    def act(*_: object, **__: object) -> Publication:
        if len(asked) == at:
            raise ArchiveError("is refused")
        asked.append("")
        return Publication(FIRST, 2, (), (), unchanged=False)

    return act


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("command", ["publish", "promote", "unpublish"])
def test_the_page_tells_of_what_was_done_before_a_failure(
    folder: Path, pages: list[str], monkeypatch: pytest.MonkeyPatch, command: str, at: int
) -> None:
    def read_built(_: Path, __: Definition, target: Target) -> BuiltRelease:
        return BuiltRelease(target, About(RELEASE), ())

    monkeypatch.setattr(publish, "read_built", read_built)
    monkeypatch.setattr(publish, "targets_of", lambda _, definition: definition.stack.targets)
    monkeypatch.setattr(Channels, command, failing(at))
    more = {"publish": [str(folder)], "promote": [RELEASE]}
    more["unpublish"] = [RELEASE, "--channel", "staging", "--allow-empty"]
    result = invoke(folder, command, *more[command])
    assert isinstance(result.exception, ArchiveError)
    assert result.exception.message == "is refused"
    assert pages == ["page"] * at


def test_what_one_suite_refuses_is_unpublished_from_none(
    folder: Path, pages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Channels, "unpublish", lambda *_, **__: asked.append("unpublish"))
    for options in ([], ["--dry-run"]):
        result = invoke(folder, "unpublish", RELEASE, "--channel", "staging", *options)
        assert isinstance(result.exception, ArchiveError)
        assert result.exception.message.startswith(f"{SECOND} has no other release")
        assert result.output == ""
    assert asked == pages == []
    dry = invoke(folder, "unpublish", RELEASE, "--channel", "staging", "--allow-empty", "--dry-run")
    assert [line for line in dry.output.splitlines() if "staging" in line] == [
        f"{FIRST}: unpublished",
        f"{SECOND}: unpublished",
    ]
    assert asked == pages == []
