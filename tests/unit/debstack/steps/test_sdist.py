"""Source distributions: found on the pages of an index, proven, and unpacked with suspicion."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.unit.debstack.steps.rude_server import RUDE, rude_server

from debstack.errors import DependencyError
from debstack.model.requirements import Sdist
from debstack.steps import sdist as module
from debstack.steps.sdist import fetch_sdist, place, unpack_sdist

CONTENT = b"the source"
FILE = "Foo_Bar-1.0.tar.gz"
SDIST = Sdist("foo-bar", "1.0", FILE, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
PAGE = "https://index.example.org/simple/foo-bar/"


def html(attributes: str = "") -> tuple[str, bytes]:
    link = f'<a href="../../files/{FILE}#sha256=0"{attributes}>{FILE}</a>'
    return "text/html", f"<html><a name='x'>x</a>{link}</html>".encode()


def document(**values: object) -> tuple[str, bytes]:
    file = {"filename": FILE, "url": f"/files/{FILE}", "yanked": False} | values
    return "application/vnd.pypi.simple.v1+json", json.dumps({"files": [file]}).encode()


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, bytes]]:
    """Serve pages by address."""
    served = {f"https://index.example.org/files/{FILE}": ("", CONTENT)}
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org/simple/")
    monkeypatch.setattr(module, "_get", lambda _, address: served[address])
    return served


@pytest.mark.parametrize("page", [html(), document()])
def test_both_kinds_of_pages_are_read(
    pages: dict[str, tuple[str, bytes]], tmp_path: Path, page: tuple[str, bytes]
) -> None:
    pages[PAGE] = page
    file = fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert (file, file.read_bytes()) == (place(tmp_path, SDIST), CONTENT)
    pages.clear()
    assert fetch_sdist("web", SDIST, tmp_path, offline=True) == file
    file.write_bytes(b"evil")
    with pytest.raises(DependencyError, match="expected sha256"):
        fetch_sdist("web", SDIST, tmp_path, offline=True)


@pytest.mark.parametrize(
    "page",
    [html(' data-yanked="leaks"'), html(" data-yanked"), document(yanked="leaks"),
     document(yanked=True)],
)  # fmt: skip
def test_what_was_withdrawn_is_refused(
    pages: dict[str, tuple[str, bytes]], tmp_path: Path, page: tuple[str, bytes]
) -> None:
    pages[PAGE] = page
    with pytest.raises(DependencyError, match="withdrawn") as caught:
        fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert caught.value.hint == "run: debstack lock --upgrade foo-bar"
    assert caught.value.details[0] in ("leaks", "no reason given")


def test_what_is_gone_or_replaced_or_no_page_is_told(
    pages: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    for page, said in (
        (document(filename="other-1.0.tar.gz"), "is gone from the index"),
        (("application/json", b"[]"), "is not a page of an index"),
    ):
        pages[PAGE] = page
        with pytest.raises(DependencyError, match=said):
            fetch_sdist("web", SDIST, tmp_path, offline=False)
    pages[PAGE] = document()
    pages[f"https://index.example.org/files/{FILE}"] = ("", b"evil")
    with pytest.raises(DependencyError, match="another hash"):
        fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert not place(tmp_path, SDIST).exists()
    with pytest.raises(DependencyError, match="is not in"):
        fetch_sdist("web", SDIST, tmp_path, offline=True)


@contextmanager
def redirecting(to: str, asked: list[tuple[str, str]]) -> Iterator[str]:
    """Give the address of an index that leads from /simple to ``to``, where it answers."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            is_first = self.path == "/simple/foo-bar/"
            self.send_response(302 if is_first else 404)
            if is_first:
                self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_only_the_index_gets_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    given = "Basic " + base64.b64encode(b"me:p@ss").decode()
    asked: list[tuple[str, str]] = []
    with redirecting("/", asked) as other, redirecting(f"http://{other}/files/", asked) as index:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{index}/simple")
        with pytest.raises(DependencyError, match="cannot be had"):
            fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert asked == [("/simple/foo-bar/", given), ("/files/", "")]
    asked.clear()
    with redirecting("/pages/foo-bar/", asked) as index:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{index}/simple")
        with pytest.raises(DependencyError, match="cannot be had"):
            fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert asked == [("/simple/foo-bar/", given), ("/pages/foo-bar/", given)]


def archive(folder: Path, *members: tarfile.TarInfo) -> Path:
    file = folder / "x.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


def test_a_project_is_unpacked(tmp_path: Path) -> None:
    file = archive(tmp_path, member("foo-1.0", tarfile.DIRTYPE), member("foo-1.0/a/setup.py"))
    project = unpack_sdist(file, tmp_path / "out")
    assert (project / "a/setup.py").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../evil"), "outside of itself"),
        (member("/evil"), "outside of itself"),
        (member("foo-1.0/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (member("foo-1.0/link", tarfile.LNKTYPE, "foo-1.0/a"), "a link or a device"),
        (member("foo-1.0/tty", tarfile.CHRTYPE), "a link or a device"),
        (member("bar-1.0/setup.py"), "does not hold one folder"),
    ],
)
def test_what_would_leave_its_folder_is_refused(
    tmp_path: Path, bad: tarfile.TarInfo, said: str
) -> None:
    with pytest.raises(DependencyError, match=said):
        unpack_sdist(archive(tmp_path, member("foo-1.0/a"), bad), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(DependencyError, match="cannot be unpacked"):
        unpack_sdist(tmp_path / "x.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("answer", RUDE)
def test_an_index_that_breaks_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with rude_server(answer) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        with pytest.raises(DependencyError, match="cannot be had") as caught:
            fetch_sdist("web", SDIST, tmp_path, offline=False)
    assert "UV_DEFAULT_INDEX" in caught.value.hint
