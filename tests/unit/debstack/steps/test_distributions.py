"""What debstack itself needs, for another Python."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from debstack.errors import DependencyError
from debstack.log import Log
from debstack.model import uv as model
from debstack.model.definition import Target
from debstack.model.requirements import LockedWheel, RequirementsLock
from debstack.process import Result, Runner
from debstack.steps import distributions as steps
from debstack.steps.distributions import command, distributions, wanted
from debstack.steps.wheels import cached, collect

TRIXIE = Target("trixie", "deb13", "3.13", "amd64", "x86_64-manylinux_2_40")
LOG = Log(quiet=True)


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> LockedWheel:
    """Pin a wheel of a few bytes instead of uv's."""
    return _pin(b"uv", monkeypatch)


def test_it_is_what_pyproject_names_but_uv() -> None:
    names = [Requirement(each).name for each in wanted()]
    assert {"click", "jinja2"} <= set(names)
    assert not {"pytest", "uv"} & set(names)
    assert len(names) == len(set(names))


def test_uv_is_the_pinned_wheel(
    tmp_path: Path, uv: LockedWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Runner, asked: list[str], **_: object) -> Result:
        folder = Path(asked[asked.index("--target") + 1])
        folder.mkdir(exist_ok=True)
        (folder / "asked").write_text("\n".join(asked))
        return Result(tuple(asked), 0)

    monkeypatch.setattr(Runner, "run", run)
    wheel = _keep(uv, b"uv", tmp_path)
    folder = made(tmp_path, offline=False)
    requirements = (folder / "asked").read_text().partition("--target\n")[2].splitlines()[1:]
    assert requirements == [*wanted(), str(wheel)]
    # What was made from it is enough.
    wheel.unlink()
    assert made(tmp_path, offline=True) == folder
    _keep(_pin(b"another", monkeypatch), b"another", tmp_path)
    assert made(tmp_path, offline=False) != folder


def test_no_other_uv_than_the_pinned_one_is_taken(tmp_path: Path, uv: LockedWheel) -> None:
    _keep(uv, b"another", tmp_path)
    with pytest.raises(DependencyError, match="are not the locked ones"):
        made(tmp_path, offline=False)
    assert [path for path in (tmp_path / "distributions").iterdir() if path.is_dir()] == []


def test_pip_is_asked_for_wheels_of_the_target() -> None:
    line = command(["click>=8.1"], TRIXIE, Path("/new"))
    assert line[line.index("--python-version") + 1] == "3.13"
    assert "--platform=manylinux_2_40_x86_64" in line
    assert line[line.index("--only-binary") + 1] == ":all:"
    assert line[-3:] == ["--target", "/new", "click>=8.1"]


def test_offline_the_next_command_is_told(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"for Python 3\.13 are not in") as caught:
        made(tmp_path / "cache", offline=True)
    assert "debstack fetch --target trixie" in caught.value.hint
    assert not (tmp_path / "cache").exists()


def test_without_an_index_nothing_is_left(
    tmp_path: Path, uv: LockedWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep(uv, b"uv", tmp_path)

    def run(self: Runner, asked: list[str], **_: object) -> Result:
        Path(asked[asked.index("--target") + 1], "half").mkdir(parents=True)
        return Result(tuple(asked), 1, b"ERROR: Could not find a version of click")

    monkeypatch.setattr(Runner, "run", run)
    with pytest.raises(DependencyError, match="cannot be had") as caught:
        made(tmp_path, offline=False)
    assert "ERROR: Could not find a version of click" in caught.value.details
    assert [path for path in (tmp_path / "distributions").iterdir() if path.is_dir()] == []


def made(cache: Path, *, offline: bool) -> Path:
    """Return the folder, made as a build in a root has it made."""

    def uv_wheels() -> tuple[Path, ...]:
        return collect(model.uv_lock(TRIXIE), cache, TRIXIE, Runner(), offline=False)

    return distributions(TRIXIE, cache, Runner(), LOG, offline=offline, uv_wheels=uv_wheels)


def _pin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> LockedWheel:
    digest = hashlib.sha256(content).hexdigest()
    wheel = LockedWheel("uv", "1", "uv-1-py3-none-any.whl", digest, len(content))
    lock = RequirementsLock("uv", TRIXIE.name, TRIXIE.python, "build", "", (wheel,))
    for place in (model, steps):
        monkeypatch.setattr(place, "uv_lock", lambda _: lock)
    return wheel


def _keep(wheel: LockedWheel, content: bytes, cache: Path) -> Path:
    """Put a file into the cache in the wheel's place."""
    file = cached(cache, wheel)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file
