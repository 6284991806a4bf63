"""A copy in an object store is whole at every moment, whatever is published or killed meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.build import store as stores
from tests.build.archive import DAY, RUNNER, SUITE, Archive, make_apt, make_deb
from tests.build.store import Store
from tests.build.test_archive_races import Clients

from debstack.archive.content import About
from debstack.archive.publish import Publisher
from debstack.archive.serve import CHANGING, IMMUTABLE, Server, caching_of
from debstack.archive.tree import Tree
from debstack.keys import Keys, load
from debstack.log import Log
from debstack.process import SYSTEM_PATH, base_environment

pytestmark = pytest.mark.build
SCRIPT = Path(__file__).parents[2] / "scripts/copy-to-store"
LOOPS, PUBLICATIONS = 20, 5
for _program in ("rclone", "flock"):
    if shutil.which(_program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)

# What is sent after what; the first pattern that fits counts.
ORDER = (
    *("PUT pool/", "PUT documents/", "PUT .*/by-hash/", "PUT dists/(?!.*Release)"),
    *("PUT .*/Release$", "PUT .*/Release.gpg$", "PUT .*/InRelease$", "PUT index.html$", "DELETE "),
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return load(tmp_path_factory.mktemp("build"), {}, RUNNER)


@pytest.fixture
def archive(tmp_path: Path, keys: Keys) -> Archive:
    """Return an archive with one version and a page, and what a killed publisher leaves."""
    archive = Archive(tmp_path / "archive", keys)
    archive.publish(make_deb(tmp_path, "hello", "1.0"))
    (archive.root / "index.html").write_text("<p>")
    (archive.root / "documents/1").mkdir(parents=True)
    (archive.root / "documents/1/sbom.json").write_text("{}")
    (archive.root / "pool/.tmp-hello.deb").write_text("half")
    (archive.root / "dists/.tmp-old").symlink_to(f"../.gen/{SUITE.name}/1")
    return archive


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stores.running(tmp_path / "store") as store:
        yield store


def start(source: Path, remote: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SCRIPT, source, remote],
        env=base_environment() | {"RCLONE_CONFIG": "/notfound", "RCLONE_RETRIES": "1"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a copy, and for what it started; return its exit code and what it said."""
    with process:
        said, _ = process.communicate()
    return process.returncode, said


def copy(archive: Archive, store: Store) -> list[str]:
    """Copy to the end and return the changes, each by its place in ``ORDER`` and its name."""
    store.changes.clear()
    code, said = end(start(archive.root, store.remote, **store.environment))
    assert code == 0, said
    return list(store.changes)


def place(change: str) -> int:
    """Return where a change belongs in the order."""
    return next(n for n, pattern in enumerate(ORDER) if re.match(pattern, change))


