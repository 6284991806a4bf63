"""Source distributions: fetched from the index by name and hash, without running what is in them.

pip would run a source distribution's build to download it, with build requirements that nobody
locked. So the pages of the index are read here (PEP 503 and 691), with the addresses that pip and
uv are configured with by their variables.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from http.client import HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import Request

from debstack.digest import sha256_of
from debstack.errors import DependencyError
from debstack.model.requirements import Sdist

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PYPI = "https://pypi.org/simple"
_SECONDS = 60
_DO_NOT_USE = "serve a wheel of it from an index of your own, or do without it"


def place(cache: Path, sdist: Sdist) -> Path:
    """Return where the cache keeps ``sdist``."""
    return cache / "sdists" / sdist.sha256 / sdist.filename


def fetch_sdist(subject: str, sdist: Sdist, cache: Path, *, offline: bool) -> Path:
    """Return the file of ``sdist``, proven; ``subject`` is whose dependency it is.

    Raises DependencyError if it cannot be had, was withdrawn, or is not the one with that hash.
    """
    file = place(cache, sdist)
    if not file.is_file():
        if offline:
            raise DependencyError(
                f"{subject}: {sdist.filename} is not in {cache}",
                hint="run `debstack fetch` where the index can be reached",
            )
        _download(subject, sdist, file)
    got = sha256_of(file)
    if got != sdist.sha256:
        raise DependencyError(
            f"{subject}: {file}: expected sha256 {sdist.sha256}, got {got}",
            hint="find out who changed it; then remove the file and fetch again",
        )
    return file


def unpack_sdist(file: Path, folder: Path) -> Path:
    """Unpack a source distribution below ``folder`` and return the folder of its project.

    Only plain files and folders below one top folder are taken. Raises DependencyError.
    """
    try:
        with tarfile.open(file, "r:gz") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise DependencyError(
                        f"{file.name} holds a file outside of itself: {path}", hint=_DO_NOT_USE
                    )
                target = folder / path
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                elif member.isreg():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source = archive.extractfile(member)
                    target.write_bytes(source.read() if source else b"")
                    target.chmod(0o755 if member.mode & 0o100 else 0o644)
                else:
                    raise DependencyError(
                        f"{file.name} holds a link or a device: {path}", hint=_DO_NOT_USE
                    )
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DependencyError(
            f"{file.name} cannot be unpacked: {error}", hint=_DO_NOT_USE
        ) from error
    projects = [each for each in folder.iterdir() if each.is_dir()]
    if len(projects) != 1:
        raise DependencyError(
            f"{file.name} does not hold one folder with a project", hint=_DO_NOT_USE
        )
    return projects[0]


def _download(subject: str, sdist: Sdist, file: Path) -> None:
    where = [os.environ[name] for name in _VARIABLES if os.environ.get(name)][:1] or [_PYPI]
    page = f"{where[0].rstrip('/')}/{sdist.name}/"
    links = dict(_links(subject, page))
    address, yanked = links.get(sdist.filename, ("", None))
    if not address:
        raise DependencyError(
            f"{subject}: {sdist.name} {sdist.version}: {sdist.filename} is gone from the index",
            hint=f"run: debstack lock --upgrade {sdist.name}",
            details=[f"looked at {_shown(page)}"],
        )
    if yanked is not None:
        raise DependencyError(
            f"{subject}: {sdist.name} {sdist.version}: withdrawn (yanked) by its authors",
            hint=f"run: debstack lock --upgrade {sdist.name}",
            details=[yanked or "no reason given"],
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=file.parent) as folder:
        new = Path(folder) / file.name
        new.write_bytes(_get(subject, address)[1])
        got = sha256_of(new)
        if got != sdist.sha256:
            raise DependencyError(
                f"{subject}: {sdist.name} {sdist.version}: the index serves a file with another"
                " hash",
                hint="do not use that file; ask who runs the index",
                details=[f"{sdist.filename}: expected sha256 {sdist.sha256}, got {got}"],
            )
        new.chmod(0o644)
        new.replace(file)


def _links(subject: str, page: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield file name, and address and reason of a withdrawal, of all files on a page."""
    kind, content = _get(subject, page)
    if "json" in kind:
        try:
            for each in json.loads(content)["files"]:
                yanked = each.get("yanked", False)
                reason = None if yanked is False else "" if yanked is True else str(yanked)
                yield each["filename"], (urljoin(page, each["url"]), reason)
        except (ValueError, KeyError, TypeError) as error:
            raise DependencyError(
                f"{subject}: {_shown(page)} is not a page of an index: {error!r}",
                hint="check UV_DEFAULT_INDEX and PIP_INDEX_URL",
            ) from error
        return
    parser = _Anchors()
    parser.feed(content.decode("utf-8", "replace"))
    for href, yanked_reason in parser.found:
        address = urljoin(page, urldefrag(href).url)
        yield PurePosixPath(unquote(urlsplit(address).path)).name, (address, yanked_reason)


class _Anchors(HTMLParser):
    """Collects the links of a page, and what data-yanked says beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            reason = values["data-yanked"] or "" if "data-yanked" in values else None
            self.found.append((str(values["href"]), reason))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows an index to where its files are; only the index itself gets the password again."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        given = req.unredirected_hdrs.get("Authorization")
        # Not the host of the request, which is the proxy's where there is one.
        if new and given and _server(newurl) == _server(req.full_url):
            new.add_unredirected_header("Authorization", given)
        return new


def _server(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _get(subject: str, address: str) -> tuple[str, bytes]:
    """Return content type and content of an address of the index."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https", "file"):
        raise DependencyError(
            f"{subject}: {_shown(address)} is not an address of an index",
            hint="check UV_DEFAULT_INDEX and PIP_INDEX_URL",
        )
    headers = {"Accept": _ACCEPT, "User-Agent": "debstack"}
    request = Request(_shown(address), headers=headers)  # noqa: S310  (checked above)
    if parts.username:
        given = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        basic = f"Basic {base64.b64encode(given).decode()}"
        request.add_unredirected_header("Authorization", basic)
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=_SECONDS) as answer:
            return answer.headers.get("Content-Type", ""), answer.read()
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise DependencyError(
            f"{subject}: {_shown(address)} cannot be had: {str(error) or repr(error)}",
            hint="check the network and UV_DEFAULT_INDEX or PIP_INDEX_URL",
        ) from error


def _shown(address: str) -> str:
    """Return an address without the name and password in it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
