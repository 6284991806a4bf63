"""The archive as real apt sees it: what it installs, what it refuses, what a kill leaves."""

from __future__ import annotations

import gzip
import lzma
import shutil
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from debian.deb822 import Deb822
from tests.build.archive import (
    DAY,
    INRELEASE,
    PACKAGES,
    RUNNER,
    SUITE,
    Apt,
    Archive,
    assert_works,
    make_apt,
    make_deb,
)

from debstack import gpg
from debstack.archive.suite import Publication
from debstack.archive.tree import Tree, locked
from debstack.archive.verify import Examination
from debstack.errors import ArchiveError
from debstack.keys import Keys, load
from debstack.log import Log
from debstack.process import SYSTEM_PATH, Result, base_environment

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return load(tmp_path_factory.mktemp("build"), {}, RUNNER)


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("debs")
    versions = {"hello": ("1.9", "1.10", "2.0"), "extra": ("1.0",)}
    return {
        f"{name} {version}": make_deb(folder, name, version)
        for name in versions
        for version in versions[name]
    }


@pytest.fixture
def archive(tmp_path: Path, keys: Keys) -> Archive:
    return Archive(tmp_path / "archive", keys)


@pytest.fixture
def apt(tmp_path: Path, archive: Archive) -> Apt:
    return make_apt(tmp_path / "apt", archive.root)