def shown(root: Path) -> dict[str, bytes]:
    """Return what a web server shows of an archive: links followed, names with a dot left out."""
    found = {}
    for folder, names, files in os.walk(root, followlinks=True):
        names[:] = [name for name in names if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def copied(store: Store) -> dict[str, bytes]:
    return {key: store.content(key) or b"" for key in store.names()}


def offered(folder: Path, archive: Archive, address: str) -> list[str]:
    """Let a fresh apt update, download the newest and the oldest, and return all versions."""
    apt = make_apt(folder, archive.root, uri=address)
    updated = apt.update()
    assert updated.returncode == 0, updated.stderr
    table = apt.run("apt-cache", "madison", "hello").text.splitlines()
    versions = [line.split("|")[1].strip() for line in table]
    got = apt.run("apt-get", "download", *{f"hello={versions[0]}", f"hello={versions[-1]}"})
    assert got.returncode == 0, got.stderr
    return versions


def test_the_order_and_the_headers(archive: Archive, store: Store, tmp_path: Path) -> None:
    first = copy(archive, store)
    assert [place(each) for each in first] == sorted(place(each) for each in first)
    assert {place(each) for each in first} == set(range(len(ORDER) - 1)), first
    assert copied(store) == shown(archive.root)
    assert not [key for key in store.names() if "/." in f"/{key}"]
    for key, headers in store.headers.items():
        assert headers["cache-control"] == caching_of(f"/{key}")
        assert headers["cache-control"] in (IMMUTABLE, CHANGING)

    archive.publish(make_deb(tmp_path, "hello", "1.1"))
    (archive.root / "documents/1/sbom.json").unlink()
    (archive.root / "documents/2.json").write_text("{}")
    second = copy(archive, store)
    assert [place(each) for each in second] == sorted(place(each) for each in second)
    assert second[-1] == "DELETE documents/1/sbom.json"
    assert copied(store) == shown(archive.root)
    # What never changes is sent once.
    again = [each for each in second if each in first and caching_of(each[4:]) == IMMUTABLE]
    assert again == []


def test_no_client_sees_publications_and_copies_happen(
    archive: Archive, store: Store, tmp_path: Path
) -> None:
    debs = [make_deb(tmp_path, "hello", f"1.{n + 1}") for n in range(PUBLICATIONS)]
    copy(archive, store)
    copying = threading.Semaphore(0)
    store.before = lambda change: copying.release() if "PUT index" not in change else None
    published: list[str] = []

    def publish() -> None:
        for deb in debs:
            copying.acquire()  # in the middle of a copy
            archive.publish(deb)
            published.append(deb.name)

    clients = Clients()
    apt = make_apt(tmp_path / "apt", archive.root, uri=f"{store.address}/{stores.BUCKET}")
    threads = [
        threading.Thread(target=publish),
        threading.Thread(target=clients.loop, args=(apt, LOOPS)),
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        copy(archive, store)
    for thread in threads:
        thread.join()
    copy(archive, store)
    assert clients.failures == []
    assert (clients.done, len(published)) == (LOOPS, PUBLICATIONS)
    assert copied(store) == shown(archive.root)
    versions = offered(tmp_path / "last", archive, f"{store.address}/{stores.BUCKET}")
    assert len(versions) == PUBLICATIONS + 1


def test_nothing_can_be_published_during_a_copy(archive: Archive, store: Store) -> None:
    free: list[str] = []

    def try_lock(change: str) -> None:
        descriptor = os.open(archive.root / ".gen/.lock", os.O_RDWR)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(change)
        os.close(descriptor)

    store.before = try_lock
    assert copy(archive, store)
    assert free == []


def test_a_copy_is_killed_at_every_change(archive: Archive, store: Store, tmp_path: Path) -> None:
    copy(archive, store)
    address = f"{store.address}/{stores.BUCKET}"
    before = offered(tmp_path / "first", archive, address)
    kills, process = 0, None

    def kill(_: str) -> None:
        if process and len(store.changes) == kills:
            os.killpg(process.pid, signal.SIGKILL)
            raise ConnectionAbortedError("killed")

    store.before = kill
    while True:
        archive.publish(make_deb(tmp_path, "hello", f"1.{kills + 1}"))
        (archive.root / f"documents/{kills}.json").write_text("{}")
        (archive.root / f"documents/{kills - 1}.json").unlink(missing_ok=True)
        store.changes.clear()
        process = start(archive.root, store.remote, **store.environment)
        code, said = end(process)
        found = offered(tmp_path / f"apt-{kills}", archive, address)
        after = [f"1.{n}" for n in range(kills + 1, -1, -1)]
        assert found in (before, after), store.changes
        before = found
        if code == 0:
            break
        assert code == -signal.SIGKILL, said
        kills += 1
    assert kills >= len(ORDER)
    assert before == after
    assert copied(store) == shown(archive.root)


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_copy_in_a_folder_is_killed_and_repeated(
    archive: Archive, tmp_path: Path, step: int
) -> None:
    """Between steps: rclone writes files of a folder in place (see docs/serving.md)."""
    place, programs = tmp_path / "place", tmp_path / "programs"
    assert end(start(archive.root, str(place)))[0] == 0
    archive.publish(make_deb(tmp_path, "hello", "1.1"))
    programs.mkdir()
    (programs / "rclone").write_text(
        f'#!/bin/sh\necho >> {programs}/calls\n[ "$(wc -l < {programs}/calls)" -lt {step} ]'
        f' || kill -9 $PPID\nexec env PATH={SYSTEM_PATH} rclone "$@"\n'
    )
    (programs / "rclone").chmod(0o755)
    code, said = end(start(archive.root, str(place), PATH=f"{programs}:{SYSTEM_PATH}"))
    assert code == -signal.SIGKILL, said
    with served(place) as address:
        found = offered(tmp_path / "killed", archive, address)
        assert found == (["1.1", "1.0"] if step > 7 else ["1.0"])
        assert end(start(archive.root, str(place)))[0] == 0
        assert offered(tmp_path / "repeated", archive, address) == ["1.1", "1.0"]
    assert shown(place) == shown(archive.root)


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    with Server(Tree(root), "127.0.0.1", 0, Log(quiet=True)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


def test_what_is_replaced_stays_for_the_grace(
    archive: Archive, store: Store, tmp_path: Path
) -> None:
    now, signers = datetime.now(UTC), [archive.keys.repository]
    shutil.rmtree(archive.root)

    def publisher(days_ago: float) -> Publisher:
        moment = now - timedelta(days=days_ago)
        return Publisher(archive.root, lambda: moment, 14 * DAY, RUNNER, Log(quiet=True))

    def release(version: str, days_ago: float) -> None:
        deb = make_deb(tmp_path, "hello", f"{version}.9")
        publisher(days_ago).publish(SUITE, [deb], signers, About(version))

    release("1", 20)
    copy(archive, store)
    early = [key for key in store.names() if "by-hash" in key]
    slow = make_apt(tmp_path / "slow", archive.root, uri=f"{store.address}/{stores.BUCKET}")
    assert slow.update().returncode == 0

    release("2", 19)
    publisher(18).withdraw(SUITE, ["1"], signers, "old")
    assert not [each for each in copy(archive, store) if each.startswith("DELETE")]
    assert offered(tmp_path / "new", archive, f"{store.address}/{stores.BUCKET}") == ["2.9"]
    assert set(early) <= set(store.names())
    assert slow.run("apt-get", "download", "hello=1.9").returncode == 0

    publisher(0).refresh(SUITE, signers, force=True)
    removed = {each.partition(" ")[2] for each in copy(archive, store) if "DELETE" in each}
    assert set(early) <= removed
    assert "pool/main/h/hello/hello_1.9_amd64.deb" in removed
    assert copied(store) == shown(archive.root)
    assert offered(tmp_path / "last", archive, f"{store.address}/{stores.BUCKET}") == ["2.9"]


def test_what_is_no_archive_is_not_copied(archive: Archive, store: Store, tmp_path: Path) -> None:
    copy(archive, store)
    there = copied(store)
    (tmp_path / "empty").mkdir()
    code, said = end(start(tmp_path / "empty", store.remote, **store.environment))
    assert code != 0
    assert ".gen/.lock" in said
    assert copied(store) == there


@pytest.mark.parametrize("damage", ["no dists", "half fetched"])
def test_what_is_not_all_of_an_archive_takes_the_place_of_none(
    archive: Archive, store: Store, damage: str
) -> None:
    copy(archive, store)
    there = copied(store)
    if damage == "no dists":
        shutil.rmtree(archive.root / "dists")
    else:
        shutil.rmtree(archive.root / "pool")
        (archive.root / ".fetching").touch()
    code, said = end(start(archive.root, store.remote, **store.environment))
    assert code == 1
    assert "  next: scripts/copy-archive fetch PLACE" in said
    assert copied(store) == there


def test_after_a_failure_nothing_that_follows_is_sent(archive: Archive, store: Store) -> None:
    def refuse(change: str) -> None:
        if "by-hash" in change:
            raise ConnectionAbortedError("the store is full")

    store.before = refuse
    once = store.environment | {"RCLONE_LOW_LEVEL_RETRIES": "1"}
    code, said = end(start(archive.root, store.remote, **once))
    assert code != 0, said
    assert {place(each) for each in store.changes} == {0, 1}
