"""Clients in the middle of publications, publishers that are killed or meet, and full disks."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.build.archive import RUNNER, SUITE, Apt, Archive, make_apt, make_deb

from debstack.archive import manifest
from debstack.archive.content import About
from debstack.archive.plan import live
from debstack.archive.publish import Publisher
from debstack.archive.tree import Tree
from debstack.archive.verify import Examination
from debstack.keys import Keys, load
from debstack.log import Log
from debstack.process import base_environment

pytestmark = pytest.mark.build

LOOPS, PUBLICATIONS = 200, 30
KILLS = 50

# Publishes a package, or takes the oldest release out, as told; says when it begins.
PUBLISH = """
import sys, tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from debstack.archive.content import About
from debstack.archive.plan import live
from debstack.archive.publish import Publisher
from debstack.archive.tree import Tree
from debstack.keys import load
from debstack.log import Log
from debstack.process import Runner
from tests.build.archive import SUITE
root, build, what, *rest = sys.argv[1:]
make = tempfile.mkdtemp
def mkdtemp(*args, **kwargs):
    home = make(*args, **kwargs)
    print("home", home, flush=True)
    return home
tempfile.mkdtemp = mkdtemp
keys = [load(Path(build), {}, Runner()).repository]
publisher = Publisher(Path(root), lambda: datetime.now(UTC), timedelta(0), Runner(), Log())
print("begin", flush=True)
if what == "publish":
    publisher.publish(SUITE, [Path(rest[0])], keys, About(rest[1]))
else:
    publisher.withdraw(SUITE, [rest[0]], keys, "old")
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return load(tmp_path_factory.mktemp("build"), {}, RUNNER)


