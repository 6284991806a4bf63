"""A package as the archive knows it: its place in the pool and its stanza in Packages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian.deb822 import Deb822
from debian.debian_support import Version

from debstack.digest import sha256_of
from debstack.errors import ArchiveError
from debstack.process import Runner

_VALID = {
    "Package": re.compile(r"[a-z0-9][a-z0-9+.-]+"),
    "Version": re.compile(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "Architecture": re.compile(r"[a-z0-9][a-z0-9-]*"),
}


@dataclass(frozen=True)
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
        return self.name, Version(self.version), self.architecture


def read_package(deb: Path, runner: Runner) -> Package:
    """Return what the archive needs to know of ``deb``, taken from its control file.

    Raises ArchiveError if it is not a .deb or lacks a field.
    """
    if not deb.is_file():
        raise ArchiveError(f"there is no file {deb}", hint="build it first: debstack build")
    control = runner.raising(ArchiveError).capture(["dpkg-deb", "--field", deb]).text
    return package_of(control, deb, deb.stat().st_size, sha256_of(deb))


def package_of(control: str, deb: Path, size: int, sha256: str) -> Package:
    """Return the package that the text of a ``control`` file describes; errors name ``deb``."""
    fields = Deb822(control)
    for field, valid in _VALID.items():
        if not valid.fullmatch(fields.get(field, "")):
            raise ArchiveError(
                f"{deb}: {field} is {fields.get(field)!r}", hint="rebuild the package"
            )
    name, version, architecture = (fields[field] for field in _VALID)
    fields["Filename"] = filename = pool_name(name, version, architecture)
    fields["Size"] = str(size)
    fields["SHA256"] = sha256
    return Package(name, version, architecture, filename, size, sha256, fields.dump())


def pool_name(name: str, version: str, architecture: str) -> str:
    """Return where a package lies, relative to the root; the epoch is left out, as Debian does."""
    letter = name[:4] if name.startswith("lib") else name[0]
    return f"pool/main/{letter}/{name}/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
