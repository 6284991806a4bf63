"""What is told to a build in a root, and what it tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release

from debstack.errors import DebstackError, DefinitionError, Problem, StartError
from debstack.pipeline import inside
from debstack.pipeline.assemble import Parts
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.inside import Wanted, main, read_outcome
from debstack.pipeline.unsigned import Outcome, Unsigned
from debstack.steps.package import Package

KEY = {"repository": {"A" * 40: b"\x98\x00key"}}
WANTED = (
    Parts("web", "1~deb13", Path("/home/user/cache/sources/abc.tar")),
    Parts("traderunner-archive-keyring", "1~deb13", None, KEY, development=True),
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the folders of a root lie in a temporary one, and return the exchange."""
    for name in ("PROJECT", "CACHE", "SHELF", "EXCHANGE"):
        folder = tmp_path / name.lower()
        monkeypatch.setattr(inside, name, folder)
        folder.mkdir()
    release(tmp_path / "project")
    return tmp_path / "exchange"


def run(
    places: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> tuple[list[Parts], Workshop]:
    """Run what runs in a root, with something else in place of the build; return what it got."""
    got: list[tuple[list[Parts], Workshop]] = []

    def unsigned(of: Release, orders: list[Parts], shelf: Path, workshop: Workshop) -> Outcome:
        got.append((orders, workshop))
        if isinstance(failure, OSError):
            raise failure
        output = shelf / "web_1~deb13" / "output"
        left = Package(*(output / f"web.{kind}" for kind in ("deb", "buildinfo", "changes")))
        made = Unsigned("web", "1~deb13", left, "0" * 64, 1.5)
        if isinstance(failure, DebstackError):
            failure.log = shelf / "web_1~deb13/build.log"
            return Outcome((made,), failure)
        return Outcome((made,))

    monkeypatch.setattr(inside, "unsigned", unsigned)
    lock = inside.PROJECT / "packaging/repos.lock"
    Wanted(lock.read_text(), "bookworm", 2, True, WANTED).write(places)
    # Another one is locked before the root is entered.
    lock.write_text("")
    main()
    return got[0]


def test_parts_arrive_as_they_were_sent(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (web, keyring), workshop = run(places, monkeypatch, None)
    assert web == Parts("web", "1~deb13", inside.CACHE / "sources/abc.tar")
    assert keyring == WANTED[1]
    assert (workshop.jobs, workshop.offline, workshop.runner.echo) == (2, True, True)
    assert workshop.confined, "the root is apart from the user's files, whatever works in it"


def test_what_was_made_is_found_outside(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(places, monkeypatch, None)
    outcome = read_outcome(places, Path("/shelf"))
    assert outcome is not None
    (made,) = outcome.made
    assert outcome.failure is None
    assert made.left.deb == Path("/shelf/web_1~deb13/output/web.deb")
    assert (made.payload, made.seconds) == ("0" * 64, 1.5)


def test_a_failure_is_outside_what_it_was_inside(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = StartError("web does not start", hint="edit web.toml", details=["line 1", "line 2"])
    run(places, monkeypatch, raised)
    outcome = read_outcome(places, Path("/shelf"))
    assert outcome is not None
    failure = outcome.failure
    assert type(failure) is StartError
    assert (failure.message, failure.hint, failure.details) == (
        raised.message, raised.hint, raised.details,
    )  # fmt: skip
    assert failure.log == Path("/shelf/web_1~deb13/build.log")
    assert [each.package for each in outcome.made] == ["web"]


def test_wrong_definitions_are_told_with_each_problem(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = DefinitionError([Problem("packaging/components/web.toml", "config[0].source", "gone")])
    run(places, monkeypatch, raised)
    outcome = read_outcome(places, Path("/shelf"))
    assert outcome is not None
    assert type(outcome.failure) is DefinitionError
    assert outcome.failure.details == raised.details


def test_a_full_disk_is_told(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(places, monkeypatch, OSError(28, "No space left on device"))
    outcome = read_outcome(places, Path("/shelf"))
    assert outcome is not None
    assert outcome.failure is not None
    assert "No space left on device" in outcome.failure.message


def test_nothing_is_told_by_what_was_killed(tmp_path: Path) -> None:
    assert read_outcome(tmp_path, Path("/shelf")) is None


def test_half_of_what_came_of_it_is_nothing(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(places, monkeypatch, None)
    file = places / "outcome.json"
    for size in (file.stat().st_size // 2, 0):
        file.write_bytes(file.read_bytes()[:size])
        assert read_outcome(places, Path("/shelf")) is None


def test_no_private_key_is_among_what_is_told(places: Path) -> None:
    Wanted("", "bookworm", 2, False, WANTED).write(places)
    document = json.loads((places / "wanted.json").read_text())
    assert set(document) == {"lock", "target", "jobs", "verbose", "packages"}
