"""`debstack build` and `debstack publish` of the sample applications."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest
from tests.build.conftest import BuiltProject
from tests.build.project import sha256, snapshot

from debstack.model.lock import read_lock
from debstack.process import Runner

# lintian begins to read the packages meanwhile.
pytestmark = [pytest.mark.build, pytest.mark.usefixtures("lintian")]

PACKAGES = [
    "marketdata-stream",
    "automatictrader-api",
    "traderunner",
    "traderunner-archive-keyring",
    "traderunner-common",
    "traderunner-stack",
    "trading-ibgateway",
]


def test_the_release_has_these_packages(built: BuiltProject) -> None:
    assert built.names == PACKAGES
    release = read_lock(built.project.lock_file).release
    folder = built.project.dist / release
    debs = {name for each in built.packages for name in (each["file"], *each["beside"])}
    assert len(debs) == 5 * len(PACKAGES)
    others = {"SHA256SUMS", "SHA256SUMS.asc", "bookworm.json", "repos.lock", "locks"}
    assert {path.name for path in folder.iterdir()} == debs | others
    assert (folder / "repos.lock").read_bytes() == built.project.lock_file.read_bytes()
    last = built.build.stdout.splitlines()[-1]
    assert last.startswith(f"release {release} for bookworm is in /")
    assert last.endswith(f"/dist/{release}")


def test_table_json_and_checksums_agree_with_the_files(built: BuiltProject) -> None:
    rows = {line.split()[0]: line for line in built.build.stdout.splitlines()[1:-1]}
    assert list(rows) == PACKAGES
    for each in built.packages:
        deb = built.deb(each["package"])
        assert sha256(deb) == each["sha256"]
        assert deb.stat().st_size == each["size"]
        row = rows[each["package"]]
        assert row.split()[1] == each["version"]
        assert each["sha256"][:16] in row
        assert row.endswith("built")
        field = Runner().capture(["dpkg-deb", "--field", deb, "Version"]).text.strip()
        assert field == each["version"]
    Runner().capture(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=deb.parent)
    listed = {line.split("  ")[1] for line in (deb.parent / "SHA256SUMS").read_text().splitlines()}
    files = {path.name for path in deb.parent.iterdir() if path.is_file()}
    assert files - listed == {"SHA256SUMS", "SHA256SUMS.asc"}


def test_a_second_run_builds_nothing_and_touches_nothing(built: BuiltProject) -> None:
    before = snapshot(built.project.dist)
    again = built.project.need("build")
    assert [line.split()[-1] for line in again.stdout.splitlines()[1:-1]] == ["cached"] * 7
    assert "dpkg-buildpackage" not in again.stderr
    assert snapshot(built.project.dist) == before
    published = built.project.need("publish")
    assert published.stdout.rstrip().endswith(": unchanged")
    assert snapshot(built.project.dist) == before


def test_dry_run_says_what_it_would_do_and_why(built: BuiltProject) -> None:
    lines = built.project.need("build", "--dry-run").stdout.splitlines()
    assert [line.split()[1] for line in lines] == PACKAGES
    assert all(line.startswith("keep ") and line.endswith(": unchanged") for line in lines)


def test_one_component_is_listed_alone_and_the_others_stay(built: BuiltProject) -> None:
    before = snapshot(built.project.dist)
    (only,) = built.project.need("build", "--json", "traderunner-stack").document()
    assert only["package"] == "traderunner-stack"
    assert snapshot(built.project.dist) == before


def test_everything_is_published(built: BuiltProject) -> None:
    assert "7 packages added" in built.publish.stdout
    apt = built.project.dist / "apt"
    index = apt / "dists/bookworm-staging/main/binary-amd64/Packages.gz"
    text = gzip.decompress(index.read_bytes()).decode()
    names = re.findall(r"^Package: (.+)$", text, re.MULTILINE)
    assert sorted(names) == sorted(PACKAGES)
    published = dict(zip(names, re.findall(r"^SHA256: (.+)$", text, re.MULTILINE), strict=True))
    assert published == {each["package"]: each["sha256"] for each in built.packages}


def test_a_package_changed_in_the_build_folder_is_built_again(built: BuiltProject) -> None:
    stack = _entry(built, "traderunner-stack")
    (deb,) = built.project.root.glob(f"build/packages/bookworm/*/{stack['file']}")
    content = deb.read_bytes()
    deb.unlink()  # dist/ has the same file
    deb.write_bytes(content[:-1] + b"X")
    (line,) = built.project.need("build", "--dry-run", "traderunner-stack").stdout.splitlines()
    assert line.startswith("build ")
    assert line.endswith("the built file is missing or was changed")
    (again,) = built.project.need("build", "--json", "traderunner-stack").document()
    assert (again["sha256"], again["built"]) == (stack["sha256"], True)


def _entry(built: BuiltProject, package: str) -> dict[str, Any]:
    (found,) = (each for each in built.packages if each["package"] == package)
    return found
