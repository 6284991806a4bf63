"""The distributions in a virtual environment: their licences, their files, the SBOMs they bring.

All of it comes out of other people's wheels: paths may lead anywhere and texts may hold anything.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

_LICENCE_NAME = re.compile(
    r"(^|[-_. ])(un)?(licen[cs]es?|copying|copyrights?|notices?)($|[-_. ])", re.IGNORECASE
)
# What has such a name and is no text for people.
_CODE = {".c", ".css", ".h", ".html", ".js", ".map", ".png", ".py", ".pyc", ".pyd", ".pyi", ".pyx",
         ".so", ".svg"}  # fmt: skip
_LONGEST_STATEMENT = 80


@dataclass(frozen=True)
class LicenceFile:
    """One file with a licence, notice or list of authors; ``path`` is relative to its root."""

    path: str
    content: bytes

    @property
    def text(self) -> str:
        """The content, decoded, without the control characters that a deb822 file cannot hold."""
        try:
            text = self.content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = self.content.decode("latin-1")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return "".join(c for c in text if c in "\n\t" or not _is_control(c)).strip("\n")

    @property
    def sha256(self) -> str:
        """The digest of the file as it is, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Bundled:
    """One installed distribution, as its dist-info folder describes it.

    ``expression`` is its SPDX licence expression or "", ``statement`` what it says of its licence
    in any form, ``author`` who wrote it, if it says so. ``files`` are the paths that RECORD lists,
    relative to site-packages; ``sboms`` the names and contents of the files that PEP 770 has it
    keep in ``sboms/``.
    """

    name: str
    version: str
    dist_info: str
    expression: str
    statement: str
    author: str
    requires: tuple[str, ...]
    files: tuple[str, ...]
    licences: tuple[LicenceFile, ...]
    sboms: tuple[tuple[str, bytes], ...]


def read_bundled(site_packages: Path) -> tuple[Bundled, ...]:
    """Return every distribution that is installed in ``site_packages``, sorted by folder."""
    return tuple(_read(folder) for folder in sorted(site_packages.glob("*.dist-info")))


def is_licence_file(path: str) -> bool:
    """Whether a file of a wheel is a licence, a notice or the like, by its name and place."""
    parts = PurePosixPath(path)
    if parts.parent.parts[1:2] == ("licenses",) and parts.parts[0].endswith(".dist-info"):
        return True
    return parts.suffix.lower() not in _CODE and bool(_LICENCE_NAME.search(parts.name))


def _read(folder: Path) -> Bundled:
    distribution = Distribution.at(folder)
    metadata = distribution.metadata
    fields = {name: str(metadata[name]) for name in metadata}
    site_packages = folder.parent
    files = tuple(sorted(set(_recorded(folder))))
    declared = {
        f"{folder.name}/{place}{each}"
        for each in metadata.get_all("License-File", [])
        for place in ("", "licenses/")
    }
    licences = [path for path in files if path in declared or is_licence_file(path)]
    credited = ("Author", "Author-email", "Maintainer")
    author = next(filter(None, (_said(fields.get(name)) for name in credited)), "")
    return Bundled(
        name=str(metadata["Name"]),
        version=str(distribution.version),
        dist_info=folder.name,
        expression=" ".join(fields.get("License-Expression", "").split()),
        statement=_statement(fields, metadata.get_all("Classifier", [])),
        author=" ".join(author.split()),
        requires=tuple(distribution.requires or ()),
        files=files,
        licences=tuple(
            LicenceFile(path, content) for path, content in _contents(site_packages, licences)
        ),
        sboms=tuple(
            _contents(
                site_packages,
                [each for each in files if each.startswith(f"{folder.name}/sboms/")],
            )
        ),
    )


def _said(value: str | None) -> str:
    """Return the value of a field; old setuptools wrote UNKNOWN where nothing was said."""
    return "" if value is None or value.strip() == "UNKNOWN" else value


def _statement(fields: dict[str, str], classifiers: Sequence[str]) -> str:
    """Return what the metadata say of the licence, in one line; "" if nothing that is one."""
    licence = fields.get("License-Expression") or _said(fields.get("License"))
    if licence and len(licence) <= _LONGEST_STATEMENT and "\n" not in licence.strip():
        return " ".join(licence.split())
    stated = [
        each.rpartition(" :: ")[2]
        for each in classifiers
        if each.startswith("License :: ") and not each.endswith("OSI Approved")
    ]
    return " or ".join(stated)


def _recorded(folder: Path) -> Iterator[str]:
    """Yield what belongs to the distribution: what RECORD lists, or the folder's own files."""
    record = folder / "RECORD"
    if not record.is_file():
        for path in folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(folder.parent).as_posix()
        return
    with record.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if row:
                yield row[0]


def _contents(site_packages: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of those ``paths`` that are files in the environment."""
    root = site_packages.resolve()
    for name in paths:
        path = site_packages / name
        # RECORD is the wheel author's: a path that leads out of the environment is not followed.
        if path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(root):
            yield name, path.read_bytes()


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < 32 or 127 <= code < 160 or character in "\u2028\u2029"
