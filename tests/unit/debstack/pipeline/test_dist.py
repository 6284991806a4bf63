"""A release in dist/ is there whole or not at all, and is left alone while nothing changes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import KEYS, folders, record, release
from tests.unit.debstack.pipeline.world import wheel

from debstack.errors import BuildError, LockError, SigningError
from debstack.keys import Keys
from debstack.pipeline import dist
from debstack.pipeline.contents import Release
from debstack.pipeline.dist import collect_release
from debstack.pipeline.make import Built
from debstack.process import Runner
from debstack.steps import sign


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    made = release(tmp_path)
    locks = tmp_path / "packaging/locks/bookworm"
    assert locks.is_dir()
    return made


@pytest.fixture(autouse=True)
def checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a signature there without a key."""

    def write(directory: Path, files: list[Path], key: object, runner: Runner) -> None:
        (directory / "SHA256SUMS").write_text("".join(f"{path.name}\n" for path in files))
        (directory / "SHA256SUMS.asc").write_text("signature\n")

    monkeypatch.setattr(sign, "checksums", write)


def collect(demo: Release, *built: Built, keys: Keys = KEYS) -> Path:
    return collect_release(demo, folders(demo), keys, built, Runner())


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }  # fmt: skip


def test_the_release_has_packages_manifest_checksums_and_lock(demo: Release) -> None:
    web, feed = record(demo, "web"), record(demo, "feed")
    folder = collect(demo, web, feed)
    assert folder == demo.project / "dist" / demo.lock.release
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {
        web.file, feed.file, "SHA256SUMS", "SHA256SUMS.asc", "bookworm.json", "repos.lock",
    }  # fmt: skip
    sums = f"bookworm.json\n{feed.file}\nrepos.lock\n{web.file}\n"
    assert (folder / "SHA256SUMS").read_text() == sums
    assert (folder / "repos.lock").read_text() == demo.lock.text()
    manifest = json.loads((folder / "bookworm.json").read_text())
    assert (manifest["release"], manifest["target"]) == (demo.lock.release, "bookworm")
    assert [each["package"] for each in manifest["packages"]] == ["feed", "web"]
    assert manifest["packages"][1]["sha256"] == web.sha256
    assert not manifest["packages"][1].keys() & {"seconds", "built"}


def test_the_lock_is_the_one_that_was_built(demo: Release) -> None:
    lock, packaging = demo.lock.text(), demo.project / "packaging"
    (packaging / "repos.lock").write_text(lock.replace(demo.lock.release, "2030.01.01.1"))
    (packaging / "locks/trixie").mkdir()
    (packaging / "locks/trixie/web.txt").write_text("of a lock that was written meanwhile\n")
    folder = collect(demo, record(demo, "web"))
    assert (folder / "repos.lock").read_text() == lock
    found = {path.relative_to(folder).as_posix() for path in folder.glob("locks/*/*")}
    assert found == {f"locks/bookworm/{each}.txt" for each in ("feed", "feed.build", "web")}
    for path in found:
        assert (folder / path).read_bytes() == (packaging / path).read_bytes()


def test_dependencies_that_were_locked_meanwhile_are_not_those_of_the_release(
    demo: Release,
) -> None:
    changed = replace(demo.requirements("feed"), wheels=(wheel("other", "1.0"),))
    (demo.project / "packaging/locks/bookworm/feed.txt").write_text(changed.text())
    with pytest.raises(LockError, match=r"bookworm/feed\.txt: the dependencies of feed \(run\)"):
        collect(demo, record(demo, "web"))
    assert not (demo.project / "dist" / demo.lock.release).exists()


def test_what_goes_with_a_package_goes_with_it_into_the_release(demo: Release) -> None:
    web = replace(record(demo, "web"), beside=("web.buildinfo", "web.provenance.json"))
    keep = folders(demo).package(demo.target, "web", web.version)
    for name in web.beside:
        (keep / name).write_text(name)
    folder = collect(demo, web)
    before = state(folder)
    assert collect(demo, web) == folder
    assert state(folder) == before
    # A part that is built later takes it along, and does not take a provenance for a manifest.
    collect(demo, record(demo, "feed"))
    for name in web.beside:
        assert (folder / name).read_text() == name
        assert f"{name}\n" in (folder / "SHA256SUMS").read_text()
    (folder / "web.buildinfo").unlink()
    collect(demo, web)
    assert (folder / "web.buildinfo").is_file()


def test_what_is_unchanged_is_not_touched(demo: Release) -> None:
    web = record(demo, "web")
    folder = collect(demo, web)
    before = state(folder)
    assert collect(demo, web) == folder
    assert state(folder) == before


def test_packages_built_earlier_stay(demo: Release) -> None:
    web = record(demo, "web")
    collect(demo, web)
    feed = record(demo, "feed")
    folder = collect(demo, feed)
    manifest = json.loads((folder / "bookworm.json").read_text())
    assert [each["package"] for each in manifest["packages"]] == ["feed", "web"]
    assert (folder / web.file).is_file()
    sums = f"bookworm.json\n{feed.file}\nrepos.lock\n{web.file}\n"
    assert (folder / "SHA256SUMS").read_text() == sums


