"""The same inputs give the same bits, whoever builds them, where, and with what settings."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import BuiltProject
from tests.build.project import Project, copy_wheels, missing_tools

from debstack.process import SYSTEM_PATH, Runner

pytestmark = pytest.mark.build
NOBODY = 65534
PYTHON = "/usr/bin/python3"
VERSION = "import sys; print(sys.version_info[:2])"


@pytest.fixture
def theirs(built: BuiltProject) -> Iterator[Path]:
    """Give a folder of an unprivileged user with the project, Python's tools and the wheels."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to build as somebody else")
    if reason := missing_tools("setpriv", "unshare", "ip"):
        pytest.skip(reason)
    # Not below pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="another place ") as name:
        folder = Path(name)
        built.project.fork(folder / "p")
        copy_wheels(folder / "cache")
        # The interpreter of the tests may lie where only root may look.
        if Runner().capture([PYTHON, "-c", VERSION]).text != f"{sys.version_info[:2]}\n":
            pytest.skip(f"{PYTHON} is not Python {sys.version_info[0]}.{sys.version_info[1]}")
        shutil.copytree(sys.prefix, folder / "venv", symlinks=True)
        (folder / "home").mkdir()
        for path in [folder, *folder.rglob("*")]:
            # Wheels are shared with the user's own cache.
            if path.suffix != ".whl":
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield folder


def test_an_unprivileged_user_without_the_network_builds_the_same_bits(
    built: BuiltProject, theirs: Path
) -> None:
    _as_nobody(theirs, "fetch")
    output = _as_nobody(theirs, "build", "--offline", "--json", without_network=True)
    packages: list[dict[str, Any]] = json.loads(output)
    assert all(each["built"] for each in packages)
    ours = {each["package"]: (each["version"], each["payload"]) for each in built.packages}
    assert {each["package"]: (each["version"], each["payload"]) for each in packages} == ours
    # With the same key the signed files are the same as well.
    assert [each["sha256"] for each in packages] == [each["sha256"] for each in built.packages]
    (owner,) = {path.stat().st_uid for path in (theirs / "p/dist").rglob("*")}
    assert owner == NOBODY


def test_a_second_build_in_another_folder_gives_the_same_bits(
    built: BuiltProject, tmp_path: Path
) -> None:
    project = Project(tmp_path / "p")
    built.project.fork(project.root)
    (again,) = project.need("build", "--json", "automatictrader-api").document()
    assert again["built"]
    assert again["sha256"] in {each["sha256"] for each in built.packages}


def _as_nobody(folder: Path, *arguments: str, without_network: bool = False) -> str:
    """Run debstack in the folder's project, with settings unlike those of the first build."""
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
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # The proof talks to the service on the loopback of where it runs.
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    command = [
        *(network if without_network else []), *user,
        "sh", "-c", 'umask 077; exec "$@"', "sh",
        PYTHON, "-m", "debstack", *arguments,
    ]  # fmt: skip
    return Runner().capture(command, cwd=folder / "p", env=environment).text
