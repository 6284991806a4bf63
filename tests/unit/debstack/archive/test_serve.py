"""What the bench's server gives, and what it keeps to itself."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest

from debstack.archive.serve import CHANGING, IMMUTABLE, Server, Span, find, sources_line, span_of
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError
from debstack.log import Log

CHANGED = 1_700_000_000
STAMP = "Tue, 14 Nov 2023 22:13:20 GMT"
DEB = b"0123456789"
BY_HASH = "dists/bookworm/main/binary-amd64/by-hash/SHA256/abc"
LOG = Log(StringIO())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "apt"
    for name, content in {
        "index.html": b"<p>",
        "pool/main/h/hello.deb": DEB,
        ".gen/.lock": b"",
        ".gen/bookworm/2/InRelease": b"signed",
        ".gen/bookworm/2/main/binary-amd64/by-hash/SHA256/abc": b"index",
        "documents/a b.json": b"{}",
        "documents/empty.txt": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (CHANGED, CHANGED))
    (root / "dists").mkdir()
    (root / "dists/bookworm").symlink_to("../.gen/bookworm/2")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "apt-not").mkdir()
    (tmp_path / "apt-not/file").write_text("secret")
    return root


@contextmanager
def running(root: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    with Server(Tree(root), host, 0, LOG) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.server_address[1])))


@pytest.fixture
def client(root: Path) -> Iterator[http.client.HTTPConnection]:
    with running(root) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.server_address[1]))
        yield connection
        connection.close()


def ask(
    client: http.client.HTTPConnection, target: str, method: str = "GET", **fields: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    client.request(method, target, headers=named)
    answer = client.getresponse()
    return answer.status, answer.read(), answer.headers


@pytest.mark.parametrize(
    ("target", "content", "kind", "caching"),
    [
        ("/", b"<p>", "text/html; charset=utf-8", CHANGING),
        ("/index.html?x=/.gen", b"<p>", "text/html; charset=utf-8", CHANGING),
        ("/pool/main/h/hello.deb", DEB, "application/vnd.debian.binary-package", IMMUTABLE),
        ("//pool//main/h/hello%2edeb", DEB, "application/vnd.debian.binary-package", IMMUTABLE),
        ("/dists/bookworm/InRelease", b"signed", "text/plain; charset=utf-8", CHANGING),
        (f"/{BY_HASH}", b"index", "application/octet-stream", IMMUTABLE),
        ("/documents/a%20b.json", b"{}", "application/json", CHANGING),
        ("/documents/empty.txt", b"", "text/plain; charset=utf-8", CHANGING),
        ("http://apt.example.org/index.html", b"<p>", "text/html; charset=utf-8", CHANGING),
    ],
)
def test_a_file_is_served_with_its_type_and_how_long_it_lasts(
    client: http.client.HTTPConnection, target: str, content: bytes, kind: str, caching: str
) -> None:
    for method in ("GET", "HEAD"):
        code, body, fields = ask(client, target, method)
        assert (code, body) == (200, content if method == "GET" else b"")
        assert fields["Content-Length"] == str(len(content))
        assert (fields["Content-Type"], fields["Cache-Control"]) == (kind, caching)
        assert fields["Last-Modified"] == STAMP


@pytest.mark.parametrize(
    "target",
    [
        *("/pool", "/pool/", "/dists/", "/dists/bookworm", "/pool/none.deb", "/index.html/x"),
        *("/.gen/.lock", "/%2egen/.lock", "/.gen%2f.lock", "/dists/../.gen/.lock", "/./index.html"),
        *("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/pool/..%5csecret", "/%00", "/..;/x"),
        *("/pool/out", "/pool/neighbour", "/pool/loop", "/pool/pipe", "/pool/folder/secret"),
        *("/" + "a" * 300, "/%ff%fe"),
    ],
)
def test_everything_else_is_not_there(
    client: http.client.HTTPConnection, root: Path, target: str
) -> None:
    (root / "pool/out").symlink_to("../../secret")
    (root / "pool/neighbour").symlink_to(root.parent / "apt-not/file")
    (root / "pool/folder").symlink_to(root.parent)
    (root / "pool/loop").symlink_to("loop")
    os.mkfifo(root / "pool/pipe")
    code, body, fields = ask(client, target)
    assert (code, body) == (404, b"404 Not Found\n")
    assert fields["Cache-Control"] == CHANGING
    # On the same connection: one that asks ahead gets its other answers.
    assert ask(client, "/index.html")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE"])
def test_it_only_reads(client: http.client.HTTPConnection, root: Path, method: str) -> None:
    code, _, fields = ask(client, "/index.html", method)
    assert code == 501
    assert fields["Connection"] == "close"
    assert (root / "index.html").read_bytes() == b"<p>"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 10)),
        ("bytes=4-", Span(4, 6)),
        ("bytes=4-4", Span(4, 1)),
        ("bytes=4-99", Span(4, 6)),
        ("bytes=-3", Span(7, 3)),
        ("bytes=-99", Span(0, 10)),
        ("bytes=10-", None),
        ("bytes=-0", None),
        ("bytes=5-4", Span(0, 10)),
        ("bytes=0-1,4-5", Span(0, 10)),
        ("bytes=-", Span(0, 10)),
        ("lines=1-2", Span(0, 10)),
        ("", Span(0, 10)),
    ],
)
def test_a_range_is_some_bytes_or_all_or_none(header: str, span: Span | None) -> None:
    assert span_of(header, 10) == span


def test_a_download_goes_on_where_it_was_cut_off(client: http.client.HTTPConnection) -> None:
    target = "/pool/main/h/hello.deb"
    code, body, fields = ask(client, target, Range="bytes=4-", If_Range=STAMP)
    assert (code, body, fields["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    code, body, _ = ask(client, target, Range="bytes=4-", If_Range="Tue, 14 Nov 2023 22:13:21 GMT")
    assert (code, body) == (200, DEB), "another file: it has to begin again"
    code, body, fields = ask(client, target, Range="bytes=10-")
    assert (code, fields["Content-Range"]) == (416, "bytes */10")
    code, body, fields = ask(client, target, "HEAD", Range="bytes=2-5")
    assert (code, body, fields["Content-Length"]) == (206, b"", "4")


@pytest.mark.parametrize(
    ("since", "code"),
    [(STAMP, 304), ("Tue, 14 Nov 2023 22:13:21 GMT", 304), ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
     ("yesterday", 200), ("Tue, 99 Nov 2023 22:13:20 GMT", 200)],
)  # fmt: skip
def test_what_did_not_change_is_not_sent(
    client: http.client.HTTPConnection, since: str, code: int
) -> None:
    answer = ask(client, "/dists/bookworm/InRelease", If_Modified_Since=since)
    assert answer[:2] == (code, b"signed" if code == 200 else b"")


def test_requests_that_are_sent_ahead_are_all_answered(root: Path) -> None:
    wanted = ("/dists/bookworm/InRelease", "/none", "/pool/main/h/hello.deb")
    request = "".join(f"GET {each} HTTP/1.1\r\nHost: a\r\n\r\n" for each in wanted)
    with running(root) as server, connected(server) as client:
        client.sendall(request.encode())
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 ") == 3
    assert answer.endswith(DEB)


def test_what_a_client_sends_does_not_reach_the_terminal(root: Path) -> None:
    LOG.stream = StringIO()
    with running(root) as server, connected(server) as client:
        client.sendall(b"GET /\x1b[2J HTTP/1.0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 404")
    assert "\\x1b[2J" in LOG.stream.getvalue()
    assert "\x1b" not in LOG.stream.getvalue()


def test_a_file_whose_suite_moves_on_while_it_is_found_is_the_old_one(root: Path) -> None:
    found = find(root, "/dists/bookworm/InRelease")
    assert found == root.resolve() / ".gen/bookworm/2/InRelease"


def test_an_address_that_is_taken(root: Path) -> None:
    with running(root) as server, pytest.raises(ArchiveError, match="in use") as caught:
        Server(Tree(root), "127.0.0.1", int(server.server_address[1]), LOG)
    assert "--port 0" in caught.value.hint


def test_the_line_for_apt(root: Path) -> None:
    with running(root) as server:
        assert server.address == f"http://127.0.0.1:{server.server_address[1]}"
        assert sources_line(Tree(root), "bookworm", server.address) == (
            f"deb [signed-by={root}/dists/bookworm/archive-keyring.gpg]"
            f" {server.address} bookworm main"
        )


def test_an_address_of_ipv6_is_written_in_brackets(root: Path) -> None:
    try:
        with running(root, "::1") as server:
            assert server.address.startswith("http://[::1]:")
    except ArchiveError as error:
        pytest.skip(error.message)


def test_an_address_that_never_ends_means_no_file(tmp_path: Path) -> None:
    assert find(tmp_path, "http://[/x") is None
