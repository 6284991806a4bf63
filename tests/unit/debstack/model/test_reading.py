"""Every way in which TOML can fail to be a definition, with file, key and suggestion."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from tests.unit.debstack.model import project

from debstack.errors import DefinitionError, Problem
from debstack.model.reading import load

FEED, WEB, STACK = "components/feed.toml", "components/web.toml", "stack.toml"


def problems_of(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as raised:
        load(folder)
    assert raised.value.exit_code == 4
    return raised.value.problems


def test_a_right_project_is_read_completely(tmp_path: Path) -> None:
    definition = load(project.write(tmp_path))
    web = definition.component("web")
    assert [each.name for each in definition.components] == ["feed", "web"]
    assert web.units[0].deadline == 60.0
    assert isinstance(web.units[0].deadline, float)
    assert web.units[0].checks[0].status == (200, 401)
    assert web.units[0].environment["SHELL"] == "${HOME}"
    assert web.secrets[0].length == 24
    assert definition.component("feed").units[0].checks[0].json == {"database.ok": "true"}
    assert definition.target("bookworm").suffix == "deb12"


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "message", "suggestion"),
    [
        (FEED, "port = 8090", "prot = 8090", "units[0].prot", "unknown key", "did you mean port?"),
        (FEED, 'summary = "the feed"', "", "summary", "this key is missing", ""),
        (FEED, "order = 10", 'order = "10"', "units[0].order", "expected an integer, got '10'", ""),
        (FEED, "order = 10", "order = true", "units[0].order", "expected an integer", ""),
        (FEED, "order = 10", "order = 1.5", "units[0].order", "expected an integer, got 1.5", ""),
        (FEED, '"main"', "7", "source.ref", "expected a text, got 7", ""),
        (FEED, '"wheel"', '"whel"', "python.install", "expected one of tree, wheel",
         "did you mean wheel?"),
        (FEED, '"simple"', "1", "units[0].type", "expected one of simple, notify, got 1", ""),
        (FEED, '{ "database.ok" = "true" }', "{ ok = true }", "units[0].checks[0].json.ok",
         "expected a text, got true", ""),
        (FEED, '{ "database.ok" = "true" }', '"x"', "units[0].checks[0].json",
         "expected a table", ""),
        (WEB, "[200, 401]", "401", "units[0].checks[0].status", "expected a list", ""),
        (WEB, "[200, 401]", '[200, "401"]', "units[0].checks[0].status[1]",
         "expected an integer", ""),
        (WEB, "deadline = 60", 'deadline = "60"', "units[0].deadline", "expected a number", ""),
        (WEB, "[[state]]", "[state]", "state", "expected a list, got a table", ""),
        (STACK, "production = false", "production = 0", "channels[0].production",
         "expected true or false, got 0", ""),
        (STACK, "[archive]", "[archiv]", "archiv", "unknown key", "did you mean archive?"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    tmp_path: Path, file: str, old: str, new: str, key: str, message: str, suggestion: str
) -> None:
    found = problems_of(project.spoil(tmp_path, file, old, new))
    match = [each for each in found if each.key == key]
    assert [each.file for each in match] == [f"packaging/{file}"], found
    assert message in match[0].message
    assert match[0].suggestion == suggestion


def test_a_wrong_type_is_not_followed_by_what_only_follows_from_it(tmp_path: Path) -> None:
    found = problems_of(project.spoil(tmp_path, FEED, "port = 8090", 'port = "8090"'))
    assert [each.key for each in found] == ["units[0].port"]


def test_a_syntax_error_names_the_line(tmp_path: Path) -> None:
    (found,) = problems_of(project.spoil(tmp_path, FEED, 'ref = "main"', "ref = main"))
    assert (found.file, found.key) == ("packaging/components/feed.toml", "line 7")
    assert "not valid TOML" in found.message


def test_a_syntax_error_at_the_end_names_the_last_line(tmp_path: Path) -> None:
    text = 'name = "feed"\nsummary = """never closed'
    (found,) = problems_of(project.write(tmp_path, {f"packaging/{FEED}": text}))
    assert found.key == "line 2"


