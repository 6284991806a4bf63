"""What is in a .deb, read once: every file's digest, and the files that speak of others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from debian.deb822 import Deb822

from debstack.accounting.bundled import is_licence_file
from debstack.accounting.tar_stream import Entry, UnreadableTarError, entries

DOC = "usr/share/doc"
_SITE_PACKAGES = re.compile(r"(usr/lib/trading/[^/]+/\.venv/lib/python[0-9.]+/site-packages)/(.+)")
_CONTROL_FILES = ("control", "md5sums", "conffiles")
_LARGEST_TEXT = 1 << 26
_MOST_TEXT = 1 << 29


@dataclass(frozen=True)
class Digest:
    """Of a file's content, in hex."""

    sha256: str
    md5: str


@dataclass(frozen=True)
class Contents:
    """A package. ``files`` are the digests of its files by path, links left out.

    ``texts`` has the files below /usr/share/doc and, of the virtual environment, the distributions'
    METADATA and RECORD and their licences. ``site_packages`` is where these lie, "" if nowhere.
    """

    fields: Mapping[str, str]
    md5sums: str
    conffiles: str
    files: Mapping[str, Digest]
    texts: Mapping[str, bytes]
    site_packages: str

    def doc(self, name: str) -> bytes | None:
        """Return a file of the package's own folder below /usr/share/doc."""
        return self.texts.get(f"{DOC}/{self.fields.get('Package', '')}/{name}")

    def inside(self, path: str) -> str:
        """Return ``path`` relative to site-packages, or "" if it lies elsewhere."""
        prefix = f"{self.site_packages}/"
        return path.removeprefix(prefix) if self.site_packages and path.startswith(prefix) else ""


def read_contents(control: IO[bytes], data: IO[bytes]) -> Contents:
    """Return what the control archive and the data archive of a .deb hold.

    Raises UnreadableTarError if dpkg-deb would not have written them.
    """
    control_files = _control(control)
    files: dict[str, Digest] = {}
    texts: dict[str, bytes] = {}
    links: dict[str, str] = {}
    site_packages, kept = set(), 0
    for entry in entries(data):
        place = _SITE_PACKAGES.fullmatch(entry.path)
        if place:
            site_packages.add(place[1])
        if entry.kind == "link":
            links[entry.path] = entry.target.removeprefix("./")
        if entry.kind != "file":
            continue
        keep = entry.path.startswith(f"{DOC}/") or bool(place and _speaks(place[2]))
        kept += entry.size if keep else 0
        if keep and (entry.size > _LARGEST_TEXT or kept > _MOST_TEXT):
            raise UnreadableTarError(f"{entry.path!r} is too large")
        files[entry.path], text = _digest(entry, keep=keep)
        if keep:
            texts[entry.path] = text
    for path, target in links.items():
        if target not in files:
            raise UnreadableTarError(f"{path!r} is a link to a file that is not there")
        files[path] = files[target]
        if target in texts:
            texts[path] = texts[target]
    if len(site_packages) > 1:
        raise UnreadableTarError("it has more than one virtual environment")
    return Contents(
        fields=dict(Deb822(control_files.get("control", b"").decode("utf-8", "replace"))),
        md5sums=control_files.get("md5sums", b"").decode("utf-8", "surrogateescape"),
        conffiles=control_files.get("conffiles", b"").decode("utf-8", "surrogateescape"),
        files=files,
        texts=texts,
        site_packages=next(iter(site_packages), ""),
    )


def _control(stream: IO[bytes]) -> dict[str, bytes]:
    found = {}
    for entry in entries(stream, most=_LARGEST_TEXT):
        if entry.kind == "file" and entry.path in _CONTROL_FILES:
            found[entry.path] = b"".join(entry.chunks)
    return found


def _speaks(path: str) -> bool:
    """Whether a file of site-packages says what a distribution is, or under which licence."""
    folder, _, name = path.partition("/")
    described = folder.endswith(".dist-info") and name in ("METADATA", "RECORD")
    return described or is_licence_file(path)


def _digest(entry: Entry, *, keep: bool) -> tuple[Digest, bytes]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    text = []
    for chunk in entry.chunks:
        sha256.update(chunk)
        md5.update(chunk)
        if keep:
            text.append(chunk)
    return Digest(sha256.hexdigest(), md5.hexdigest()), b"".join(text)
