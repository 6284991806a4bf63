"""`debstack rebuild --check`: a release that is the same again, and one that was changed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from tests.build.conftest import BuiltProject
from tests.build.project import Project, missing_tools, snapshot

from debstack.process import Runner, base_environment
from debstack.steps.sign import read_layout

pytestmark = pytest.mark.build
COMMON = "traderunner-common"
PROGRAM = "usr/share/traderunner-common/tradingctl/__main__.py"


@pytest.fixture
def release(built: BuiltProject, tmp_path: Path) -> Path:
    """Return a copy of the built release."""
    (folder,) = built.project.dist.glob("[0-9]*")
    return shutil.copytree(folder, tmp_path / "release")


def test_what_was_built_is_the_same_again(built: BuiltProject, release: Path) -> None:
    before = snapshot(built.project.root / "build"), snapshot(built.project.dist)
    run = built.project.need(
        "rebuild", "--offline", "--check", str(release), "automatictrader-api", COMMON
    )
    rows = [line.split() for line in run.stdout.splitlines()[1:]]
    payloads = {each["package"]: each["payload"] for each in built.packages}
    assert rows == [
        ["bookworm", name, payloads[name], "same"] for name in ("automatictrader-api", COMMON)
    ]
    assert (snapshot(built.project.root / "build"), snapshot(built.project.dist)) == before


def test_a_file_that_was_changed_is_named(built: BuiltProject, release: Path) -> None:
    (deb,) = release.glob(f"{COMMON}_*.deb")
    tree = release.parent / "tree"
    runner = Runner()
    runner.run(["dpkg-deb", "--raw-extract", deb, tree])
    program = tree / PROGRAM
    program.write_text(program.read_text() + "# more\n")
    date = {"SOURCE_DATE_EPOCH": str(read_layout(deb).payload[0].mtime)}
    runner.run(
        ["dpkg-deb", "-Zzstd", "-z3", "--root-owner-group", "--build", tree, deb],
        env=base_environment() | date,
    )
    run = built.project.debstack("rebuild", "--offline", "--check", str(release), COMMON)
    assert run.returncode == 15
    assert f"1 of 1 packages are not the same when built again: {COMMON}" in run.stderr
    assert run.stdout.rstrip().endswith("differs")
    assert f"{COMMON}: data.tar: ./{PROGRAM}: " in run.stderr
    # The next command compares what is there.
    (hint,) = re.findall(r"^next: .*: (diff .*)$", run.stderr, re.MULTILINE)
    _, ours, theirs = shlex.split(hint)
    for file in (ours, theirs):
        assert "\nInstalled-Build-Depends:\n" in Path(file).read_text()
    Path(theirs).unlink()


def test_another_lock_is_refused_and_nothing_is_built(built: BuiltProject, release: Path) -> None:
    lock = release / "repos.lock"
    text = lock.read_text()
    (line,) = [each for each in text.splitlines() if each.startswith("release = ")]
    lock.write_text(text.replace(line, 'release = "2999.01.01.1"', 1))
    run = built.project.debstack("rebuild", "--offline", "--check", str(release))
    assert run.returncode == 5
    assert "another lock (2999.01.01.1)" in run.stderr
    assert "next: check out the commit" in run.stderr


def test_another_release_of_debian_is_built_again_in_its_root(
    built: BuiltProject, tmp_path: Path
) -> None:
    if reason := missing_tools("bwrap", "mmdebstrap"):
        pytest.skip(reason)
    project: Project = built.project.fork(tmp_path / "p")
    project.need("build", "--target", "trixie", COMMON)
    (release,) = project.dist.iterdir()
    run = project.need("rebuild", "--offline", "--check", str(release))
    (row,) = [line.split() for line in run.stdout.splitlines()[1:]]
    assert (row[0], row[1], row[3]) == ("trixie", COMMON, "same")