@pytest.mark.parametrize(
    ("changes", "file", "message", "suggestion"),
    [
        ({"packaging/stack.toml": None}, "packaging/stack.toml", "this file is missing",
         "create it; see docs/definitions.md"),
        ({"packaging/components/feed.toml": None, "packaging/components/feeds.toml": project.FEED},
         "packaging/components/feed.toml", "this file is missing", "did you mean feeds?"),
        ({"packaging/components/old.toml": project.FEED}, "packaging/components/old.toml",
         "does not belong to a component of the stack",
         "add 'old' to components in packaging/stack.toml, or remove the file"),
    ],
)  # fmt: skip
def test_missing_and_stray_files(
    tmp_path: Path, changes: dict[str, str | None], file: str, message: str, suggestion: str
) -> None:
    found = [each for each in problems_of(project.write(tmp_path, changes)) if each.file == file]
    assert [(each.message, each.suggestion) for each in found] == [(message, suggestion)]


def test_a_name_unlike_its_file(tmp_path: Path) -> None:
    found = problems_of(project.spoil(tmp_path, FEED, 'name = "feed"', 'name = "food"'))
    match = [each for each in found if each.key == "name"]
    assert match[0].file == "packaging/components/feed.toml"
    assert match[0].message == "is 'food' in a file called feed.toml"
    assert match[0].suggestion == "name = 'feed', or rename the file"


def test_all_problems_of_all_files_come_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    folder = project.write(
        tmp_path,
        {
            "packaging/stack.toml": project.STACK.replace("grace_days = 30", "grace_days = -1"),
            "packaging/components/feed.toml": "name = ",
            "packaging/components/web.toml": project.WEB.replace('"data"', '"/data"')
            + "\n[surplus]\n",
        },
    )
    before = sorted(folder.rglob("*"))
    found = {(each.file.rpartition("/")[2], each.key) for each in problems_of(folder)}
    assert found == {
        ("stack.toml", "archive.grace_days"),
        ("feed.toml", "line 1"),
        ("web.toml", "state[0].path"),
        ("web.toml", "surplus"),
    }
    assert sorted(folder.rglob("*")) == before


def test_every_problem_prints_file_key_and_suggestion() -> None:
    assert [each.name for each in fields(Problem)] == ["file", "key", "message", "suggestion"]
    assert str(Problem("a.toml", "b.c", "is wrong", "right")) == "a.toml: b.c: is wrong (right)"


def test_a_missing_key_does_not_hide_what_else_is_wrong_in_the_file(tmp_path: Path) -> None:
    project.spoil(tmp_path, FEED, "port = 8090", "port = 99999")
    file = tmp_path / "packaging" / FEED
    file.write_text(file.read_text("utf-8").replace("order = 10", "ordr = 10"), "utf-8")
    keys = {each.key for each in problems_of(tmp_path)}
    assert {"units[0].order", "units[0].ordr", "units[0].port"} <= keys


@pytest.mark.parametrize("file", [STACK, FEED])
@pytest.mark.parametrize("kind", ["link", "dangling", "folder"])
def test_a_definition_lies_there_itself(tmp_path: Path, file: str, kind: str) -> None:
    """What a link leads to is not seen in a clean root, where the same is read again."""
    path = project.write(tmp_path) / "packaging" / file
    path.rename(tmp_path / "shared.toml")
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("shared.toml" if kind == "link" else "gone.toml"))
    found = [each for each in problems_of(tmp_path) if each.file == f"packaging/{file}"]
    assert [each.message for each in found] == ["is not a regular file of packaging/"]


def test_a_folder_that_leads_away_is_found_by_its_files(tmp_path: Path) -> None:
    folder = project.write(tmp_path) / "packaging/components"
    folder.rename(tmp_path / "shared")
    folder.symlink_to(tmp_path / "shared")
    assert {each.file for each in problems_of(tmp_path)} == {
        "packaging/components/feed.toml", "packaging/components/web.toml",
    }  # fmt: skip


def test_packaging_itself_may_be_elsewhere(tmp_path: Path) -> None:
    """A root sees all of it, wherever it lies."""
    folder = project.write(tmp_path) / "packaging"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("elsewhere")
    assert [each.name for each in load(tmp_path).components] == ["feed", "web"]
