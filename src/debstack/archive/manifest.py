"""The manifest inside each generation: all that a later publication has to know of it.

It is written before the commit and never changed; there is no other state to fall out of step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from debstack.archive.package import Package
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError

NAME = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """One generation: when it was published, until when it is valid, by whom, and its content.

    ``blobs`` are the by-hash files of its own indexes, relative to the generation; ``release`` are
    the fields of its Release file that do not change from one publication to the next.
    """

    generation: int
    published: datetime
    valid_until: datetime
    signers: tuple[str, ...]
    release: Mapping[str, str]
    blobs: tuple[str, ...]
    packages: tuple[Package, ...]

    def dump(self) -> bytes:
        """Return the manifest as JSON, one package per line."""
        head = {
            "format": _FORMAT,
            "generation": self.generation,
            "published": self.published.isoformat(),
            "valid_until": self.valid_until.isoformat(),
            "signers": self.signers,
            "release": dict(self.release),
            "blobs": self.blobs,
        }
        packages = ",\n".join(json.dumps(asdict(package)) for package in self.packages)
        return f'{json.dumps(head)[:-1]},\n"packages": [\n{packages}\n]}}\n'.encode()


def parse(text: bytes, path: Path) -> Manifest:
    """Return the manifest in ``text``. Raises ArchiveError naming ``path`` if it is not one."""
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']}")
        return Manifest(
            generation=int(data["generation"]),
            published=datetime.fromisoformat(data["published"]),
            valid_until=datetime.fromisoformat(data["valid_until"]),
            signers=tuple(data["signers"]),
            release=data["release"],
            blobs=tuple(data["blobs"]),
            packages=tuple(Package(**package) for package in data["packages"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} cannot be read: {error}", hint="restore the archive from its backup"
        ) from error


def load(tree: Tree, suite: str, number: int) -> Manifest:
    """Return the manifest of one generation. Raises ArchiveError if it is missing or damaged."""
    path = tree.generation(suite, number) / NAME
    try:
        return parse(path.read_bytes(), path)
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read: {error.strerror}", hint="restore the archive from its backup"
        ) from error


def load_all(tree: Tree, suite: str) -> list[Manifest]:
    """Return the manifests of the generations of ``suite``, oldest first."""
    return [load(tree, suite, number) for number in tree.numbers(suite)]
