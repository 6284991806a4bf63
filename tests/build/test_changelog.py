"""The changelog of a package is made from the commits since the version before."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from debian.changelog import Changelog
from tests.build.index import need_index
from tests.build.project import Project

from debstack.model.lock import read_lock
from debstack.process import Runner, base_environment

pytestmark = pytest.mark.build
API = "automatictrader-api"
RUNNER = Runner()
AUTHOR = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
          for what, value in (("NAME", "Demo"), ("EMAIL", "demo@example.org"))}  # fmt: skip
SUBJECTS = [
    "Refuse orders without a price",
    "Fix teh spelling; Closes: #4711, lp: #12",
    "x" * 150,
    "Prüfe «Börse» \x1b[31m",
]


def push(project: Project, folder: Path, *subjects: str) -> list[str]:
    """Commit once for each subject in the component's repository; return the commits."""
    url = project.root / f"build/samples/{API}.git"
    git: list[str | Path] = ["git", "-C", folder]
    env = base_environment() | AUTHOR
    RUNNER.run(["git", "clone", "-q", str(url), str(folder)], env=env)
    commits = []
    for subject in subjects:
        RUNNER.run(
            [*git, "commit", "-q", "--allow-empty", "-m", subject, "-m", "The body."], env=env
        )
        commits.append(RUNNER.capture([*git, "rev-parse", "HEAD"], env=env).text.strip())
    RUNNER.run([*git, "push", "-q", "origin", "HEAD:main"], env=env)
    return commits


def test_a_package_names_the_commits_since_the_version_before(
    template: Project, tmp_path: Path
) -> None:
    need_index()
    project = template.fork(tmp_path / "project")
    earlier = read_lock(project.lock_file)
    before = earlier.components[API].commit
    commits = push(project, tmp_path / "clone", *SUBJECTS)
    project.need("lock", "--component", API)
    locked = read_lock(project.lock_file)
    package = locked.packages[API]
    assert (package.before, locked.components[API].commit) == (before, commits[-1])
    assert [line.split()[0] for line in package.changes] == [c[:7] for c in reversed(commits)]
    # Others keep what was recorded when they changed.
    others = {name for name in locked.components if name != API}
    assert {locked.packages[name] == earlier.packages[name] for name in others} == {True}

    (built,) = project.need("build", "--offline", "--json", API).document()
    (deb,) = project.dist.glob(f"*/{built['file']}")
    RUNNER.run(["dpkg-deb", "--extract", deb, tmp_path / "x"])
    text = gzip.decompress(
        (tmp_path / f"x/usr/share/doc/{API}/changelog.Debian.gz").read_bytes()
    ).decode()
    (entry,) = Changelog(text, strict=True)
    assert (entry.package, str(entry.version)) == (API, built["version"])
    said = " ".join(" ".join(entry.changes()).split())
    for commit in commits:
        assert f"* {commit[:7]} " in said
    assert "Refuse orders without a price" in said
    assert "Fix teh spelling; Closes #4711, lp #12" in said
    assert "Prüfe «Börse» [31m" in said
    assert max(len(line) for line in text.splitlines() if line.startswith("  ")) <= 80
    (changes,) = project.dist.glob(f"*/{API}_*.changes")
    assert not any(
        line.startswith(("Closes:", "Launchpad-Bugs-Fixed:"))
        for line in changes.read_text().splitlines()
    )
