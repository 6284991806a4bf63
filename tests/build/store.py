"""An object store in a local directory: as much of S3 as rclone asks for, and no more.

A local directory alone would not do: there rclone empties a file and then writes it again, while an
object is the old one until it is the new one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "archive"
KEPT = ("content-type", "cache-control")


@dataclass
class Store:
    """The objects of a bucket, files in ``folder``, and every change that was asked for, in order.

    ``before`` is called with each change before it is made, e.g. ``PUT index.html``.
    """

    folder: Path
    changes: list[str] = field(default_factory=list)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None
    address: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, key: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Write an object: nobody sees a part of it."""
        with self._changing(f"PUT {key}"):
            path = self.folder / "objects" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / "coming"
            temporary.write_bytes(content)
            self.headers[key] = headers
            temporary.replace(path)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._changing(f"DELETE {key}"):
            (self.folder / "objects" / key).unlink(missing_ok=True)

    def content(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""
        path = self.folder / "objects" / key
        return path.read_bytes() if path.is_file() else None

    def names(self) -> list[str]:
        """Return the names of all objects."""
        base = self.folder / "objects"
        return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())

    @contextmanager
    def _changing(self, change: str) -> Iterator[None]:
        with self._lock:
            self.before(change)
            self.changes.append(change)
            yield

    @property
    def remote(self) -> str:
        """What rclone calls it."""
        return f"store:{BUCKET}"

    @property
    def environment(self) -> dict[str, str]:
        """The configuration of rclone that knows it."""
        settings = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": self.address, "ACCESS_KEY_ID": "key",
            "SECRET_ACCESS_KEY": "secret", "NO_CHECK_BUCKET": "true",
        }  # fmt: skip
        return {f"RCLONE_CONFIG_STORE_{name}": value for name, value in settings.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[Store]

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").strip("/")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if "x-amz-copy-source" in self.headers:  # by which rclone changes a time
            self._answer(HTTPStatus.NOT_IMPLEMENTED, b"", {})
            return
        own = {name.lower(): value for name, value in self.headers.items()}
        kept = {k: v for k, v in own.items() if k in KEPT or k.startswith("x-amz-meta-")}
        self.store.put(self.key, content, kept)
        self._answer(HTTPStatus.OK, b"", {"ETag": _tag(content)})

    def do_DELETE(self) -> None:
        self.store.delete(self.key)
        self._answer(HTTPStatus.NO_CONTENT, b"", {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self.key:
            self._list(parse_qs(urlsplit(self.path).query))
            return
        content = self.store.content(self.key)
        if content is None:
            self._answer(HTTPStatus.NOT_FOUND, b"", {})
            return
        about = {"ETag": _tag(content), "Last-Modified": formatdate(usegmt=True)}
        self._answer(HTTPStatus.OK, content, about | dict(self.store.headers[self.key]))

    def _list(self, query: Mapping[str, list[str]]) -> None:
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        entries, folders = [], set()
        for key in self.store.names():
            if not key.startswith(prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            elif (content := self.store.content(key)) is not None:
                entries.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
                    f"<ETag>{escape(_tag(content))}</ETag>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )
        common = (
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>"
            for each in sorted(folders)
        )
        text = (
            f'<?xml version="1.0"?><ListBucketResult><Name>{BUCKET}</Name>'
            f"<IsTruncated>false</IsTruncated>{''.join([*entries, *common])}</ListBucketResult>"
        )
        self._answer(HTTPStatus.OK, text.encode(), {"Content-Type": "application/xml"})

    def _answer(self, code: HTTPStatus, content: bytes, fields: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in fields.items():
            self.send_header(name, value)
        if code != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@contextmanager
def running(folder: Path) -> Iterator[Store]:
    """Run a store that keeps its objects in ``folder``/objects."""
    (folder / "objects").mkdir(parents=True)
    store = Store(folder)
    handler = type("_Bound", (_Handler,), {"store": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        store.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
