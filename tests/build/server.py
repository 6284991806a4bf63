"""Servers on the loopback for tests: an index of Python distributions, a service of advisories."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_JSON = "application/vnd.pypi.simple.v1+json"
_SOME_DAY = "2026-01-15T12:00:00Z"

BACKEND = '''
"""A build backend of one file: the wheel holds the modules beside pyproject.toml."""
import base64, hashlib, os, pathlib, time, tomllib, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    stem = f"{name.replace('-', '_')}-{version}"
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))[:6]
    needs = "".join(f"Requires-Dist: {each}\\n" for each in project.get("dependencies", ()))
    files = {path.name: path.read_bytes() for path in sorted(pathlib.Path(".").glob("*.py"))}
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{needs}"
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\\n")
    files[f"{info}/RECORD"] = ("".join(lines) + f"{info}/RECORD,,\\n").encode()
    filename = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, filename), "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, max(moment, (1980, 1, 1, 0, 0, 0))), content)
    return filename
'''


@dataclass(frozen=True)
class File:
    """A file of the index; ``yanked`` is the reason if it was withdrawn."""

    name: str
    content: bytes
    yanked: str | bool = False
    uploaded: str | None = _SOME_DAY

    @property
    def sha256(self) -> str:
        """The digest that the index gives."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def project(self) -> str:
        """The normalised name of what it is a file of."""
        return self.name.rpartition("-")[0].partition("-")[0].replace("_", "-").lower()


def wheel(
    name: str, version: str, modules: Mapping[str, str] | None = None, *, requires: str = "",
    **values: Any,
) -> File:  # fmt: skip
    """Return a wheel of ``modules``, the same bits each time."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = dict(modules or {f"{name.replace('-', '_')}.py": f"VERSION = '{version}'\n"})
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(text.encode())}\n")
    files[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)
    return File(f"{stem}-py3-none-any.whl", stream.getvalue(), **values)


def sdist(
    name: str, version: str, files: Mapping[str, str] | None = None, *,
    requires: str = "tiny-backend", backend: str = "tiny_backend", **values: Any,
) -> File:  # fmt: skip
    """Return a source distribution that ``backend`` builds."""
    pyproject = (
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
    )
    contents = {"pyproject.toml": pyproject, f"{name.replace('-', '_')}.py": "X = 1\n"}
    contents |= {"PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in (contents | dict(files or {})).items():
            info = tarfile.TarInfo(f"{name.replace('-', '_')}-{version}/{path}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return File(f"{name.replace('-', '_')}-{version}.tar.gz", stream.getvalue(), **values)


def backend(version: str = "1.0") -> File:
    """Return the wheel of the backend that ``sdist`` is built with."""
    return wheel("tiny-backend", version, {"tiny_backend.py": BACKEND})


@dataclass
class Index:
    """An index of ``files``, which a test may change at any time; ``asked`` are the paths."""

    address: str
    files: list[File] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    # What is served under a name though the index gives the digest of another content.
    replaced: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        """What makes pip and uv ask this index and nothing else."""
        simple = f"{self.address}/simple/"
        return {
            "PIP_INDEX_URL": simple, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "",
            "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0", "UV_DEFAULT_INDEX": simple,
            "UV_NO_CONFIG": "1", "UV_INDEX": "", "UV_FIND_LINKS": "", "UV_NO_CACHE": "1",
            "PIP_NO_CACHE_DIR": "1", "UV_HTTP_RETRIES": "0",
        }  # fmt: skip

    def page(self, project: str) -> dict[str, Any] | None:
        """Return what PEP 691 says of a project."""
        files = [each for each in self.files if each.project == project]
        if not files:
            return None
        return {
            "meta": {"api-version": "1.1"}, "name": project,
            "versions": [],
            "files": [
                {"filename": each.name, "url": f"{self.address}/files/{each.name}",
                 "hashes": {"sha256": each.sha256}, "size": len(each.content),
                 "yanked": each.yanked,
                 **({"upload-time": each.uploaded} if each.uploaded else {})}
                for each in files
            ],
        }  # fmt: skip

    def answer(self, path: str, _body: bytes) -> tuple[int, str, bytes]:
        """Return status, content type and content of a path."""
        self.asked.append(path)
        kind, _, name = path.strip("/").partition("/")
        if kind == "files" and name not in self.gone:
            content = self.replaced.get(name) or next(
                (each.content for each in self.files if each.name == name), None
            )
            if content is not None:
                return 200, "application/octet-stream", content
        page = self.page(name) if kind == "simple" else None
        if page is None:
            return 404, "text/plain", b"not found"
        return 200, _JSON, json.dumps(page).encode()


@contextmanager
def serving(answering: Any) -> Iterator[str]:
    """Serve what ``answering(path, body)`` returns on the loopback and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body: bytes) -> None:
            status, kind, content = answering(self.path.partition("?")[0], body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def index(*files: File) -> Iterator[Index]:
    """Serve an index of ``files``."""
    made = Index("", list(files))
    with serving(made.answer) as address:
        made.address = address
        yield made