def again(demo: Release) -> Release:
    """Return the release after another one was locked with its id, at other commits."""
    web = replace(demo.lock.components["web"], commit="f" * 40)
    lock = replace(demo.lock, components={**demo.lock.components, "web": web})
    return replace(demo, lock=lock)


def test_packages_of_another_lock_with_the_same_id_do_not_stay(demo: Release) -> None:
    trixie = replace(demo.target, name="trixie", suffix="deb13")
    old, feed = record(demo, "web"), record(demo, "feed")
    folder = collect(demo, old, feed)
    (folder / "trixie.json").write_bytes(
        (folder / "bookworm.json").read_bytes().replace(b"bookworm", trixie.name.encode())
    )
    newer = again(demo)
    web = record(newer, "web")
    assert collect(newer, web) == folder
    manifest = json.loads((folder / "bookworm.json").read_text())
    assert [each["version"] for each in manifest["packages"]] == [web.version]
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        web.file, "SHA256SUMS", "SHA256SUMS.asc", "bookworm.json", "repos.lock",
    }  # fmt: skip


def test_a_package_that_the_lock_does_not_have_does_not_stay(demo: Release) -> None:
    folder = collect(demo, record(demo, "feed"))
    manifest = folder / "bookworm.json"
    manifest.write_text(manifest.read_text().replace('"package": "feed"', '"package": "gone"'))
    collect(demo, record(demo, "web"))
    packages = [each["package"] for each in json.loads(manifest.read_text())["packages"]]
    assert packages == ["web"]


def test_a_file_that_merely_lies_there_is_swept(demo: Release) -> None:
    folder = collect(demo, record(demo, "web"))
    (folder / "stranger.deb").write_text("")
    collect(demo, record(demo, "feed"))
    assert not (folder / "stranger.deb").exists()
    assert "stranger" not in (folder / "SHA256SUMS").read_text()


def test_a_package_built_anew_takes_the_place_of_the_old(demo: Release) -> None:
    collect(demo, record(demo, "web"))
    again = record(demo, "web", content=b"changed")
    folder = collect(demo, again)
    assert (folder / again.file).read_bytes() == b"changed"


@pytest.mark.parametrize("gone", ["SHA256SUMS.asc", "bookworm.json", "repos.lock", "locks"])
def test_an_incomplete_release_is_completed(demo: Release, gone: str) -> None:
    web = record(demo, "web")
    folder = collect(demo, web)
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    collect(demo, web)
    assert path.exists()


PARTS = [b"", b'{"release": "1"}', b'{"packages": [{"package": "web"}]}', b"[]", b"\xff"]


@pytest.mark.parametrize("part", PARTS)
def test_a_manifest_of_which_a_part_is_left_is_written_again(demo: Release, part: bytes) -> None:
    built = record(demo, "web"), record(demo, "feed")
    folder = collect(demo, *built)
    manifest = folder / "bookworm.json"
    before = manifest.read_bytes()
    manifest.write_bytes(part)
    collect(demo, *built)
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("part", PARTS)
def test_packages_of_another_target_are_not_lost_with_its_manifest(
    demo: Release, part: bytes
) -> None:
    folder = collect(demo, record(demo, "web"))
    (folder / "trixie.json").write_bytes(part)
    before = state(folder)
    with pytest.raises(BuildError, match=r"trixie\.json is not the manifest") as caught:
        collect(demo, record(demo, "feed"))
    assert caught.value.hint == (
        f"rm {folder}/trixie.json; then for that target again: debstack build --target trixie"
    )
    assert state(folder) == before
    (folder / "trixie.json").unlink()
    collect(demo, record(demo, "feed"))


def test_a_release_is_on_the_disk_before_it_has_its_name(
    demo: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(dist, "sync_all", synced.extend)
    folder = collect(demo, record(demo, "web"))
    new = folder.with_name(f".{folder.name}.new")
    assert {path.relative_to(new) for path in synced} == {
        Path(), *(path.relative_to(folder) for path in folder.rglob("*")),
    }  # fmt: skip


def test_a_failed_signature_leaves_everything_as_it_was(
    demo: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = collect(demo, record(demo, "web"))
    before = state(folder)

    def fail(*_: object) -> None:
        raise SigningError("no key")

    monkeypatch.setattr(sign, "checksums", fail)
    with pytest.raises(SigningError):
        collect(demo, record(demo, "feed"))
    assert state(folder) == before


def test_nothing_appears_before_it_is_signed(
    demo: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SigningError("no key")

    monkeypatch.setattr(sign, "checksums", fail)
    with pytest.raises(SigningError):
        collect(demo, record(demo, "web"))
    assert not (demo.project / "dist" / demo.lock.release).exists()


def test_a_release_put_aside_by_a_build_that_was_killed_is_put_back(demo: Release) -> None:
    feed, web = record(demo, "feed"), record(demo, "web")
    folder = collect(demo, feed)
    folder.rename(folder.with_name(f".{folder.name}.old"))
    collect(demo, web)
    assert {path.name for path in folder.glob("*.deb")} == {feed.file, web.file}
    assert not folder.with_name(f".{folder.name}.old").exists()
