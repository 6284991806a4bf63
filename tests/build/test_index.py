"""Dependencies from an index that does what indexes do: it withdraws, loses and replaces files."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.build.index import TARGET
from tests.build.server import BACKEND, Index, backend, index, sdist, wheel

from debstack.digest import sha256_of
from debstack.errors import DependencyError
from debstack.isolation import can_isolate
from debstack.log import Log
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import (
    LockedWheel,
    RequirementsLock,
    Sdist,
    parse_requirements,
)
from debstack.pipeline.built import bring_built, lock_built
from debstack.pipeline.contents import Workshop
from debstack.process import Runner
from debstack.steps.resolve import resolve
from debstack.steps.sdist import place
from debstack.steps.venv import venv
from debstack.steps.wheels import cached, collect
from debstack.uv_program import find_uv

pytestmark = pytest.mark.build
RUNNER = Runner()
FOO = RequirementInputs(requirements=("foo",))
BUILT = RequirementInputs(requirements=("srconly", "foo"), sdists=("srconly",))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """Give an index that pip and uv are configured to ask, and no other."""
    with index(
        wheel("foo", "1.0"),
        wheel("foo", "2.0", uploaded="2026-03-01T00:00:00Z"),
        wheel("foo", "3.0", uploaded="2026-06-01T00:00:00Z"),
        wheel("undated", "1.0", uploaded=None),
        sdist("srconly", "1.0"),
        backend(),
    ) as made:
        for name in [each for each in os.environ if each.startswith(("UV_", "PIP_"))]:
            monkeypatch.delenv(name)
        for name, value in made.environment.items():
            if value:
                monkeypatch.setenv(name, value)
        yield made


def lock_of(*wheels: LockedWheel | Sdist) -> RequirementsLock:
    locked = tuple(each for each in wheels if isinstance(each, LockedWheel))
    assert len(locked) == len(wheels)
    return RequirementsLock("web", "bookworm", "3.11", "run", "c" * 64, locked)


def workshop(folder: Path, *, offline: bool = False, vendor: Path | None = None) -> Workshop:
    return Workshop(
        folder / "cache", 1, offline, RUNNER, Log(quiet=True), can_isolate(RUNNER), vendor
    )


def refused(lock: RequirementsLock, folder: Path, **values: Path) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        collect(lock, folder / "cache", TARGET, RUNNER, offline=False, **values)
    assert "debstack" in caught.value.hint or "do not use" in caught.value.hint
    assert not (folder / "cache/wheels").exists()
    return caught.value


def test_the_lock_has_one_hash_of_one_wheel_of_the_target(served: Index, tmp_path: Path) -> None:
    other = wheel("foo", "3.0", {"foo.py": "other\n"})
    served.files.append(replace(other, name="foo-3.0-cp39-cp39-win_amd64.whl"))
    (found,) = resolve("web", FOO, TARGET, RUNNER)
    assert found.filename == "foo-3.0-py3-none-any.whl"
    assert lock_of(found).text().count("--hash=") == 1
    (file,) = collect(lock_of(found), tmp_path, TARGET, RUNNER, offline=False)
    assert sha256_of(file) == served.files[2].sha256


def test_a_day_in_the_past_is_resolved_as_it_was(served: Index) -> None:
    (found,) = resolve("web", FOO, TARGET, RUNNER, exclude_newer="2026-05-01T00:00:00+00:00")
    assert found.version == "2.0"
    with pytest.raises(
        DependencyError, match=r"does not tell when undated-1\.0-py3-none-any\.whl was uploaded"
    ) as caught:
        asked = RequirementInputs(requirements=("undated",))
        resolve("web", asked, TARGET, RUNNER, exclude_newer="2026-05-01T00:00:00+00:00")
    assert "--exclude-newer needs an index" in caught.value.hint


def test_only_the_named_distribution_moves(served: Index) -> None:
    served.files += [wheel("bar", "1.0"), wheel("bar", "2.0")]
    asked = RequirementInputs(requirements=("foo<3", "bar<2"))
    before = lock_of(*resolve("web", asked, TARGET, RUNNER)).wheels
    free = RequirementInputs(requirements=("foo", "bar"))
    kept = [each for each in before if each.name != "bar"]
    versions = {each.name: each.version for each in resolve("web", free, TARGET, RUNNER,
                                                           previous=kept)}  # fmt: skip
    assert versions == {"foo": "2.0", "bar": "2.0"}


def test_a_yanked_version_is_not_locked(served: Index) -> None:
    served.files[2] = replace(served.files[2], yanked="it loses money")
    (found,) = resolve("web", FOO, TARGET, RUNNER)
    assert found.version == "2.0"
    pinned = RequirementInputs(requirements=("foo==3.0",))
    with pytest.raises(DependencyError) as caught:
        resolve("web", pinned, TARGET, RUNNER)
    assert caught.value.message == "web: foo 3.0: withdrawn (yanked) by its authors"
    assert caught.value.details == ("foo 3.0: it loses money",)
    assert "debstack lock --upgrade foo" in caught.value.hint


@pytest.mark.parametrize(
    ("reason", "shown"), [("it loses money", "foo 3.0: it loses money"), (True, "foo 3.0: ")]
)
def test_a_version_yanked_since_it_was_locked_is_refused(
    served: Index, tmp_path: Path, reason: str | bool, shown: str
) -> None:
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    served.files[2] = replace(served.files[2], yanked=reason)
    error = refused(lock, tmp_path)
    assert error.message == "web: foo 3.0: withdrawn (yanked) by its authors since it was locked"
    assert error.details[0].startswith(shown)
    assert error.hint == "run: debstack lock --upgrade foo"


def test_a_file_that_is_gone_is_told(served: Index, tmp_path: Path) -> None:
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    served.gone.add("foo-3.0-py3-none-any.whl")
    error = refused(lock, tmp_path)
    assert error.message == "web: foo 3.0: cannot be had from the index: it is gone from there"
    assert error.hint.startswith("run: debstack lock --upgrade foo")
    served.files.pop(2)
    assert "it is gone from there" in refused(lock, tmp_path).message


def test_an_index_that_cannot_be_reached_is_told(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    error = refused(lock, tmp_path)
    assert error.message == "web: foo 3.0: cannot be had from the index"
    assert "check the network" in error.hint


@pytest.mark.parametrize("honest", [True, False])
def test_a_wheel_replaced_by_another_of_the_same_name_is_refused(
    served: Index, tmp_path: Path, honest: bool
) -> None:
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    evil = wheel("foo", "3.0", {"foo.py": "import os; os.system('evil')\n"})
    if honest:
        served.files[2] = evil
    else:
        served.replaced[evil.name] = evil.content
    error = refused(lock, tmp_path)
    assert error.message == "web: foo 3.0: the index serves a file with another hash"


# What no index has as a wheel.


def test_without_an_exception_nothing_is_built_from_source(served: Index) -> None:
    with pytest.raises(DependencyError) as caught:
        resolve("web", replace(BUILT, sdists=()), TARGET, RUNNER)
    assert caught.value.message == "web: no wheel for bookworm of srconly"
    assert "python.sdists" in caught.value.hint


def test_an_exception_that_is_not_needed_changes_nothing(served: Index) -> None:
    (found,) = resolve("web", replace(FOO, sdists=("foo",)), TARGET, RUNNER)
    assert isinstance(found, LockedWheel)


@pytest.fixture
def built(served: Index, tmp_path: Path) -> LockedWheel:
    """Give the wheel that locking built from source."""
    if not Path("/usr/bin/python3.11").exists() or not can_isolate(RUNNER):
        pytest.skip("needs /usr/bin/python3.11 and bubblewrap")
    (source,) = (each for each in resolve("web", BUILT, TARGET, RUNNER) if isinstance(each, Sdist))
    return lock_built("web", source, TARGET, workshop(tmp_path), partial(resolve, runner=RUNNER))


def test_what_has_no_wheel_is_built_from_locked_tools(
    built: LockedWheel, served: Index, tmp_path: Path
) -> None:
    assert built.filename == "srconly-1.0-py3-none-any.whl"
    assert sha256_of(cached(tmp_path / "cache", built)) == built.sha256
    assert built.built is not None
    assert built.built.sha256 == served.files[4].sha256
    assert [(each.name, each.sha256) for each in built.built.requires] == [
        ("tiny-backend", served.files[5].sha256)
    ]
    text = lock_of(built).text()
    assert parse_requirements(text, "web.txt") == lock_of(built)


def test_what_was_built_is_installed_from_the_lock(built: LockedWheel, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(lock_of(built).text())
    files = collect(lock_of(built), tmp_path / "cache", TARGET, RUNNER, offline=True)
    made = venv(tmp_path / "venv", "3.11", requirements, files, find_uv(), RUNNER)
    assert (made.site_packages / "srconly.py").read_text() == "X = 1\n"


def test_another_machine_builds_the_same_wheel_with_the_tools_in_the_lock(
    built: LockedWheel, served: Index, tmp_path: Path
) -> None:
    served.files.append(backend("2.0"))
    other = workshop(tmp_path / "other")
    bring_built(lock_of(built), TARGET, other)
    assert sha256_of(cached(other.cache, built)) == built.sha256
    assert "/files/tiny_backend-2.0-py3-none-any.whl" not in served.asked
    # All of it is in the cache now.
    cached(other.cache, built).unlink()
    bring_built(lock_of(built), TARGET, replace(other, offline=True))


def test_a_build_that_gives_other_bits_is_refused(built: LockedWheel, tmp_path: Path) -> None:
    other = replace(built, sha256="0" * 64)
    with pytest.raises(DependencyError) as caught:
        bring_built(lock_of(other), TARGET, workshop(tmp_path))
    assert caught.value.message == (
        "web: srconly 1.0: built from source it is not the locked wheel"
    )
    assert not cached(tmp_path / "cache", other).exists()


@pytest.mark.parametrize("where", ["index", "cache"])
def test_a_replaced_source_is_refused(
    built: LockedWheel, served: Index, tmp_path: Path, where: str
) -> None:
    evil = sdist("srconly", "1.0", {"srconly.py": "evil\n"})
    other = workshop(tmp_path / "other")
    assert built.sdist is not None
    if where == "index":
        served.files[4] = evil
    else:
        file = place(other.cache, built.sdist)
        file.parent.mkdir(parents=True)
        file.write_bytes(evil.content)
    with pytest.raises(DependencyError) as caught:
        bring_built(lock_of(built), TARGET, other)
    said = " ".join((caught.value.message, *caught.value.details))
    assert f"expected sha256 {built.sdist.sha256}, got {evil.sha256}" in said
    assert not cached(other.cache, built).exists()


def test_a_build_of_source_has_no_network(served: Index, tmp_path: Path) -> None:
    host, port = served.address.removeprefix("http://").split(":")
    reach = f"import socket; socket.create_connection(('{host}', {port}), 5)\n"
    served.files[5] = wheel(
        "tiny-backend", "1.0", {"tiny_backend.py": reach + "def build_wheel(*_): return 'x'\n"}
    )
    (source,) = (each for each in resolve("web", BUILT, TARGET, RUNNER) if isinstance(each, Sdist))
    if not can_isolate(RUNNER):
        pytest.skip("needs bubblewrap")
    with pytest.raises(DependencyError, match="cannot be built"):
        lock_built("web", source, TARGET, workshop(tmp_path), partial(resolve, runner=RUNNER))


# A folder that somebody vendored.


def test_a_vendored_wheel_is_proven_before_it_is_used(served: Index, tmp_path: Path) -> None:
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    vendor = tmp_path / "vendor"
    (file,) = collect(lock, vendor, TARGET, RUNNER, offline=False)
    served.files.clear()
    own = tmp_path / "own"
    assert collect(lock, own, TARGET, RUNNER, offline=True, vendor=vendor)
    shutil.rmtree(own)
    file.write_bytes(wheel("foo", "3.0", {"foo.py": "evil\n"}).content)
    with pytest.raises(DependencyError) as caught:
        collect(lock, own, TARGET, RUNNER, offline=True, vendor=vendor)
    assert caught.value.message == f"1 wheel(s) in {vendor} are not the locked ones"
    assert str(file) in caught.value.details[0]
    assert not (own / "wheels").exists()


def test_the_environment_has_exactly_what_the_lock_names(served: Index, tmp_path: Path) -> None:
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("needs /usr/bin/python3.11")
    served.files.append(wheel("bar", "1.0", requires="foo"))
    asked = RequirementInputs(requirements=("bar",))
    lock = lock_of(*resolve("web", asked, TARGET, RUNNER))
    files = collect(lock, tmp_path / "cache", TARGET, RUNNER, offline=False)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(lock.text())
    made = venv(tmp_path / "venv", "3.11", requirements, files, find_uv(), RUNNER)
    found = {(each.metadata["Name"], each.version) for _, each in made.distributions()}
    assert found == {("bar", "1.0"), ("foo", "3.0")}
    # The same file under the name of a distribution that the lock does not name.
    with pytest.raises(DependencyError):
        venv(tmp_path / "again", "3.11", requirements, files[:1], find_uv(), RUNNER)


def test_a_wheel_that_brings_another_distribution_along_is_refused(
    served: Index, tmp_path: Path
) -> None:
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("needs /usr/bin/python3.11")
    place = "foo-3.0.data/purelib/evil-1.0.dist-info/METADATA"
    smuggled = {"foo.py": "", place: "Name: evil\nVersion: 1.0\n"}
    served.files[2] = wheel("foo", "3.0", smuggled)
    lock = lock_of(*resolve("web", FOO, TARGET, RUNNER))
    files = collect(lock, tmp_path / "cache", TARGET, RUNNER, offline=False)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(lock.text())
    with pytest.raises(DependencyError, match="not what the lock names") as caught:
        venv(tmp_path / "venv", "3.11", requirements, files, find_uv(), RUNNER)
    assert caught.value.details == ("evil 1.0: installed",)


def test_what_uv_runs_of_a_source_can_write_nowhere_and_sees_no_keys(
    served: Index, tmp_path: Path
) -> None:
    if not can_isolate(RUNNER):
        pytest.skip("needs bubblewrap")
    keys, written = tmp_path / "keys", tmp_path / "written"
    keys.mkdir()
    (keys / "secret").write_text("secret")
    # What its metadata leaves to the build, uv has to ask the build about.
    pyproject = (
        '[project]\nname = "srconly"\nversion = "1.0"\ndynamic = ["dependencies"]\n'
        '[build-system]\nrequires = ["tiny-backend"]\nbuild-backend = "tiny_backend"\n'
    )
    dynamic = {"pyproject.toml": pyproject, "PKG-INFO": "Metadata-Version: 1.0\n"}
    served.files[4] = sdist("srconly", "1.0", dynamic)
    nosy = (
        f"import os\nassert not os.path.exists({str(keys / 'secret')!r}), 'it sees the keys'\n"
        f"try:\n    open({str(written)!r}, 'w')\nexcept OSError:\n    pass\n"
    )
    served.files[5] = wheel("tiny-backend", "1.0", {"tiny_backend.py": nosy + BACKEND})
    found = resolve("web", BUILT, TARGET, RUNNER, hidden=[keys])
    assert "srconly" in {each.name for each in found}
    assert "/files/tiny_backend-1.0-py3-none-any.whl" in served.asked
    assert not written.exists()
    with pytest.raises(DependencyError) as caught:
        resolve("web", BUILT, TARGET, RUNNER)
    assert any("it sees the keys" in line for line in caught.value.details)
    with pytest.raises(DependencyError, match="srconly has to be built from source"):
        resolve("web", BUILT, TARGET, RUNNER, hidden=None)


def test_a_build_of_source_sees_and_writes_nothing_of_the_users(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the keys, nor what can sign with them: an agent, or gpg in the user's home."""
    if not Path("/usr/bin/python3.11").exists() or not can_isolate(RUNNER):
        pytest.skip("needs /usr/bin/python3.11 and bubblewrap")
    keys = tmp_path / "gnupg"
    keys.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(keys))
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(keys / "S.gpg-agent"))
        (keys / "secret").write_text("secret")
        nosy = (
            "import os\n"
            f"assert not os.path.exists({str(keys)!r}), 'it sees the keys'\n"
            "assert not os.path.exists('/run'), 'it sees the agents'\n"
            "try:\n    open('/usr/lib/written', 'w')\nexcept OSError:\n    pass\n"
            "else:\n    raise AssertionError('it writes')\n"
        )
        served.files[5] = wheel("tiny-backend", "1.0", {"tiny_backend.py": nosy + BACKEND})
        found = resolve("web", BUILT, TARGET, RUNNER)
        (source,) = (each for each in found if isinstance(each, Sdist))
        locking = partial(resolve, runner=RUNNER)
        assert lock_built("web", source, TARGET, workshop(tmp_path), locking).built


def test_source_is_not_built_where_it_cannot_be_isolated(
    built: LockedWheel, served: Index, tmp_path: Path
) -> None:
    evil = 'raise SystemExit("it was run")\n'
    served.files[5] = wheel("tiny-backend", "1.0", {"tiny_backend.py": evil})
    other = replace(workshop(tmp_path / "other"), isolate=False)
    for attempt in (
        lambda: bring_built(lock_of(built), TARGET, other),
        lambda: lock_built("web", source_of(built), TARGET, other, partial(resolve, runner=RUNNER)),
    ):
        with pytest.raises(DependencyError, match=r"srconly 1\.0 has to be built from") as caught:
            attempt()
        assert "apt-get install bubblewrap" in caught.value.hint
    assert not other.cache.exists()


def source_of(wheel: LockedWheel) -> Sdist:
    assert wheel.sdist is not None
    return wheel.sdist
