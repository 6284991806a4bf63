"""What a source package carries, and that what was changed in it is not built from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release

from debstack.errors import BuildError, LockError, SourceError
from debstack.log import Log
from debstack.model.lock import read_lock
from debstack.pipeline import unpacked
from debstack.pipeline.assemble import Parts, assemble
from debstack.pipeline.carried import Record, carried, project_folder, read_record, read_trusted
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.packages import Names
from debstack.pipeline.unpacked import assemble_unpacked
from debstack.process import Runner
from debstack.steps.source_package import Member, tree

KEYS = {"repository": {"A" * 40: b"one"}, "package": {"B" * 40: b"two", "C" * 40: b"three"}}


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    return release(tmp_path / "project")


def parts(demo: Release, package: str) -> Parts:
    return Parts(package, demo.version(package))


def unpack(members: list[Member], root: Path) -> Path:
    """Write members as unpacking a source package does; return debstack's folder."""
    for member in members:
        place = root / member.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(member.content, Path):
            shutil.copyfile(member.content, place)
        elif isinstance(member.content, bytes):
            place.write_bytes(member.content)
        else:
            place.symlink_to(member.content)
    return root / project_folder("bookworm")


def workshop(folder: Path) -> Workshop:
    return Workshop(folder / "cache", 1, True, Runner(), Log())


def test_it_is_a_project_with_the_packages_own_part_of_the_lock(
    demo: Release, tmp_path: Path
) -> None:
    project = unpack(carried(demo, parts(demo, "web")), tmp_path / "unpacked")
    lock = read_lock(project / "packaging/repos.lock")
    assert list(lock.packages) == ["web"]
    assert lock.components["web"].commit == demo.lock.components["web"].commit
    assert (project / "src/debstack/__main__.py").is_file()
    assert (project / "src/tradingctl/description.py").is_file()
    assert (project / "debian-templates/component/debian/control").is_file()
    assert (project / "packaging/locks/bookworm/web.txt").is_file()
    assert read_record(project) == Record("web", demo.version("web"), "bookworm", False)
    assert not list(project.rglob("*.pyc"))


def test_nothing_of_another_release_or_machine_is_in_it(demo: Release) -> None:
    first = {each.path for each in carried(demo, parts(demo, "web"))}
    assert len(first) == len(carried(demo, parts(demo, "web")))
    assert not {each for each in first if not each.startswith("debstack-bookworm/")}
    assert not {each for each in first if "/.git" in each or "__pycache__" in each}


def test_a_keyring_takes_its_keys_along(demo: Release, tmp_path: Path) -> None:
    keyring = Names.of(demo.definition).keyring
    given = Parts(keyring, "1~deb12", trusted=KEYS, development=True)
    project = unpack(carried(demo, given), tmp_path / "unpacked")
    assert read_trusted(project) == KEYS
    assert read_record(project) == Record(keyring, "1~deb12", "bookworm", True)


@pytest.mark.parametrize("kind", ["common", "stack"])
def test_unpacked_it_is_assembled_to_the_same(demo: Release, tmp_path: Path, kind: str) -> None:
    name = getattr(Names.of(demo.definition), kind)
    project = unpack(carried(demo, parts(demo, name)), tmp_path / "unpacked")
    there, here = tmp_path / "there", tmp_path / "here"
    assemble_unpacked(tmp_path / "unpacked", project, there, workshop(tmp_path))
    assemble(demo, parts(demo, name), here, workshop(tmp_path))
    assert [each.path for each in tree(there)] == [each.path for each in tree(here)]
    for path in here.rglob("*"):
        if path.is_file():
            assert (there / path.relative_to(here)).read_bytes() == path.read_bytes()


def test_whoever_builds_a_source_package_keeps_it_apart(
    demo: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Workshop] = []
    for name, stand_in in {
        "collect": lambda *_, **__: (tmp_path / "uv.whl",),
        "unpack_uv": lambda *_: tmp_path / "uv",
        "tree_digest": lambda _: demo.lock.components["feed"].tree,
        "assemble": lambda *values: got.append(values[-1]),
    }.items():
        monkeypatch.setattr(unpacked, name, stand_in)
    project = unpack(carried(demo, parts(demo, "feed")), tmp_path / "unpacked")
    (tmp_path / "unpacked/source").mkdir()
    assemble_unpacked(tmp_path / "unpacked", project, tmp_path / "made", workshop(tmp_path))
    assert [each.confined for each in got] == [True]


def test_a_changed_definition_is_refused(demo: Release, tmp_path: Path) -> None:
    project = unpack(carried(demo, parts(demo, "web")), tmp_path / "unpacked")
    component = project / "packaging/components/web.toml"
    component.write_text(component.read_text().replace('summary = "', 'summary = "not '))
    with pytest.raises(LockError, match="debstack-bookworm/ of web was changed"):
        assemble_unpacked(tmp_path / "unpacked", project, tmp_path / "made", workshop(tmp_path))


def test_files_that_are_not_the_commits_are_refused(demo: Release, tmp_path: Path) -> None:
    project = unpack(carried(demo, parts(demo, "web")), tmp_path / "unpacked")
    (tmp_path / "unpacked/source").mkdir()
    (tmp_path / "unpacked/source/app.py").write_text("other code\n")
    with pytest.raises(SourceError, match="are not those of commit"):
        assemble_unpacked(tmp_path / "unpacked", project, tmp_path / "made", workshop(tmp_path))


@pytest.mark.parametrize("text", ["", "{}", '{"package": "web"}'])
def test_a_folder_that_is_none_says_who_calls_this(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text)
    with pytest.raises(BuildError, match="is not debstack's folder in a source package") as raised:
        read_record(tmp_path)
    assert "debstack build" in raised.value.hint
