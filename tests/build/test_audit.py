"""`debstack audit`: found, not found, and not known are three things."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.build.server import serving
from tests.unit.debstack.pipeline.world import World, world

from debstack import __main__

pytestmark = pytest.mark.build
CANARY = ("jinja2", "2.4.1")


@dataclass
class Service:
    """A service with OSV's protocol; ``known`` are the advisories by distribution."""

    known: dict[tuple[str, str], list[str]] = field(default_factory=lambda: {CANARY: ["X-0"]})
    asked: list[tuple[str, str]] = field(default_factory=list)
    spoil: str = ""
    paged: bool = False

    def answer(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Answer as OSV does, or as ``spoil`` says."""
        if self.spoil == "status":
            return 503, "text/html", b"<html>try again</html>"
        if path.startswith("/v1/vulns/"):
            if self.spoil == "details":
                return 500, "text/plain", b""
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3"}]}]
            affected = [{"package": {"name": "dash", "ecosystem": "PyPI"}, "ranges": ranges}]
            document: dict[str, Any] = {"id": path[10:], "summary": "bad", "affected": affected}
            return 200, "application/json", json.dumps(document).encode()
        queries = json.loads(body)["queries"]
        results = [self._result(each) for each in queries]
        if self.spoil == "short":
            results.pop()
        text = "<html>" if self.spoil == "html" else json.dumps({"results": results})
        return 200, "application/json", text.encode()

    def _result(self, query: dict[str, Any]) -> dict[str, Any]:
        assert query["package"]["ecosystem"] == "PyPI"
        key = (query["package"]["name"], query["version"])
        self.asked.append(key)
        ids = [{"id": each} for each in self.known.get(key, [])]
        if self.paged and ids and "page_token" not in query:
            return {"next_page_token": "2"}
        return {"vulns": ids} if ids else {}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    with serving(service.answer) as made:
        yield made


@pytest.fixture
def demo(tmp_path: Path) -> World:
    made = world(tmp_path)
    made.lock()
    return made


@dataclass(frozen=True)
class Said:
    """How the command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def audit(demo: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Said:
        monkeypatch.setattr(
            sys, "argv", ["debstack", "--project", str(demo.folder), "audit", *arguments]
        )
        with pytest.raises(SystemExit) as caught:
            __main__.main()
        shown = capsys.readouterr()
        code = caught.value.code
        said = Said(code if isinstance(code, int) else 0, shown.out, shown.err)
        # Only who looked may say so.
        assert ("no advisory is open" in said.out) == (said.code == 0)
        assert "Traceback" not in said.err
        return said

    return run


def test_every_distribution_is_looked_up(audit: Any, service: Service, address: str) -> None:
    said = audit("--service", address)
    assert said.code == 0
    assert "all 5 distributions were looked up; no advisory is open" in said.out
    assert {name for name, _ in service.asked} == {
        "dash", "gunicorn", "uvicorn", "idna", "hatchling", "jinja2",
    }  # fmt: skip


@pytest.mark.parametrize("paged", [True, False])
def test_what_is_found_is_told_with_what_corrects_it(
    audit: Any, service: Service, address: str, paged: bool
) -> None:
    service.paged = paged
    service.known["dash", "2"] = ["GHSA-1"]
    said = audit("--service", address)
    assert said.code == 13
    assert said.out == "dash 2: GHSA-1: bad; corrected in 3 (bookworm/web.txt)\n"
    assert "error: 1 advisories about dash" in said.err
    assert "next: run: debstack lock --upgrade dash" in said.err
    document = json.loads(audit("--service", address, "--json").out)
    assert document["complete"] is True
    assert [each["advisory"]["id"] for each in document["findings"]] == ["GHSA-1"]


def test_an_advisory_whose_text_cannot_be_had_was_found_all_the_same(
    audit: Any, service: Service, address: str
) -> None:
    service.known["dash", "2"] = ["GHSA-1"]
    service.spoil = "details"
    said = audit("--service", address)
    assert (said.code, said.out) == (13, "dash 2: GHSA-1: no summary (bookworm/web.txt)\n")


@pytest.mark.parametrize("spoil", ["status", "short", "html"])
def test_a_service_that_does_not_answer_is_no_clean_bill_of_health(
    audit: Any, service: Service, address: str, spoil: str
) -> None:
    service.spoil = spoil
    said = audit("--service", address)
    assert said.code == 14
    assert "next: nothing is known about the lock" in said.err


def test_a_service_that_knows_nothing_is_noticed(
    audit: Any, service: Service, address: str
) -> None:
    service.known.clear()
    said = audit("--service", address)
    assert said.code == 14
    assert f"{address} knows no advisory about jinja2 2.4.1, which has some" in said.err


def test_a_service_that_is_not_there(audit: Any) -> None:
    assert audit("--service", "http://127.0.0.1:9").code == 14
    assert audit("--service", "file:///etc/passwd").code == 14


def test_without_anybody_to_ask_nothing_is_known(audit: Any) -> None:
    said = audit()
    assert said.code == 14
    assert "no advisories were looked at" in said.err
    assert "next: set audit.service or audit.database in packaging/stack.toml" in said.err


def test_what_was_found_counts_also_when_another_could_not_be_asked(
    audit: Any, demo: World, service: Service, address: str
) -> None:
    demo.edit("stack.toml", "[archive]", f'[audit]\nservice = "{address}"\n'
              'database = "none.zip"\n[archive]')  # fmt: skip
    said = audit()
    assert said.code == 14
    assert "warning: not looked at: the database" in said.err
    service.known["dash", "2"] = ["GHSA-1"]
    assert audit().code == 13
    assert json.loads(audit("--json").out)["complete"] is False


def test_a_database_without_a_network(audit: Any, demo: World) -> None:
    folder = demo.folder / "db"
    folder.mkdir()
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for name, version in (CANARY, ("dash", "9")):
        affected = [{"package": {"ecosystem": "PyPI", "name": name}, "versions": [version]}]
        entry = {"id": f"X-{name}", "modified": now, "affected": affected}
        (folder / f"{name}.json").write_text(json.dumps(entry))
    assert audit("--database", str(folder)).code == 0
    text = (folder / "dash.json").read_text()
    (folder / "dash.json").write_text(text.replace('"9"', '"2"'))
    assert audit("--database", str(folder)).code == 13


@pytest.mark.parametrize(("until", "code"), [("2999-12-31", 0), ("2020-01-01", 13)])
def test_an_accepted_advisory_is_told_and_does_not_count_until_its_day(
    audit: Any, demo: World, service: Service, address: str, until: str, code: int
) -> None:
    service.known["dash", "2"] = ["GHSA-1"]
    accepted = f'[[audit.accepted]]\nid = "GHSA-1"\nreason = "not reachable"\nuntil = "{until}"\n'
    demo.edit("stack.toml", "[archive]", f"{accepted}[archive]")
    said = audit("--service", address)
    assert said.code == code
    assert ("accepted: not reachable" in said.out) == (code == 0)


def test_a_lock_that_was_edited_is_not_looked_up(audit: Any, demo: World, address: str) -> None:
    demo.edit("locks/bookworm/web.txt", "dash==2", "dash==3")
    said = audit("--service", address)
    assert said.code == 5
