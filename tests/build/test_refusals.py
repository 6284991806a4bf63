"""What a build refuses, that it says what differs, and that it then leaves everything alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.build.index import need_index
from tests.build.project import Project, Run, copy_wheels, snapshot

from debstack.model.lock import read_lock

pytestmark = pytest.mark.build
NAME = "automatictrader-api"
LOCK = f"locks/bookworm/{NAME}.txt"


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Iterator[Project]:
    """Give a project of its own, in whose dist/ lies an earlier release."""
    own = template.fork(tmp_path / "project")
    earlier = own.dist / "2026.01.01.1"
    earlier.mkdir(parents=True)
    (earlier / "SHA256SUMS").write_text("an earlier release\n")
    before = snapshot(own.dist)
    yield own
    assert snapshot(own.dist) == before
    assert not list(own.root.glob("build/packages/**/*.deb"))


def refused(project: Project, code: int, *arguments: str) -> Run:
    """Build, and demand that it is refused with ``code`` and says how to go on."""
    run = project.debstack("build", *(arguments or (NAME,)))
    assert run.returncode == code, run.stderr
    assert run.stdout == ""
    assert "error: " in run.stderr
    assert "next: " in run.stderr
    assert "Traceback" not in run.stderr
    return run


def test_a_commit_that_does_not_exist(project: Project) -> None:
    commit = read_lock(project.lock_file).components[NAME].commit
    project.edit("repos.lock", commit, "0" * 40)
    project.adjust_lock()
    run = refused(project, 6)
    assert f"build/samples/{NAME}.git has no commit {'0' * 40}" in run.stderr


def test_a_commit_with_other_files_than_were_locked(project: Project) -> None:
    tree = read_lock(project.lock_file).components[NAME].tree
    project.edit("repos.lock", tree, "f" * 64)
    project.adjust_lock()
    run = refused(project, 6)
    assert "is not the one in the lock" in run.stderr
    assert f"in the lock: sha256 {'f' * 64}" in run.stderr
    assert f"fetched:     sha256 {tree}" in run.stderr


def test_a_wheel_with_another_hash_than_the_index_has(project: Project) -> None:
    need_index()
    wheel = _spoil_hash(project)
    project.adjust_lock()
    run = refused(project, 7)
    name, version = wheel.split("==")
    assert f"{NAME}: {name} {version}: the index serves a file with another hash" in run.stderr


def test_a_wheel_that_is_not_in_the_cache_without_the_network(project: Project) -> None:
    wheel = _spoil_hash(project)
    project.adjust_lock()
    run = refused(project, 7, NAME, "--offline")
    assert "1 of " in run.stderr
    assert wheel.replace("==", " ") in run.stderr


def test_a_wheel_that_was_changed_in_the_cache(project: Project, tmp_path: Path) -> None:
    cache = copy_wheels(tmp_path / "cache")
    digest, filename = _first_wheel(project)
    wheel = cache / "wheels" / digest / filename
    content = wheel.read_bytes()
    wheel.unlink()  # the user's cache has the same file
    wheel.write_bytes(content + b"\0")
    run = refused(Project(project.root, {"DEBSTACK_CACHE_DIR": str(cache)}), 7)
    assert "are not the locked ones" in run.stderr
    assert f"expected sha256 {digest}, got " in run.stderr
    assert str(wheel) in run.stderr


def test_a_dependency_lock_that_was_edited(project: Project) -> None:
    _spoil_hash(project)
    run = refused(project, 5)
    assert "packaging/locks/bookworm" in run.stderr
    assert f"the dependencies of {NAME} (run)" in run.stderr
    recorded = read_lock(project.lock_file).components[NAME].requirements["bookworm"]
    assert f"in repos.lock: sha256 {recorded}" in run.stderr


def test_a_dependency_lock_that_is_missing(project: Project) -> None:
    (project.root / "packaging" / LOCK).unlink()
    run = refused(project, 5)
    assert f"packaging/{LOCK} does not exist" in run.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "packages"),
    [
        (f"conf/{NAME}.env", "AT_WORKER_POLL_SEC=1", "AT_WORKER_POLL_SEC=2", NAME),
        (f"components/{NAME}.toml", "order = 30", "order = 31", NAME),
        ("stack.toml", 'uri = "file:', 'uri = "http:', "traderunner-archive-keyring"),
        ("repos.lock", "[packages.traderunner-common.inputs]\nbookworm = \"",
         "[packages.traderunner-common.inputs]\nbookworm = \"" + "0" * 64 + '"\n#',
         "traderunner-common"),
    ],
)  # fmt: skip
def test_inputs_that_are_not_those_of_the_lock(
    project: Project, file: str, old: str, new: str, packages: str
) -> None:
    project.edit(file, old, new)
    run = refused(project, 5)
    assert f"repos.lock was made from other inputs: {packages}\n" in run.stderr
    assert "next: see what differs with `debstack lock --check`" in run.stderr
    check = project.debstack("lock", "--check")
    assert check.returncode == 5
    assert packages in check.stderr


def test_a_template_that_changed(project: Project) -> None:
    template = project.root / "debian-templates/component/debian/postinst"
    template.write_text(template.read_text() + "# changed\n")
    run = refused(project, 5)
    assert "other inputs: marketdata-stream, automatictrader-api, traderunner\n" in run.stderr


def test_no_lock_at_all(project: Project) -> None:
    project.lock_file.unlink()
    assert "does not exist, so no release is pinned" in refused(project, 5).stderr


def test_several_mistakes_in_the_definitions_are_told_at_once(project: Project) -> None:
    project.edit(f"components/{NAME}.toml", 'type = "simple"', 'type = "simpel"')
    project.edit(f"components/{NAME}.toml", "port = 8080", "prot = 8080")
    project.edit(
        "components/traderunner.toml", 'source = "conf/traderunner.env"', 'source = "none"'
    )
    project.edit("stack.toml", "<trading-ops@example.org>", "")
    shutil.rmtree(project.root / "build")
    before = snapshot(project.root)
    run = refused(project, 4)
    assert "problems in the definitions" in run.stderr
    for mistake in ("units[0].type", "prot", "maintainer", "config[0]"):
        assert mistake in run.stderr
    assert "next: correct the keys named above; nothing was written" in run.stderr
    assert project.debstack("lock").returncode == 4
    written = {name for name in snapshot(project.root) if name not in before}
    assert {name for name in written if not name.endswith(".pyc")} == set()


def test_a_package_that_the_release_does_not_have(project: Project) -> None:
    run = refused(project, 8, "traderuner")
    assert "the release has no package traderuner" in run.stderr


def _first_wheel(project: Project) -> tuple[str, str]:
    """Return hash and file name of the first wheel in the dependency lock."""
    text = (project.root / "packaging" / LOCK).read_text()
    match = re.search(r"--hash=sha256:([0-9a-f]{64})  # (\S+)", text)
    assert match is not None
    return match[1], match[2]


def _spoil_hash(project: Project) -> str:
    """Change the hash of the first wheel in the dependency lock and return its name==version."""
    digest, _ = _first_wheel(project)
    project.edit(LOCK, digest, digest[::-1])
    text = (project.root / "packaging" / LOCK).read_text()
    return next(line.split()[0] for line in text.splitlines() if digest[::-1] in line)