def test_newest_and_exact_older_version(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    first = archive.publish(debs["hello 1.10"], debs["extra 1.0"])
    second = archive.publish(debs["hello 2.0"], debs["hello 1.9"])
    assert [first.generation, second.generation] == [1, 2]
    assert [package.version for package in second.added] == ["2.0", "1.9"]
    assert apt.update().returncode == 0
    installed = apt.run("apt-get", "install", "--yes", "--download-only", "hello", "extra")
    assert installed.returncode == 0
    assert "hello amd64 2.0" in installed.text
    assert apt.run("apt-get", "download", "hello=1.9").returncode == 0
    assert (apt.folder / "hello_1.9_amd64.deb").read_bytes() == debs["hello 1.9"].read_bytes()
    table = apt.run("apt-cache", "madison", "hello").text
    assert [line.split("|")[1].strip() for line in table.splitlines()] == ["2.0", "1.10", "1.9"]
    description = archive.live("Release").read_text()
    assert "DEVELOPMENT key" in description


def test_a_client_with_the_last_index_is_served_after_a_publication(
    archive: Archive, apt: Apt, debs: dict[str, Path]
) -> None:
    archive.publish(debs["hello 1.9"])
    before = archive.live(INRELEASE).read_bytes()
    blob = next(archive.live("main/binary-amd64/by-hash/SHA256").iterdir()).name
    archive.publish(debs["hello 2.0"])
    assert archive.live(f"main/binary-amd64/by-hash/SHA256/{blob}").exists()
    # What a client sees that read InRelease just before the commit and the index just after it.
    archive.live(INRELEASE).unlink()
    archive.live(INRELEASE).write_bytes(before)
    assert apt.update().returncode == 0
    assert apt.run("apt-get", "download", "hello=1.9").returncode == 0


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def test_changed_package_is_refused(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    added = archive.publish(debs["hello 1.9"]).added
    assert apt.update().returncode == 0
    archive.tamper(archive.root / added[0].filename, flip)
    result = apt.run("apt-get", "download", "hello")
    assert result.returncode == 100
    assert b"Hash Sum mismatch" in result.stderr


def test_changed_index_is_refused(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"])
    changed = gzip.decompress(archive.live(PACKAGES).read_bytes()).replace(b"1.9", b"6.6")
    archive.tamper(archive.live(PACKAGES), lambda _: gzip.compress(changed))
    archive.tamper(archive.live(PACKAGES).with_suffix(".xz"), lambda _: lzma.compress(changed))
    result = apt.update()
    assert result.returncode == 100
    assert b"Hash Sum mismatch" in result.stderr or b"unexpected size" in result.stderr


def test_unsigned_archive_is_refused(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"])
    for name in (INRELEASE, "Release.gpg"):
        archive.live(name).unlink()
    result = apt.update()
    assert result.returncode == 100
    assert b"is not signed" in result.stderr


def test_release_gpg_alone_is_accepted(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"])
    archive.live(INRELEASE).unlink()
    assert apt.run("apt-get", "update").returncode == 0
    archive.tamper(archive.live("Release"), lambda content: content + b"\n")
    assert apt.update().returncode == 100


def test_another_key_is_refused(archive: Archive, tmp_path: Path, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"])
    with gpg.signing([archive.keys.package], RUNNER) as ring:
        (tmp_path / "other.gpg").write_bytes(ring.public)
    result = make_apt(tmp_path / "apt", archive.root, keyring=tmp_path / "other.gpg").update()
    assert result.returncode == 100
    assert b"NO_PUBKEY" in result.stderr or b"Missing key" in result.stderr


def test_expired_archive_is_refused(archive: Archive, apt: Apt, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"], now=datetime.now(UTC) - 31 * DAY)
    result = apt.update()
    assert result.returncode == 100
    assert b"is expired" in result.stderr
    assert not archive.publish(debs["hello 1.9"]).unchanged
    assert apt.update().returncode == 0


def test_index_agrees_with_apt_ftparchive(archive: Archive, debs: dict[str, Path]) -> None:
    if shutil.which("apt-ftparchive", path=SYSTEM_PATH) is None:
        pytest.skip("apt-ftparchive is not installed (package apt-utils)")
    archive.publish(*debs.values())
    others = [f"--no-{name}" for name in ("md5", "sha1", "sha512")]
    command = ["apt-ftparchive", *others, "packages", "pool"]
    theirs = RUNNER.capture(command, cwd=archive.root).text
    ours = gzip.decompress(archive.live(PACKAGES).read_bytes()).decode()
    assert len(fields(ours)) == len(debs)
    assert fields(ours) == fields(theirs)


def fields(index: str) -> dict[str, dict[str, str]]:
    stanzas = Deb822.iter_paragraphs(index, use_apt_pkg=False)
    return {stanza["Filename"]: dict(stanza.items()) for stanza in stanzas}


def test_nothing_to_add_touches_nothing(archive: Archive, debs: dict[str, Path]) -> None:
    archive.publish(*debs.values())
    before = archive.listing()
    again = archive.publish(*debs.values())
    assert again == Publication(SUITE.name, 1, (), (), unchanged=True)
    assert archive.listing() == before


def test_same_name_with_other_bits(archive: Archive, tmp_path: Path, debs: dict[str, Path]) -> None:
    archive.publish(debs["hello 1.9"])
    before = archive.listing()
    changed = make_deb(tmp_path, "hello", "1.9", "other")
    for suite in (SUITE, replace(SUITE, name="other")):
        with pytest.raises(ArchiveError, match="other content") as caught:
            archive.publish(changed, suite=suite)
        assert len(caught.value.details) == 2
    assert archive.listing() == before


def test_production_refuses_development_keys(archive: Archive, debs: dict[str, Path]) -> None:
    with pytest.raises(ArchiveError, match="development key"):
        archive.publish(debs["hello 1.9"], suite=replace(SUITE, production=True))
    assert not archive.root.exists()


def test_somebody_elses_archive_is_left_alone(archive: Archive, debs: dict[str, Path]) -> None:
    (archive.root / "pool/main").mkdir(parents=True)
    (archive.root / "pool/main/foreign.deb").touch()
    before = archive.listing()
    with pytest.raises(ArchiveError, match="not made by debstack"):
        archive.publish(debs["hello 1.9"])
    assert archive.listing() == before


def test_nothing_is_published_beside_a_lost_package(
    archive: Archive, debs: dict[str, Path]
) -> None:
    added = archive.publish(debs["hello 1.9"]).added
    (archive.root / added[0].filename).unlink()
    with pytest.raises(ArchiveError, match=r"hello_1\.9_amd64\.deb is missing"):
        archive.publish(debs["hello 2.0"])
    assert Tree(archive.root).live(SUITE.name) == 1
    shutil.copy(debs["hello 1.9"], archive.root / added[0].filename)
    assert archive.publish(debs["hello 2.0"]).generation == 2


def test_old_generations_go_when_their_successor_is_old(
    archive: Archive, debs: dict[str, Path]
) -> None:
    start = datetime.now(UTC) - 60 * DAY
    archive.publish(debs["hello 1.9"], now=start)
    archive.publish(debs["hello 1.10"], now=start + 20 * DAY)
    assert Tree(archive.root).numbers(SUITE.name) == [1, 2]
    # The second is 20 days old but was current until now; the first was left 20 days ago.
    archive.publish(debs["hello 2.0"], now=start + 40 * DAY)
    assert Tree(archive.root).numbers(SUITE.name) == [2, 3]
    assert len(list(archive.live("main/binary-amd64/by-hash/SHA256").iterdir())) == 4


def test_publications_of_one_second_have_different_dates(
    archive: Archive, debs: dict[str, Path]
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    dates = []
    for name in ("hello 1.9", "hello 1.10"):
        archive.publish(debs[name], now=now)
        dates.append(Deb822(archive.live("Release").read_text())["Date"])
    assert dates[0] != dates[1]


def test_a_second_publisher_waits_and_says_so(archive: Archive, debs: dict[str, Path]) -> None:
    said = StringIO()
    waiting = threading.Event()

    class Listening(Log):
        def say(self, subject: str, text: str) -> None:
            super().say(subject, text)
            waiting.set()

    second = threading.Thread(
        target=lambda: archive.publish(debs["hello 1.9"], log=Listening(stream=said))
    )
    with locked(Tree(archive.root), lambda: None):
        second.start()
        assert waiting.wait(60)
        assert not archive.live(INRELEASE).exists()
    second.join()
    assert "another publisher is at work" in said.getvalue()
    assert archive.live(INRELEASE).exists()


# Publishes, and kills itself at the k-th of the calls that change something for good.
KILLED = """
import itertools, os, signal, sys, tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from debstack.archive.publish import Publisher
from debstack.keys import load
from debstack.log import Log
from debstack.process import Runner
from tests.build.archive import SUITE
root, build, point, *debs = sys.argv[1:]
keys, counter = load(Path(build), {}, Runner()), itertools.count(1)
def dying(call):
    def wrapper(*args, **kwargs):
        if any(os.path.basename(str(each)).startswith("S.gpg") for each in args):
            return call(*args, **kwargs)  # the agent removes its sockets when it gets to it
        number = next(counter)  # in one step: fsync is called by several threads
        print("call", *map(str, args), flush=True)
        if number == int(point):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return wrapper
make = tempfile.mkdtemp
def mkdtemp(*args, **kwargs):
    home = make(*args, **kwargs)
    print("home", home, flush=True)
    return home
tempfile.mkdtemp = mkdtemp
for name in ("fsync", "rename", "link", "symlink", "unlink", "mkdir", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))
now = datetime.now(UTC)
publisher = Publisher(Path(root), lambda: now, timedelta(0), Runner(), Log(quiet=True))
publisher.publish(SUITE, [Path(deb) for deb in debs], [keys.repository])
"""


def publish_killed(archive: Archive, point: int, *debs: Path) -> Result:
    build = archive.keys.repository.secret_file
    assert build
    paths = [str(path) for path in (*map(Path, sys.path), Path.cwd()) if str(path)]
    environment = base_environment() | {"PYTHONPATH": ":".join(paths)}
    arguments = [archive.root, build.parent.parent, str(point), *debs]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    result = RUNNER.capture(command, env=environment, check=False)
    lines = map(str.split, result.text.splitlines())
    for home in [line[1] for line in lines if line[0] == "home"]:
        if Path(home).is_dir():  # the killed process could not end its agent
            RUNNER.capture(["gpgconf", "--homedir", home, "--kill", "all"])
            shutil.rmtree(home, ignore_errors=True)
    return result


def calls_of(archive: Archive, folder: Path, *debs: Path) -> list[str]:
    """Return the calls that publishing makes, each with its arguments, tried on a copy."""
    spare = Archive(folder, archive.keys)
    shutil.copytree(archive.root, spare.root, symlinks=True)
    unkilled = publish_killed(spare, 0, *debs)
    assert unkilled.returncode == 0, unkilled.stderr.decode()
    return [line for line in unkilled.text.splitlines() if line.startswith("call")]


@pytest.fixture
def grown(archive: Archive, debs: dict[str, Path]) -> Archive:
    """Give an archive with two generations; the next publication collects the older one."""
    archive.publish(debs["hello 1.9"], now=datetime.now(UTC) - 10 * DAY)
    archive.publish(debs["extra 1.0"], now=datetime.now(UTC) - 5 * DAY)
    return archive


def test_the_link_leads_somewhere_all_the_time(
    grown: Archive, tmp_path: Path, debs: dict[str, Path]
) -> None:
    calls = calls_of(grown, tmp_path / "spare", debs["hello 1.10"])
    commit = max(number for number, call in enumerate(calls, 1) if "/dists/" in call)
    for point in range(commit - 3, commit + 3):
        copy = Archive(tmp_path / f"copy-{point}", grown.keys)
        shutil.copytree(grown.root, copy.root, symlinks=True)
        assert publish_killed(copy, point, debs["hello 1.10"]).returncode == -9
        assert copy.live(INRELEASE).is_file()
        committed = Tree(copy.root).live(SUITE.name) == 3
        assert committed == (point > commit)


def test_an_outdated_generation_that_was_not_removed_yet_harms_nobody(
    grown: Archive, tmp_path: Path, debs: dict[str, Path]
) -> None:
    calls = calls_of(grown, tmp_path / "spare", debs["hello 1.10"])
    commit = max(number for number, call in enumerate(calls, 1) if "/dists/" in call)
    assert publish_killed(grown, commit + 2, debs["hello 1.10"]).returncode == -9
    tree = Tree(grown.root)
    assert (tree.live(SUITE.name), tree.numbers(SUITE.name)) == (3, [1, 2, 3])
    found = Examination(tree, datetime.now(UTC), RUNNER).examine()
    assert [each.problem for each in found if each.place.endswith("/1")] == [
        "is outdated; the next publication removes it"
    ]
    assert [each for each in found if each.harmful] == []


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.85, 0.95])
def test_a_killed_publisher_leaves_a_valid_archive(
    grown: Archive, tmp_path: Path, debs: dict[str, Path], share: float
) -> None:
    archive = grown
    calls = calls_of(archive, tmp_path / "spare", debs["hello 1.10"])
    point = max(1, round(len(calls) * share))
    assert publish_killed(archive, point, debs["hello 1.10"]).returncode == -9
    committed = Tree(archive.root).live(SUITE.name) == 3
    versions = ["1.10", "1.9"] if committed else ["1.9"]
    assert_works(archive, tmp_path / "killed", versions)
    # The next publication is of another package: nothing committed may be lost by it.
    archive.publish(debs["hello 2.0"])
    assert_works(archive, tmp_path / "next", ["2.0", *versions])
    assert not list(archive.root.rglob(".tmp-*"))
    pool = {path.name for path in archive.root.glob("pool/**/hello_*.deb")}
    assert pool == {f"hello_{version}_amd64.deb" for version in ("2.0", *versions)}
