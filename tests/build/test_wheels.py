"""Wheels from the real index, resolved, fetched, installed, and refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.build.index import TARGET, need_index

from debstack.errors import DependencyError
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import LockedWheel, RequirementsLock
from debstack.process import Runner
from debstack.steps.resolve import resolve
from debstack.steps.wheels import cached, collect

pytestmark = pytest.mark.build
ASKED = RequirementInputs(
    {"a/r.txt": "-c c.txt\nidna\n", "a/c.txt": "idna<3.8\n"}, ("a/r.txt",), ("markupsafe<3.0.3",)
)


@pytest.fixture(scope="module")
def wheels() -> tuple[LockedWheel, ...]:
    need_index()
    found = resolve("web", ASKED, TARGET, Runner())
    return tuple(each for each in found if isinstance(each, LockedWheel))


def lock_of(*wheels: LockedWheel) -> RequirementsLock:
    return RequirementsLock("web", "bookworm", "3.11", "run", ASKED.digest(TARGET), wheels)


def test_constraints_hold_and_every_wheel_fits_the_target(wheels: tuple[LockedWheel, ...]) -> None:
    idna, markupsafe = wheels
    assert (idna.name, idna.version) == ("idna", "3.7")
    assert idna.sha256 == "82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0"
    assert "cp311" in markupsafe.filename
    assert "x86_64" in markupsafe.filename


def test_previous_versions_are_kept_and_only_upgrade_moves_them(
    wheels: tuple[LockedWheel, ...],
) -> None:
    free = RequirementInputs(requirements=("idna", "markupsafe"))
    kept = resolve("web", free, TARGET, Runner(), previous=wheels)
    assert kept == wheels
    moved = resolve("web", free, TARGET, Runner(), previous=wheels, upgrade=True)
    assert moved[0].version != "3.7"


def test_another_target_gets_its_own_wheel() -> None:
    need_index()
    target = replace(TARGET, python="3.13", platform="aarch64-manylinux_2_40")
    (found,) = resolve("web", RequirementInputs(requirements=("markupsafe",)), target, Runner())
    assert "cp313" in found.filename
    assert "aarch64" in found.filename


def test_a_distribution_that_has_no_wheel_is_named() -> None:
    need_index()
    with pytest.raises(DependencyError) as raised:
        resolve("web", RequirementInputs(requirements=("docopt",)), TARGET, Runner())
    assert raised.value.message == "web: no wheel for bookworm of docopt"


def test_fetch_once_then_install_without_the_index(
    wheels: tuple[LockedWheel, ...], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    files = collect(lock_of(*wheels), cache, TARGET, Runner(), offline=False)
    assert files == collect(lock_of(*wheels), cache, TARGET, Runner(), offline=True)
    lock = tmp_path / "lock.txt"
    lock.write_text(lock_of(*wheels).text())
    links = [f"--find-links={each.parent}" for each in files]
    # The comments that name the files must not keep pip from reading the lock.
    Runner().run(
        [sys.executable, "-m", "pip", "install", "--no-index", *links, "--require-hashes",
         "--no-deps", "--only-binary", ":all:", "--python-version", "3.11",
         "--platform", "manylinux2014_x86_64", "--target", tmp_path / "site", "-r", lock]
    )  # fmt: skip
    assert (tmp_path / "site/idna/__init__.py").is_file()


def test_the_index_serving_another_hash_is_refused(
    wheels: tuple[LockedWheel, ...], tmp_path: Path
) -> None:
    wrong = replace(wheels[0], sha256="0" * 64)
    with pytest.raises(DependencyError) as raised:
        collect(lock_of(wrong, wheels[1]), tmp_path, TARGET, Runner(), offline=False)
    assert raised.value.message == "web: idna 3.7: the index serves a file with another hash"
    assert not cached(tmp_path, wrong).exists()


def test_a_version_that_is_gone_is_named(wheels: tuple[LockedWheel, ...], tmp_path: Path) -> None:
    gone = replace(wheels[0], version="3.9999")
    with pytest.raises(DependencyError) as raised:
        collect(lock_of(gone), tmp_path, TARGET, Runner(), offline=False)
    assert raised.value.message == (
        "web: idna 3.9999: cannot be had from the index: it is gone from there"
    )
