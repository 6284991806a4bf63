"""Source packages: from each of them, the same package, in a clean root and without a network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian.deb822 import Dsc
from tests.build.conftest import BuiltProject
from tests.build.project import Project, sha256
from tests.build.test_build import PACKAGES
from tests.system.machine import (
    DEFAULT_PACKAGES,
    Machine,
    Result,
    base_root,
    missing_requirements,
)

from debstack.process import Runner

pytestmark = pytest.mark.build
SMALL = "marketdata-stream"
SECONDS = 900.0
BUILD = "dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary"


@pytest.fixture(scope="module")
def sources(built: BuiltProject) -> dict[str, Path]:
    """Return the .dsc of each package of the built release."""
    built.project.need("source", "--target", "bookworm")
    (folder,) = built.project.dist.glob("source/*/bookworm")
    return {each.name.partition("_")[0]: each for each in folder.glob("*.dsc")}


@pytest.fixture(scope="module")
def farm(sources: dict[str, Path]) -> Iterator[Machine]:
    with _clean_root("bookworm", sources.values()) as machine:
        yield machine


def test_there_is_one_for_every_package(sources: dict[str, Path]) -> None:
    assert sorted(sources) == sorted(PACKAGES)
    for name, dsc in sources.items():
        described = Dsc(dsc.read_text("utf-8"))
        assert described["Source"] == name
        named = {each["name"]: each["sha256"] for each in described["Checksums-Sha256"]}
        assert {each: sha256(dsc.parent / each) for each in named} == named
    files = {path.name for path in sources[SMALL].parent.iterdir()}
    wanted = {each for dsc in sources.values() for each in (dsc.name, *_files(dsc))}
    assert files == wanted


def test_components_have_the_wheels_and_the_commit_as_tarballs(sources: dict[str, Path]) -> None:
    dsc = Dsc(sources[SMALL].read_text("utf-8"))
    assert dsc["Format"] == "3.0 (quilt)"
    upstream = f"{SMALL}_{dsc['Version'].rpartition('-')[0]}"
    assert set(_files(sources[SMALL])) == {
        f"{upstream}.orig.tar.xz",
        f"{upstream}.orig-wheelhouse-bookworm.tar.gz",
        f"{upstream}.orig-debstack-bookworm.tar.xz",
        f"{SMALL}_{dsc['Version']}.debian.tar.xz",
    }
    assert Dsc(sources["traderunner-stack"].read_text("utf-8"))["Format"] == "3.0 (native)"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_clean_root_without_a_network_gives_the_same_package(
    package: str, sources: dict[str, Path], farm: Machine, built: BuiltProject
) -> None:
    (payload,) = (each["payload"] for each in built.packages if each["package"] == package)
    _as_builder(farm, f"{_unpack(sources[package], package)} && {BUILD}")
    found = _as_builder(farm, f"sha256sum ~/{package}/*.deb")
    assert found.stdout.split()[0] == payload
    _as_builder(farm, f"rm -r ~/{package}")


def test_another_release_of_debian_gives_the_package_that_was_built_for_it(
    built: BuiltProject, tmp_path: Path
) -> None:
    project = built.project.fork(tmp_path / "p")
    project.need("source", "--target", "trixie", SMALL)
    (dsc,) = project.dist.glob("source/*/trixie/*.dsc")
    with _clean_root("trixie", [dsc]) as machine:
        (ours,) = project.need("build", "--target", "trixie", "--json", SMALL).document()
        _as_builder(machine, f"{_unpack(dsc, SMALL)} && {BUILD}")
        found = _as_builder(machine, f"sha256sum ~/{SMALL}/*.deb").stdout.split()
    assert found[0] == ours["payload"]
    assert found[1].endswith("~deb13_amd64.deb")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("for wheel in wheelhouse-bookworm/wheels/*/fastapi-*.whl; do echo >> $wheel; done",
         r"wheel\(s\) in \S+ are not the locked ones"),
        ("for wheel in wheelhouse-bookworm/wheels/*/uv-*.whl; do echo >> $wheel; done",
         r"uv 0\S+: expected sha256"),
        ("rm wheelhouse-bookworm/wheels/*/fastapi-*.whl", "wheels are not in"),
        ("echo >> source/pyproject.toml", "the files in source/ are not those of commit"),
        ("touch source/another.py", "the files in source/ are not those of commit"),
        ("echo >> debstack-bookworm/src/debstack/steps/venv.py",
         "debstack-bookworm/ of marketdata-stream was changed"),
        ("echo >> debstack-bookworm/debian-templates/component/debian/postinst",
         "debstack-bookworm/ of marketdata-stream was changed"),
        ("sed -i s/8090/8091/ debstack-bookworm/packaging/components/marketdata-stream.toml",
         "debstack-bookworm/ of marketdata-stream was changed"),
        ("sed -i 's/^fastapi==/fastapi==1/' debstack-bookworm/packaging/locks/bookworm/*stream.txt",
         "is not a wheel of fastapi"),
    ],
)  # fmt: skip
def test_what_was_changed_is_not_built(
    damage: str, complaint: str, sources: dict[str, Path], farm: Machine
) -> None:
    unpack = _unpack(sources[SMALL], "damaged")
    done = _as_builder(farm, f"{unpack} && {damage} && {BUILD}", check=False)
    assert done.returncode != 0
    assert re.search(complaint, done.output), done.output
    assert "\nnext: " in done.output
    assert _as_builder(farm, "find ~/damaged -name '*.deb'").stdout == ""
    _as_builder(farm, "rm -r ~/damaged")


def test_cleaning_leaves_what_was_unpacked(sources: dict[str, Path], farm: Machine) -> None:
    listing = "cd ~/cleaned/unpacked && find . -type f -print0 | sort -z | xargs -0 sha256sum"
    _as_builder(farm, _unpack(sources["traderunner-stack"], "cleaned"))
    before = _as_builder(farm, listing).stdout
    _as_builder(farm, f"cd ~/cleaned/unpacked && {BUILD} && {BUILD}")
    assert _as_builder(farm, listing).stdout != before
    _as_builder(farm, "cd ~/cleaned/unpacked && debian/rules clean")
    assert _as_builder(farm, listing).stdout == before


def test_sbuild_gives_the_same_package(
    sources: dict[str, Path], farm: Machine, built: BuiltProject, tmp_path: Path
) -> None:
    (payload,) = (each["payload"] for each in built.packages if each["package"] == SMALL)
    (clean,) = farm.base.layers
    chroot = tmp_path / "chroots/bookworm-amd64.tar"
    chroot.parent.mkdir()
    Runner().run(
        ["tar", "--directory", clean, "--exclude=./dev/*", "--create", "--file", chroot, "."]
    )
    root = base_root("bookworm", (*DEFAULT_PACKAGES, "mmdebstrap", "sbuild", "uidmap"))
    binds = {"/sources": sources[SMALL].parent, "/chroots": chroot.parent}
    with Machine(root, binds=binds) as machine:
        machine.boot()
        machine.sh("useradd --create-home builder && grep -q ^builder: /etc/subuid")
        place = "~/.cache/sbuild"
        link = f"mkdir -p {place} && ln -s /chroots/{chroot.name} {place}"
        # There is no network: everything that it would install is there.
        offline = "--no-apt-update --no-apt-upgrade --no-apt-distupgrade --no-run-lintian"
        dsc = shlex.quote(f"/sources/{sources[SMALL].name}")
        command = f"sbuild --chroot-mode=unshare --dist=bookworm {offline} {dsc}"
        machine.run(
            *("su", "--login", "builder", "-c", f"exec 2>&1; {link} && cd && {command}"),
            timeout=SECONDS,
        )
        found = machine.sh("sha256sum ~builder/*.deb").stdout
    assert found.split()[0] == payload


def test_another_project_folder_gives_the_same_source_packages(
    sources: dict[str, Path], built: BuiltProject, tmp_path: Path
) -> None:
    environment = {"TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    other = built.project.fork(tmp_path / "another place", environment)
    other.need("source", "--target", "bookworm", SMALL, "traderunner-stack")
    files = list(other.dist.glob("source/*/*/*"))
    assert len(files) == 5 + 2
    there = {each.name: sha256(each) for each in files}
    assert there == {name: sha256(sources[SMALL].parent / name) for name in there}


def test_a_package_that_does_not_exist_is_named(template: Project, tmp_path: Path) -> None:
    project = template.fork(tmp_path / "project")
    refused = project.debstack("source", "nothing")
    assert refused.returncode == 8
    assert "the release has no package nothing" in refused.stderr
    assert not project.dist.exists()


@pytest.mark.parametrize("package", [SMALL, "traderunner-common", "traderunner-archive-keyring"])
def test_lintian_finds_nothing(package: str, sources: dict[str, Path]) -> None:
    command = ["lintian", "--pedantic", "--fail-on", "error,warning,pedantic", "--allow-root"]
    result = Runner().capture([*command, sources[package]], check=False)
    said = [line for line in result.text.splitlines() if not line.startswith("N: ")]
    assert said == [], "\n".join(said)
    assert result.returncode == 0, result.stderr.decode()


def test_dpkg_source_unpacks_all_of_it(sources: dict[str, Path], tmp_path: Path) -> None:
    for package in PACKAGES:
        folder = tmp_path / package
        Runner().run(["dpkg-source", "--no-check", "--extract", sources[package], folder])
        assert (folder / "debian/rules").stat().st_mode & 0o100
        assert (folder / "debstack-bookworm/src/debstack/__main__.py").is_file()
        assert (folder / "source").is_dir() == (package in PACKAGES[:3])


@contextmanager
def _clean_root(release: str, sources: Collection[Path]) -> Iterator[Machine]:
    """Give a machine that has what source packages say they need, and nothing of debstack."""
    if missing := missing_requirements():
        pytest.skip(f"no clean root here: {', '.join(missing)}")
    needed = {name for dsc in sources for name in _build_depends(dsc)}
    (folder,) = {dsc.parent for dsc in sources}
    # fakeroot: what sbuild installs wherever it builds.
    root = base_root(release, ("build-essential", "debhelper", "fakeroot", *sorted(needed)))
    with Machine(root, binds={"/sources": folder}) as machine:
        machine.chroot_run("useradd", "--create-home", "builder")
        yield machine


def _unpack(dsc: Path, name: str) -> str:
    """Return the commands that unpack ``dsc`` and go there."""
    file = shlex.quote(f"/sources/{dsc.name}")
    return f"mkdir ~/{name} && cd ~/{name} && dpkg-source -x {file} unpacked && cd unpacked"


def _as_builder(farm: Machine, script: str, *, check: bool = True) -> Result:
    """Run a shell script as an ordinary user; what it prints is all on standard output."""
    return farm.chroot_run(
        *("su", "--login", "builder", "-c", f"exec 2>&1; {script}"), check=check, timeout=SECONDS
    )


def _build_depends(dsc: Path) -> list[str]:
    described = Dsc(dsc.read_text("utf-8"))["Build-Depends"].split(", ")
    return [each.split()[0] for each in described if not each.startswith("debhelper-compat")]


def _files(dsc: Path) -> list[str]:
    return [each["name"] for each in Dsc(dsc.read_text("utf-8"))["Files"]]
