"""A package as the archive knows it: its place in the pool and its stanza in Packages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debstack.archive.control import read_control
from debstack.archive.version import version_key
from debstack.errors import ArchiveError

_VALID = {
    "Package": re.compile(r"[a-z0-9][a-z0-9+.-]+"),
    "Version": re.compile(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "Architecture": re.compile(r"[a-z0-9][a-z0-9-]*"),
}
# A field of a control file with its continuation lines, which begin with a blank.
_FIELD = re.compile(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)$", re.MULTILINE)
_OURS = ("filename", "size", "sha256")
_INDEXED = re.compile(r"^(Package|Version|Architecture|Filename|Size|SHA256): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """One .deb of the archive; ``filename`` is relative to the root, ``size`` in bytes.

    ``stanza`` is its paragraph of Packages, so that no .deb is opened twice.
    """

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str
    stanza: str

    @property
    def order(self) -> tuple[str, Any, str]:
        """How packages are sorted in an index: by name, then by version as dpkg compares them."""
        return self.name, version_key(self.version), self.architecture

    def field(self, name: str) -> str:
        """Return a field of the control file, empty if it has none."""
        fields: dict[str, str] = dict(_FIELD.findall(self.stanza))
        return fields.get(name, "")


def read_package(deb: Path) -> Package:
    """Return what the archive needs to know of ``deb``, taken from its control file.

    Raises ArchiveError if it is not a .deb or lacks a field.
    """
    if not deb.is_file():
        raise ArchiveError(f"there is no file {deb}", hint="build it first: debstack build")
    with deb.open("rb") as file:
        control = read_control(deb, file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return package_of(control, deb, file.tell(), digest)


def package_of(control: str, deb: Path, size: int, sha256: str) -> Package:
    """Return the package that the text of a ``control`` file describes; errors name ``deb``."""
    fields = {name: text for name, text in _FIELD.findall(control) if name.lower() not in _OURS}
    for field, valid in _VALID.items():
        if not valid.fullmatch(fields.get(field, "")):
            raise ArchiveError(
                f"{deb}: {field} is {fields.get(field)!r}", hint="rebuild the package"
            )
    name, version, architecture = (fields[field] for field in _VALID)
    fields["Filename"] = filename = pool_name(name, version, architecture)
    fields["Size"] = str(size)
    fields["SHA256"] = sha256
    stanza = "".join(
        f"{field}:{'' if text.startswith(chr(10)) else ' '}{text}\n"
        for field, text in fields.items()
    )
    return Package(name, version, architecture, filename, size, sha256, stanza)


def parse_index(text: str) -> Iterator[Package]:
    """Yield the packages of an index that this archive made. Raises KeyError, ValueError."""
    for paragraph in filter(None, text.rstrip("\n").split("\n\n")):
        found = dict(_INDEXED.findall(paragraph))
        yield Package(
            found["Package"],
            found["Version"],
            found["Architecture"],
            found["Filename"],
            int(found["Size"]),
            found["SHA256"],
            f"{paragraph}\n",
        )


def pool_name(name: str, version: str, architecture: str) -> str:
    """Return where a package lies, relative to the root; the epoch is left out, as Debian does."""
    letter = name[:4] if name.startswith("lib") else name[0]
    return f"pool/main/{letter}/{name}/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
