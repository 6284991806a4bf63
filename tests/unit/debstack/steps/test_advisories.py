"""Databases of advisories: what is affected, and when a database tells nothing."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.debstack.steps.rude_server import RUDE, rude_server

from debstack.errors import AdvisoryError
from debstack.steps.advisories import Advisory, Distribution, Found, ask_service, read_database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CANARY = ("canary", "1.0")


def entry(name: str, **values: Any) -> dict[str, Any]:
    """Return an advisory of OSV about ``name``; ``values`` are of what is affected."""
    affected = {"package": {"ecosystem": "PyPI", "name": name}} | values
    return {
        "id": f"X-{name}", "modified": "2026-11-20T00:00:00Z", "summary": "bad\n thing",
        "affected": [affected],
    }  # fmt: skip


def events(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in pairs]}]


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, each in enumerate((entry("canary", versions=["1.0"]), *entries)):
        (folder / f"{number}.json").write_text(json.dumps(each))
    return folder


def read(path: Path, *wanted: Distribution) -> Found:
    return read_database(path, wanted, CANARY, now=NOW, max_age_days=14)


def test_an_advisory_says_what_corrects_it(tmp_path: Path) -> None:
    made = entry("Foo_Bar", ranges=events(("introduced", "0"), ("fixed", "2.10"))) | {
        "aliases": ["CVE-1"]
    }
    path = write(tmp_path / "db", made)
    found = read(path, ("foo-bar", "2.9"), ("foo-bar", "2.10"), ("other", "1"))
    assert found == {
        ("foo-bar", "2.9"): (Advisory("X-Foo_Bar", "bad thing", ("2.10",), ("CVE-1",)),),
        ("foo-bar", "2.10"): (),
        ("other", "1"): (),
    }


@pytest.mark.parametrize(
    ("values", "affected"),
    [
        ({"versions": ["1.0", "1.1"]}, {"1.0", "1.1"}),
        ({"versions": ["1.1.0"]}, {"1.1"}),
        ({"ranges": events(("introduced", "1.1"))}, {"1.1", "2.0"}),
        ({"ranges": events(("introduced", "0"), ("last_affected", "1.1"))}, {"1.0", "1.1"}),
        ({"ranges": events(("fixed", "1.1"), ("introduced", "2.0"), ("introduced", "0"))},
         {"1.0", "2.0"}),
        # What names no versions, or some that cannot be compared, is about all of them.
        ({}, {"1.0", "1.1", "2.0"}),
        ({"ranges": [{"type": "GIT", "events": []}]}, {"1.0", "1.1", "2.0"}),
        ({"ranges": events(("introduced", "0"), ("fixed", "r2"))}, {"1.0", "1.1", "2.0"}),
    ],
)  # fmt: skip
def test_which_versions_are_affected(
    tmp_path: Path, values: dict[str, Any], affected: set[str]
) -> None:
    path = write(tmp_path / "db", entry("foo", **values))
    wanted = [("foo", version) for version in ("1.0", "1.1", "2.0")]
    found = read(path, *wanted)
    assert {version for (_, version), advisories in found.items() if advisories} == affected


def test_other_ecosystems_and_withdrawn_advisories_do_not_count(tmp_path: Path) -> None:
    npm = entry("foo")
    npm["affected"][0]["package"]["ecosystem"] = "npm"
    path = write(tmp_path / "db", npm, entry("foo") | {"withdrawn": "2026-01-01T00:00:00Z"})
    assert read(path, ("foo", "1.0")) == {("foo", "1.0"): ()}


def test_a_zip_file_is_read_as_a_folder_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "db", entry("foo"))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert read(tmp_path / "all.zip", ("foo", "1.0")) == read(folder, ("foo", "1.0"))


def test_a_database_that_tells_nothing_is_no_clean_bill_of_health(tmp_path: Path) -> None:
    with pytest.raises(AdvisoryError, match="cannot be read"):
        read(tmp_path / "none.zip", ("foo", "1.0"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AdvisoryError, match="has no entry"):
        read(tmp_path / "empty", ("foo", "1.0"))
    old = write(tmp_path / "old")
    (old / "0.json").write_text(json.dumps(entry("canary") | {"modified": "2026-11-08T00:00:00Z"}))
    with pytest.raises(AdvisoryError, match="is of 2026-11-08, more than 14 days ago"):
        read(old, ("foo", "1.0"))
    blind = write(tmp_path / "blind", entry("foo"))
    (blind / "0.json").unlink()
    with pytest.raises(AdvisoryError, match=r"knows no advisory about canary 1\.0"):
        read(blind, ("foo", "1.0"))
    for text in ("{", "[]", '{"modified": 3}', '{"modified": "2026-11-20T00:00:00Z",'
                 ' "affected": [{"package": {"ecosystem": "PyPI"}}]}'):  # fmt: skip
        broken = write(tmp_path / "broken")
        (broken / "9.json").write_text(text)
        with pytest.raises(AdvisoryError):
            read(broken, ("foo", "1.0"))


@pytest.mark.parametrize("answer", RUDE)
def test_a_service_that_breaks_off_was_not_asked(answer: bytes) -> None:
    with rude_server(answer) as address, pytest.raises(AdvisoryError, match="cannot be asked"):
        ask_service(address, [("jinja2", "2.4.1")], canary=None)
