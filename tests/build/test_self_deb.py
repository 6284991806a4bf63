"""debstack's own Debian package: what is in it, and that a build machine can work with it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.build.conftest import BuiltProject
from tests.build.index import need_index
from tests.build.project import ROOT, Project, cache_folder, missing_tools, sha256
from tests.system.machine import Machine, base_root, missing_requirements

from debstack.process import Runner, base_environment, network_environment
from debstack.render import templates_folder
from debstack.uv_program import find_uv

pytestmark = pytest.mark.build
SECONDS = 900.0
# By sudo, git does not trust a working copy of the user's.
OWNED = {
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(ROOT),
}  # fmt: skip
SITE = "usr/lib/python3/dist-packages"
KEYRING = "/usr/share/keyrings/tools.pgp"
SOURCES = f"deb [signed-by={KEYRING}] file:/srv/apt bookworm-tools main\n"


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package as `make self-deb` makes it."""
    if reason := missing_tools("dpkg-buildpackage", "dh", "git", "py2dsc"):
        pytest.skip(reason)
    if not (ROOT / ".git").exists():
        pytest.skip("not a git working copy: the package's version is its commit")
    need_index()
    return make(tmp_path_factory.mktemp("self"))


@pytest.fixture(scope="module")
def tools(deb: Path, built: BuiltProject) -> Project:
    """Return the built project after its archive has got the package, too."""
    built.project.need("archive", "tool", str(deb))
    return built.project


@pytest.fixture(scope="module")
def machine(deb: Path, tools: Project) -> Iterator[Machine]:
    """Give a machine without a network that has what the package depends on, and the archive."""
    if missing := missing_requirements():
        pytest.skip(f"no clean root here: {', '.join(missing)}")
    depends = [each.split()[0] for each in field(deb, "Depends").split(", ")]
    root = base_root("bookworm", [each.removesuffix(":any") for each in depends])
    cache = cache_folder()
    with Machine(root, binds={"/srv/apt": tools.dist / "apt"}, shares={str(cache): cache}) as made:
        yield made


def make(folder: Path, **environment: str) -> Path:
    """Run the script that makes the package, into ``folder``."""
    env = network_environment() | OWNED | {"PYTHON": sys.executable} | environment
    done = Runner().capture([ROOT / "scripts/make-self-deb", folder], env=env)
    return Path(done.text.strip())


def field(deb: Path, name: str) -> str:
    return Runner().capture(["dpkg-deb", "--field", deb, name]).text.strip()


def files(deb: Path) -> dict[str, bytes]:
    """Return the content of each file of the package by path."""
    with tempfile.TemporaryFile() as plain:
        plain.write(Runner().capture(["dpkg-deb", "--fsys-tarfile", deb]).stdout)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as archive:
            members = [each for each in archive if each.isreg()]
            return {
                each.name.removeprefix("./"): file.read()
                for each in members
                if (file := archive.extractfile(each))
            }


def test_it_depends_on_everything_that_the_project_asks_for(deb: Path) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {each.split(">=")[0].split("==")[0] for each in asked} - {"uv"}
    wanted = {f"python3-{each.removeprefix('python-')}" for each in names}
    depends = {each.split()[0] for each in field(deb, "Depends").split(", ")}
    assert wanted <= depends
    assert {"git", "dpkg-dev", "debhelper", "lintian", "libc6"} <= depends
    assert not {each for each in depends if "pytest" in each or "mypy" in each}


def test_it_says_what_it_is(deb: Path) -> None:
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = Runner().capture(command, cwd=ROOT, env=base_environment() | OWNED).text.strip()
    version = field(deb, "Version")
    assert version.startswith("0.1.0+git")
    assert f".{commit}" in version
    assert version.endswith("-1~deb12")
    assert field(deb, "Maintainer") == "debstack developers <debstack@example.org>"
    assert field(deb, "Homepage") == ""


def test_code_templates_and_uv_are_those_of_the_project(deb: Path) -> None:
    inside = files(deb)
    packaged = {
        path.removeprefix(f"{SITE}/debstack/debian-templates/"): content
        for path, content in inside.items()
        if path.startswith(f"{SITE}/debstack/debian-templates/")
    }
    templates = {
        path.relative_to(templates_folder()).as_posix(): path.read_bytes()
        for path in templates_folder().rglob("*")
        if path.is_file()
    }
    assert packaged == templates
    for path in (ROOT / "src").rglob("*.py"):
        assert inside[f"{SITE}/{path.relative_to(ROOT / 'src')}"] == path.read_bytes()
    assert hashlib.sha256(inside["usr/lib/debstack/uv"]).hexdigest() == sha256(find_uv())


def test_the_same_commit_gives_the_same_package(deb: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    mask = os.umask(0o077)
    try:
        again = make(
            tmp_path / "again",
            TMPDIR=str(tmp_path / "elsewhere"), TZ="Asia/Tokyo", LC_ALL="tr_TR.UTF-8",
        )  # fmt: skip
    finally:
        os.umask(mask)
    assert again.name == deb.name
    assert sha256(again) == sha256(deb)


def test_lintian_finds_nothing(tools: Project) -> None:
    (signed,) = (tools.dist / "apt/pool").rglob("debstack_*.deb")
    command = ["lintian", "--pedantic", "--display-info", "--allow-root"]
    result = Runner().capture([*command, signed], check=False)
    said = [line for line in result.text.splitlines() if not line.startswith("N: ")]
    assert said == [], "\n".join(said)
    assert result.returncode == 0, result.stderr.decode()


def test_the_suite_is_signed_and_verified_as_the_others(tools: Project) -> None:
    assert "good: bookworm-tools: " in tools.need("archive", "verify").stdout
    assert "bookworm-tools: nothing to do" in tools.need("refresh", "--dry-run").stdout
    only = tools.need("refresh", "--dry-run", "--channel", "tools").stdout
    assert only.splitlines() == ["bookworm-tools: nothing to do"]
    signed_anew = tools.need("refresh", "--force").stdout
    assert re.search(r"^bookworm-tools in .*: signed, generation 2$", signed_anew, re.MULTILINE)
    (signed,) = (tools.dist / "apt/pool").rglob("debstack_*.deb")
    refused = tools.debstack("archive", "tool", str(signed), "--target", "nothing")
    assert refused.returncode == 2


def test_a_build_machine_installs_it_and_builds_the_same(
    machine: Machine, tools: Project, built: BuiltProject, tmp_path: Path
) -> None:
    keyring = tools.dist / "apt/dists/bookworm-tools/archive-keyring.gpg"
    machine.copy_in(keyring, KEYRING)
    machine.write("/etc/apt/sources.list.d/tools.list", SOURCES)
    machine.chroot_run("apt-get", "update")
    machine.chroot_run("apt-get", "install", "-y", "debstack", timeout=SECONDS)
    assert "0.1.0" in machine.chroot_run("debstack", "--version").stdout
    project = tools.fork(tmp_path / "project")
    for own in ("src", "debian-templates"):
        shutil.rmtree(project.root / own)
    machine.copy_in(project.root, "/home/project")
    packages = ["traderunner-common", "traderunner-stack", "marketdata-stream"]
    done = machine.chroot_run(
        *("debstack", "--project", "/home/project", "build", "--offline", "--json", *packages),
        env={"DEBSTACK_CACHE_DIR": str(cache_folder())},
        timeout=SECONDS,
    )
    made = {each["package"]: each["payload"] for each in json.loads(done.stdout)}
    here = {each["package"]: each["payload"] for each in built.packages}
    assert made == {name: here[name] for name in packages}
