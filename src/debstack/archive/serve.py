"""Serve the archive over HTTP for the bench: read-only, and nothing but what a client asks for.

http.server's own handler lists folders, follows links out of the tree, shows names with a dot, and
knows no ranges, by which apt goes on with a download that was cut off.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import IO, ClassVar
from urllib.parse import unquote, urlsplit

from debstack.archive.tree import Tree
from debstack.errors import ArchiveError
from debstack.log import Log

IMMUTABLE, CHANGING = "public, max-age=31536000, immutable", "no-cache"
_OTHER = "application/octet-stream"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".deb": "application/vnd.debian.binary-package",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".xz": "application/x-xz",
    "InRelease": "text/plain; charset=utf-8",
    "Release": "text/plain; charset=utf-8",
}
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_NEVER_CHANGES = re.compile(r"/pool/|/dists/.*/by-hash/")


@dataclass(frozen=True)
class Span:
    """The bytes of a file to send: the first one, and how many."""

    first: int
    count: int


def find(root: Path, target: str) -> Path | None:
    """Return the file that the target of a request means, None for one that is not to be seen.

    Not seen are names that begin with a dot, folders without an index.html, and what a link leads
    to outside of ``root``. The path returned has no links in it, so that nobody can turn one round
    while the file is read.
    """
    try:
        path = unquote(urlsplit(target).path, errors="surrogateescape")
    except ValueError:
        return None  # "http://[/" begins an address that never ends
    parts = [part for part in path.split("/") if part]
    if "\0" in path or any(part.startswith(".") for part in parts):
        return None
    if not parts or path.endswith("/"):
        parts.append("index.html")
    try:
        base = os.path.realpath(root)
        found = Path(os.path.realpath(Path(base, *parts), strict=True))
    except OSError:
        return None
    return found if found.is_relative_to(base) else None


def span_of(header: str, size: int) -> Span | None:
    """Return the part of ``size`` bytes that a Range header asks for, all if it says nothing clear.

    None means that there is no such part. Several parts at once are not offered.
    """
    asked = _RANGE.fullmatch(header.strip())
    if asked is None or not any(asked.groups()):
        return Span(0, size)
    first, last = asked.groups()
    if not first:
        count = min(int(last), size)
        return Span(size - count, count) if count else None
    if last and int(last) < int(first):
        return Span(0, size)
    end = min(int(last) + 1, size) if last else size
    return Span(int(first), end - int(first)) if int(first) < size else None


def kind_of(path: Path) -> str:
    """Return the media type of a file, by its name."""
    return _TYPES.get(path.name) or _TYPES.get(path.suffix, _OTHER)


def caching_of(target: str) -> str:
    """Return how long what a request asks for may be cached; docs/serving.md says the same."""
    return IMMUTABLE if _NEVER_CHANGES.match(urlsplit(target).path) else CHANGING


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "debstack", ""
    timeout = 60  # seconds of silence
    root: ClassVar[Path]
    log: ClassVar[Log]

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has gone, perhaps to ask for the rest later
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        # What a client sent could otherwise write to the terminal.
        self.log.say("serve", (format % args).encode("unicode_escape").decode())

    def _answer(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is no request
        path = find(self.root, self.path)
        file = _opened(path) if path else None
        if path is None or file is None:
            self._say(HTTPStatus.NOT_FOUND)
        else:
            with file:
                self._send(file, kind_of(path))

    def _send(self, file: IO[bytes], kind: str) -> None:
        status = os.fstat(file.fileno())
        changed = formatdate(int(status.st_mtime), usegmt=True)
        if self._has(int(status.st_mtime)):
            self._head(HTTPStatus.NOT_MODIFIED, {"Last-Modified": changed})
            return
        span: Span | None = Span(0, status.st_size)
        if self.headers.get("If-Range", changed) == changed:
            span = span_of(self.headers.get("Range", ""), status.st_size)
        if span is None:
            where = {"Content-Range": f"bytes */{status.st_size}"}
            self._say(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, where)
            return
        fields = {
            "Content-Type": kind,
            "Content-Length": str(span.count),
            "Last-Modified": changed,
            "Accept-Ranges": "bytes",
        }
        code = HTTPStatus.OK
        if span.count != status.st_size:
            code = HTTPStatus.PARTIAL_CONTENT
            last = span.first + span.count - 1
            fields["Content-Range"] = f"bytes {span.first}-{last}/{status.st_size}"
        self._head(code, fields)
        if self.command == "GET" and span.count:
            sent = self.connection.sendfile(file, span.first, span.count)
            self.close_connection |= sent != span.count

    def _has(self, changed: int) -> bool:
        """Return whether the client has the file as it was changed at that time (in seconds)."""
        try:
            since = parsedate_to_datetime(self.headers.get("If-Modified-Since", ""))
            return changed <= since.timestamp()
        except (ValueError, OverflowError):
            return False

    def _say(self, code: HTTPStatus, fields: dict[str, str] | None = None) -> None:
        """Answer without a file."""
        text = f"{code.value} {code.phrase}\n".encode()
        about = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        self._head(code, about | (fields or {}))
        if self.command == "GET":
            self.wfile.write(text)

    def _head(self, code: HTTPStatus, fields: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", caching_of(self.path) if code < 400 else CHANGING)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()


def _opened(path: Path) -> IO[bytes] | None:
    """Open a file, None if it is none (a folder, a pipe), or is gone, or may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


class Server(ThreadingTCPServer):
    """Serves the archive from when it is made until it is closed; one thread for each client.

    ``port`` may be 0, for any free one. Raises ArchiveError if the address cannot be used.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tree: Tree, host: str, port: int, log: Log) -> None:
        handler = type("_Bound", (_Handler,), {"root": tree.root, "log": log})
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], handler)  # type: ignore[arg-type]
        except OSError as error:
            raise ArchiveError(
                f"{host} port {port} cannot be served on: {error}",
                hint="take another port: debstack serve --port 0 finds a free one",
            ) from error

    @property
    def address(self) -> str:
        """The address of the archive, as a client writes it."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{shown}:{port}"


def sources_line(tree: Tree, suite: str, address: str) -> str:
    """Return the line of a sources.list by which apt, on this machine, uses a suite."""
    return f"deb [signed-by={tree.keyring(suite)}] {address} {suite} main"