@pytest.fixture
def archive(tmp_path: Path, keys: Keys) -> Archive:
    return Archive(tmp_path / "archive", keys)


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on loopback, as any web server would, and give its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Clients:
    """What has been done by all clients, and what went wrong."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    progress: threading.Condition = field(default_factory=threading.Condition)

    def loop(self, apt: Apt, loops: int) -> None:
        """Update, choose the newest and the oldest version, download both; again and again."""
        for n in range(loops):
            if n % 2:  # as a client that sees the repository for the first time
                shutil.rmtree(apt.folder / "state/lists")
                (apt.folder / "state/lists/partial").mkdir(parents=True)
            self.once(apt)
            with self.progress:
                self.done += 1
                self.progress.notify_all()

    def once(self, apt: Apt) -> None:
        """Do it once, and note what fails."""
        updated = apt.update()
        table = apt.run("apt-cache", "madison", "hello").text.splitlines()
        versions = [line.split("|")[1].strip() for line in table]
        chosen = sorted({f"hello={versions[0]}", f"hello={versions[-1]}"}) if versions else []
        fetched = apt.run("apt-get", "download", *chosen)
        for result in (updated, fetched):
            if result.returncode != 0 or not chosen:
                self.failures.append(result.stderr.decode() or "no version at all")
        for path in apt.folder.glob("*.deb"):
            path.unlink()


def test_no_client_sees_a_publication_happen(archive: Archive, tmp_path: Path) -> None:
    debs = [make_deb(tmp_path, "hello", f"1.{n}") for n in range(PUBLICATIONS + 1)]
    archive.publish(debs[0])
    clients = Clients()
    with served(archive.root) as address:
        apts = [
            make_apt(tmp_path / "file", archive.root),
            make_apt(tmp_path / "http", archive.root, uri=address),
        ]
        threads = [
            threading.Thread(target=clients.loop, args=(apt, LOOPS // len(apts))) for apt in apts
        ]
        for thread in threads:
            thread.start()
        for n, deb in enumerate(debs[1:]):
            with clients.progress:
                clients.progress.wait_for(
                    lambda n=n: clients.done >= n * (LOOPS - 10) / PUBLICATIONS  # type: ignore[misc]
                )
            archive.publish(deb)
        for thread in threads:
            thread.join()
    assert clients.done == LOOPS
    assert clients.failures == []
    assert Tree(archive.root).live(SUITE.name) == PUBLICATIONS + 1


def test_two_publications_of_one_second_are_both_seen_over_http(
    archive: Archive, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    archive.publish(make_deb(tmp_path, "hello", "1"), now=now)
    with served(archive.root) as address:
        apt = make_apt(tmp_path / "apt", archive.root, uri=address)
        assert apt.update().returncode == 0
        archive.publish(make_deb(tmp_path, "hello", "2"), now=now)
        assert apt.update().returncode == 0
        table = apt.run("apt-cache", "madison", "hello").text.splitlines()
        assert [line.split("|")[1].strip() for line in table] == ["2", "1"]
    # The time by which a web server tells whether a file has changed.
    times = [
        (Tree(archive.root).generation(SUITE.name, n) / name).stat().st_mtime
        for n in (1, 2)
        for name in ("InRelease", "Release", "Release.gpg")
    ]
    assert times == [int(now.timestamp())] * 3 + [int(now.timestamp()) + 1] * 3


def start(archive: Archive, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a publisher in a process of its own; it has said that it begins."""
    secret = archive.keys.repository.secret_file
    assert secret
    paths = [str(path) for path in (*map(Path, sys.path), Path.cwd()) if str(path)]
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, archive.root, secret.parent.parent, *arguments],
        env=base_environment() | {"PYTHONPATH": ":".join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    while (line := process.stdout.readline()) and line != "begin\n":
        pass
    return process


def end(process: subprocess.Popen[str], *, kill: bool) -> str:
    """Wait for a publisher, or kill it with all that it started; return what it printed."""
    if kill:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    for words in map(str.split, output.splitlines()):
        if words[0] == "home" and Path(words[1]).is_dir():  # its agent has nobody left to end it
            RUNNER.capture(["gpgconf", "--homedir", words[1], "--kill", "all"])
            shutil.rmtree(words[1], ignore_errors=True)
    assert kill or process.returncode == 0, errors
    return output


def versions(archive: Archive) -> set[str]:
    return {package.version for package in live(Tree(archive.root), SUITE.name).content.packages}


def assert_good(archive: Archive) -> None:
    examination = Examination(Tree(archive.root), datetime.now(UTC), RUNNER)
    assert [each for each in examination.examine() if each.harmful] == []


def test_a_publisher_is_killed_fifty_times(archive: Archive, tmp_path: Path) -> None:
    first = start(archive, "publish", make_deb(tmp_path, "hello", "1.0"), "1.0")
    begin = time.monotonic()
    end(first, kill=False)
    longest = time.monotonic() - begin
    kills, number, expected = 0, 0, {"1.0"}
    while kills < KILLS:
        number += 1
        version = f"1.{number}"
        oldest = min(expected, key=lambda each: int(each.partition(".")[2]))
        publish = number % 3 or len(expected) < 3
        if publish:
            deb = make_deb(tmp_path, "hello", version)
            process = start(archive, "publish", deb, version)
        else:
            process = start(archive, "withdraw", oldest)
        time.sleep(random.uniform(0, longest))  # noqa: S311  # what is tested is any moment at all
        done = "done" in end(process, kill=True)
        kills += not done
        before = expected
        expected = expected | {version} if publish else expected - {oldest}
        found = versions(archive)
        assert found == expected if done else found in (before, expected)
        expected = found
        assert_good(archive)
    # Publications of one second are dated ahead of the clock, and collected when it is there.
    last = manifest.load_all(Tree(archive.root), SUITE.name)[-1].published
    later = max(datetime.now(UTC), last + timedelta(seconds=2))
    publisher = Publisher(archive.root, lambda: later, timedelta(0), RUNNER, Log(quiet=True))
    deb = make_deb(tmp_path, "hello", "2.0")
    publisher.publish(SUITE, [deb], [archive.keys.repository], About("2.0"))
    assert versions(archive) == expected | {"2.0"}
    assert_good(archive)
    pool = {path.name.split("_")[1] for path in archive.root.glob("pool/**/*.deb")}
    assert pool == versions(archive)
    assert not list(archive.root.rglob(".tmp-*"))
    assert not Tree(archive.root).unfinished.exists()


def test_publishers_take_turns(archive: Archive, tmp_path: Path) -> None:
    wanted = [f"1.{n}" for n in range(4)]
    debs = [make_deb(tmp_path, "hello", version) for version in wanted]
    started = [start(archive, "publish", deb, v) for deb, v in zip(debs, wanted, strict=True)]
    for process in started:
        assert "done" in end(process, kill=False)
    assert versions(archive) == set(wanted)
    assert Tree(archive.root).live(SUITE.name) == len(wanted)
    assert_good(archive)


# In a file system of its own, publishes with less and less room left; argv: what is scarce.
SCARCE = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from debstack.archive.content import About
from debstack.archive.plan import live
from debstack.archive.publish import Publisher
from debstack.archive.tree import Tree
from debstack.archive.verify import Examination
from debstack.errors import ArchiveError
from debstack.keys import load
from debstack.log import Log
from debstack.process import Runner
from tests.build.archive import SUITE, make_deb
root, build, scarce, work = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
keys, tree = [load(build, {}, Runner()).repository], Tree(root / "apt")

debs = {}

def publish(version):
    deb = debs.get(version) or debs.setdefault(version, make_deb(work, "hello", version))
    now = datetime.now(UTC)
    publisher = Publisher(tree.root, lambda: now, timedelta(0), Runner(), Log(quiet=True))
    publisher.publish(SUITE, [deb], keys, About(version))

def offered():
    return [package.version for package in live(tree, SUITE.name).content.packages]

def room():
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize // 4096 if scarce == "size" else status.f_ffree

publish("1.0")
failed = 0
for left in (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 40):
    fill = root / "fill"
    fill.mkdir()
    taken = room() - left
    for n in range(taken if scarce == "nr_inodes" else 1):
        (fill / str(n)).write_bytes(b"" if scarce == "nr_inodes" else bytes(4096 * taken))
    before, free = offered(), room()
    try:
        publish(f"1.{left + 1}")
        assert offered() == [*before, f"1.{left + 1}"]
    except ArchiveError as error:
        failed += 1
        assert "No space left" in error.message, error.message
        assert "as it was; make room" in error.hint, error.hint
        assert offered() == before
        assert room() >= free, "what could not be published keeps its room"
        assert not [*tree.root.rglob(".tmp-*")]
    examination = Examination(tree, datetime.now(UTC), Runner())
    assert [each for each in examination.examine() if each.harmful] == []
    for path in fill.iterdir():
        path.unlink()
    fill.rmdir()
    if offered()[-1] != f"1.{left + 1}":
        publish(f"1.{left + 1}")
print("failed", failed)
"""


@pytest.mark.parametrize(("scarce", "amount"), [("size", "1M"), ("nr_inodes", "200")])
def test_a_full_disk_leaves_the_old_archive(
    tmp_path: Path, keys: Keys, scarce: str, amount: str
) -> None:
    secret = keys.repository.secret_file
    assert secret
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o {scarce}={amount} tmpfs {tmp_path}/disk"
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if RUNNER.capture([*namespace, "sh", "-c", mount], check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    script = f'{mount} && exec "$@"'
    paths = [str(path) for path in (*map(Path, sys.path), Path.cwd()) if str(path)]
    program = [sys.executable, "-c", SCARCE, tmp_path / "disk", secret.parent.parent, scarce]
    result = RUNNER.capture(
        [*namespace, "sh", "-c", script, "sh", *map(str, program), str(tmp_path / "work")],
        env=base_environment() | {"PYTHONPATH": ":".join(paths)},
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    failed = int(result.text.split()[-1])
    assert 3 <= failed < 14, "the disk was never, or always full"
