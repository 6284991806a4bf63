"""The same inputs give the same bits, whoever builds them, where, when, and with what settings."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import BuiltProject
from tests.build.project import cache_folder, missing_tools

from debstack.log import Log
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps.root import Entrance, command, host_release, place, root

pytestmark = pytest.mark.build
NOBODY = 65534
PYTHON = "/usr/bin/python3"
VERSION = "import sys; print(sys.version_info[:2])"
DAY = 24 * 60 * 60


@pytest.fixture
def theirs(built: BuiltProject) -> Iterator[Path]:
    """Give a folder of an unprivileged user with the project, Python's tools and a wheelhouse.

    The cache is empty.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, to build as somebody else")
    if reason := missing_tools("setpriv", "unshare", "ip", "taskset"):
        pytest.skip(reason)
    # Not below pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="another place ") as name:
        folder = Path(name)
        project = built.project.fork(folder / "p")
        project.need("vendor")
        # The interpreter of the tests may lie where only root may look.
        if Runner().capture([PYTHON, "-c", VERSION]).text != f"{sys.version_info[:2]}\n":
            pytest.skip(f"{PYTHON} is not Python {sys.version_info[0]}.{sys.version_info[1]}")
        shutil.copytree(sys.prefix, folder / "venv", symlinks=True)
        for name in ("home", "cache"):
            (folder / name).mkdir()
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield folder


def test_an_unprivileged_user_with_a_wheelhouse_builds_the_same_bits(
    built: BuiltProject, theirs: Path
) -> None:
    packages = _build_as_nobody(theirs, host_release())
    _assert_same(packages, built.packages)
    # With the same key the signed files are the same as well.
    assert [each["sha256"] for each in packages] == [each["sha256"] for each in built.packages]
    (owner,) = {path.stat().st_uid for path in (theirs / "p/dist").rglob("*")}
    assert owner == NOBODY


def test_a_fresh_machine_gives_the_same_bits_on_another_day(
    built: BuiltProject, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    _root_of_another_day(host_release(), cache)
    for name in ("distributions", "sources", "wheels"):
        if (cache_folder() / name).is_dir():
            _link_tree(cache_folder() / name, cache / name)
    project = built.project.fork(tmp_path / "p", {"DEBSTACK_CACHE_DIR": str(cache)})
    _assert_same(project.need("build", "--in-root", "--json").document(), built.packages)


def test_another_release_is_built_with_the_same_bits_by_somebody_else_on_another_day(
    built: BuiltProject, theirs: Path, tmp_path: Path
) -> None:
    project = built.project.fork(tmp_path / "p")
    # Their root is ours but for its clock: they may not make one.
    _root_of_another_day("trixie", theirs / "cache")
    ours = project.need("build", "--target", "trixie", "--json").document()
    assert {each["version"].rpartition("~")[2] for each in ours} == {"deb13"}
    _link_tree(cache_folder() / "distributions", theirs / "cache/distributions")
    _assert_same(_build_as_nobody(theirs, "trixie"), ours)


def _root_of_another_day(release: str, cache: Path) -> None:
    """Put a root into ``cache`` in which all programs see a clock that is 40 days ahead."""
    if reason := missing_tools("bwrap", "cc", "mmdebstrap"):
        pytest.skip(reason)
    made = root(release, cache_folder(), Runner(), Log(quiet=True), offline=False)
    folder = place(release, cache)
    _link_tree(made, folder)
    source = Path(__file__).with_name("another_day.c")
    library = "usr/lib/another_day.so"
    Runner().run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / library, source])
    (folder / "etc/ld.so.preload").write_text(f"/{library}\n")
    told = Runner().capture([*command(Entrance(folder)), "date", "+%s"]).text
    assert int(told) > time.time() + 39 * DAY


def _assert_same(packages: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> None:
    """Compare the unsigned packages of two builds, of which the first built everything."""
    assert len(packages) == 7
    assert all(each["built"] for each in packages)
    first, second = (
        {each["package"]: (each["version"], each["payload"]) for each in build}
        for build in (packages, others)
    )
    assert first == second


def _build_as_nobody(folder: Path, target: str) -> list[dict[str, Any]]:
    """Build the folder's project with settings unlike those of the first build; no network."""
    site = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    environment = {
        "PATH": SYSTEM_PATH,
        "HOME": str(folder / "home"),
        "PYTHONPATH": f"{folder / 'p/src'}:{folder / 'venv' / site}",
        "DEBSTACK_CACHE_DIR": str(folder / "cache"),
        "PYTHONHASHSEED": "random",
        "TZ": "Asia/Tokyo",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "SOURCE_DATE_EPOCH": "1",
        "DEB_BUILD_OPTIONS": "parallel=7",
        "UV_LINK_MODE": "copy",
    }
    # One core of this process's; the others build with all of them.
    core = str(min(os.sched_getaffinity(0)))
    asked = [
        # The proof talks to the service on the loopback of where it runs.
        "unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
        "taskset", "--cpu-list", core,
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
        "sh", "-c", 'umask 077; exec "$@"', "sh",
        PYTHON, "-m", "debstack", "build", "--offline", "--json", "--target", target,
    ]  # fmt: skip
    done = Runner().capture(asked, cwd=folder / "p", env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    packages: list[dict[str, Any]] = json.loads(done.text)
    return packages


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
