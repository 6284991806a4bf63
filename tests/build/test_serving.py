"""What docs/serving.md says of servers, shown with each of them: to apt, and request by request."""

from __future__ import annotations

import http.client
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.build import servers
from tests.build.archive import RUNNER, SUITE, Archive, make_apt, make_deb

from debstack.keys import load

pytestmark = pytest.mark.build
FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("project")
    archive = Archive(folder / "dist/apt", load(folder / "build", {}, RUNNER))
    for version in ("1", "2"):
        archive.publish(make_deb(folder, "hello", version))
    (archive.root / "index.html").write_text("<p>the page</p>")
    return archive


@dataclass(frozen=True)
class Site:
    """A server that runs, and what it wrote to its log."""

    address: str
    log: Path

    def ask(
        self, path: str, method: str = "GET", **fields: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Send one request and return code, body and headers of the answer."""
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"))
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        try:
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()


@pytest.fixture(scope="module", params=servers.SERVERS)
def site(
    request: pytest.FixtureRequest, archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp(request.param)
    with servers.SERVERS[request.param](archive.root, folder) as address:
        yield Site(address, folder / "log")


def deb_of(archive: Archive) -> Path:
    (found,) = archive.root.glob("pool/main/h/hello/hello_2_*.deb")
    return found


def by_hash_of(archive: Archive) -> str:
    found = archive.live("main/binary-amd64/by-hash/SHA256")
    return f"/dists/{SUITE.name}/main/binary-amd64/by-hash/SHA256/{next(found.iterdir()).name}"


def test_apt_updates_and_downloads(archive: Archive, site: Site, tmp_path: Path) -> None:
    apt = make_apt(tmp_path, archive.root, uri=site.address)
    assert apt.update().returncode == 0
    again = apt.update()
    assert again.returncode == 0
    assert f"Hit:1 {site.address} {SUITE.name} InRelease" in again.text
    for version in ("1", "2"):
        assert apt.run("apt-get", "download", f"hello={version}").returncode == 0
    got = (tmp_path / deb_of(archive).name).read_bytes()
    assert got == deb_of(archive).read_bytes()


def test_apt_goes_on_with_what_was_cut_off(archive: Archive, site: Site, tmp_path: Path) -> None:
    apt = make_apt(tmp_path, archive.root, uri=site.address)
    assert apt.update().returncode == 0
    deb = deb_of(archive)
    content, changed = deb.read_bytes(), deb.stat().st_mtime
    partial = tmp_path / "cache/archives/partial" / deb.name
    partial.write_bytes(content[:100])
    os.utime(partial, (int(changed), int(changed)))
    options = ("--yes", "--download-only", "-o", "Debug::Acquire::http=true")
    done = apt.run("apt-get", "install", *options, "hello")
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).decode()
    assert "Range: bytes=100-" in said
    assert "206 Partial Content" in said
    assert (tmp_path / "cache/archives" / deb.name).read_bytes() == content


def test_what_never_changes_may_be_kept(archive: Archive, site: Site) -> None:
    for path in (f"/{deb_of(archive).relative_to(archive.root)}", by_hash_of(archive)):
        code, body, fields = site.ask(path)
        assert (code, fields.get_all("Cache-Control")) == (200, [FOREVER]), path
        assert len(body) == int(fields["Content-Length"])
        assert "Content-Encoding" not in fields


def test_what_changes_is_asked_for_again(archive: Archive, site: Site) -> None:
    names = ("InRelease", "Release", "Release.gpg", "main/binary-amd64/Packages.gz")
    for path in ("/", "/index.html", *(f"/dists/{SUITE.name}/{name}" for name in names)):
        code, _, fields = site.ask(path)
        assert (code, fields.get_all("Cache-Control")) == (200, ["no-cache"]), path
    stat = archive.live("InRelease").stat()
    stamp = formatdate(int(stat.st_mtime), usegmt=True)
    path = f"/dists/{SUITE.name}/InRelease"
    assert site.ask(path, If_Modified_Since=stamp)[0] == 304
    earlier = formatdate(int(stat.st_mtime) - 1, usegmt=True)
    assert site.ask(path, If_Modified_Since=earlier)[0] == 200


def test_what_is_missing_is_not_remembered(site: Site) -> None:
    for path in ("/pool/none.deb", by_hash_path("0" * 64), "/dists/none/InRelease"):
        code, _, fields = site.ask(path)
        assert code == 404, path
        assert "immutable" not in fields.get("Cache-Control", "")


def by_hash_path(digest: str) -> str:
    return f"/dists/{SUITE.name}/main/binary-amd64/by-hash/SHA256/{digest}"


@pytest.mark.parametrize(
    "path",
    [
        *("/.gen/.lock", "/.gen/bookworm-staging/1/InRelease", "/%2egen/.lock", "/%2Egen%2F.lock"),
        *("/pool/.tmp-hello.deb", "/dists/.tmp-bookworm-staging/InRelease", "/pool/../.gen/.lock"),
        *("/../../build/keys", "/%2e%2e/%2e%2e/packaging"),
    ],
)
def test_names_with_a_dot_are_nobodys_business(archive: Archive, site: Site, path: str) -> None:
    (archive.root / "pool/.tmp-hello.deb").write_text("half")
    link = archive.root / "dists" / f".tmp-{SUITE.name}"
    if not link.is_symlink():
        link.symlink_to(f"../.gen/{SUITE.name}/1")
    assert (archive.root / ".gen/.lock").exists()
    code, body, _ = site.ask(path)
    assert code in (400, 404), body


@pytest.mark.parametrize("path", ["/pool/", "/pool/main/h/hello/", "/dists/", "/dists"])
def test_folders_are_not_listed(site: Site, path: str) -> None:
    code, body, _ = site.ask(path)
    assert code in (301, 308, 403, 404)
    assert b"hello_" not in body
    assert SUITE.name.encode() not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(archive: Archive, site: Site, method: str) -> None:
    assert site.ask("/index.html", method)[0] in (405, 501)
    assert (archive.root / "index.html").read_text() == "<p>the page</p>"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_debstack_serve_says_where_it_is_and_ends_when_told(
    archive: Archive, tmp_path: Path, sign: signal.Signals
) -> None:
    # In the background of a shell the tests are started with a SIGINT that is ignored.
    command = ["env", "--default-signal=INT", *servers.command_of_debstack(archive.root)]
    with servers.started(command, tmp_path) as process:
        assert process.stdout
        first, line = process.stdout.readline(), process.stdout.readline()
        address = first.split()[-1].rstrip("/")
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", address)
        apt = make_apt(tmp_path / "apt", archive.root)
        (apt.folder / "etc/sources.list.d/example.sources").unlink()
        (apt.folder / "etc/sources.list.d/example.list").write_text(line)
        assert apt.update().returncode == 0
        assert f"{address} {SUITE.name} InRelease" in apt.update().text
        process.send_signal(sign)
        assert process.wait(timeout=30) == 0
    said = (tmp_path / "log").read_text()
    assert "by-hash/SHA256/" in said
    assert said.splitlines()[-1].split() == ["serve", "ended"]
    assert "Traceback" not in said


def test_without_an_archive_there_is_nothing_to_serve(tmp_path: Path) -> None:
    command = servers.command_of_debstack(tmp_path / "dist/apt")
    with servers.started(command, tmp_path) as process:
        assert process.wait(timeout=30) == 11
    assert "next: debstack publish" in (tmp_path / "log").read_text()
