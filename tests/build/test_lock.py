"""A release locked from real repositories and the real index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.build.index import need_index
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.world import PYPROJECT, World

from debstack.model.lock import read_lock
from debstack.model.places import lock_file, locks_folder
from debstack.model.reading import load
from debstack.pipeline.diff import diff, read_requirements
from debstack.pipeline.lock import apply, plan
from debstack.pipeline.lock_check import check
from debstack.pipeline.pin import Tools
from debstack.process import Runner
from debstack.steps import fetch
from debstack.steps.resolve import resolve

pytestmark = pytest.mark.build
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def commit(repository: Path, files: dict[str, str]) -> str:
    """Commit ``files`` on main of ``repository`` and return the commit."""
    git = [
        "git",
        "-C",
        str(repository),
        "-c",
        "user.name=Demo",
        "-c",
        "user.email=demo@example.org",
    ]
    if not repository.exists():
        repository.mkdir(parents=True)
        Runner().run([*git, "init", "-q", "-b", "main"])
    for name, text in files.items():
        (repository / name).write_text(text)
    Runner().run([*git, "add", "-A"])
    Runner().run([*git, "commit", "-q", "-m", f"write {', '.join(files)}"])
    return Runner().capture([*git, "rev-parse", "HEAD"]).text.strip()


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    need_index()
    web = project.WEB.replace("git@git.example.org:demo/web.git", "build/web").replace(
        '"v1.2"', '"main"'
    )
    web = web.replace('"gunicorn>=22,<24", "uvicorn[standard]; python_version > \'3\'"', "")
    feed = project.FEED.replace("build/feed.git", "build/feed")
    return project.write(
        tmp_path / "demo",
        {"packaging/components/feed.toml": feed, "packaging/components/web.toml": web},
    )


def asking(folder: Path) -> Tools:
    runner = Runner()

    def export(wanted: fetch.Wanted) -> fetch.Exported:
        return fetch.export(wanted, fetch.Places(folder, folder / "cache"), runner)

    return Tools(
        lambda url, ref: fetch.resolve_ref(url, ref, folder, runner),
        export,
        partial(resolve, runner=runner),
        World(folder).input_digest,
        World(folder).build_sdist,
    )


def test_lock_move_check_and_diff(demo: Path) -> None:
    first = commit(demo / "build/feed", {"pyproject.toml": PYPROJECT})
    commit(demo / "build/web", {"requirements.txt": "idna<3.8\n"})
    ask = asking(demo)
    apply(plan(load(demo), demo, None, ask, now=NOON), demo)
    old = read_lock(lock_file(demo))
    old_requirements = read_requirements(old, locks_folder(demo))
    assert old.components["feed"].commit == first
    assert check(load(demo), demo, old, ask.input_digest) == []
    assert "idna==3.7 " in (locks_folder(demo) / "bookworm/web.txt").read_text()

    assert plan(load(demo), demo, old, ask, now=NOON + timedelta(days=1)).lock is old

    commit(demo / "build/web", {"requirements.txt": "idna<3.8\nmarkupsafe<3.0.3\n"})
    apply(plan(load(demo), demo, old, ask, now=NOON + timedelta(days=1)), demo)
    new = read_lock(lock_file(demo))
    assert new.release == "2026.11.24.1"

    def subjects(url: str, before: str, after: str) -> list[str] | None:
        return fetch.subjects(url, before, after, project=demo, runner=Runner())

    new_requirements = read_requirements(new, locks_folder(demo))
    text = diff(old, old_requirements, new, new_requirements, subjects).text()
    assert "write requirements.txt" in text
    assert "  bookworm/web.txt:\n    + markupsafe 3.0.2\n" in text
    back = diff(new, new_requirements, old, old_requirements, subjects)
    assert [each.backwards for each in back.components] == [True]
