"""The manifest inside each generation: all that a later publication has to know of it.

It is written before the commit and never changed; there is no other state to fall out of step. It
is short, because every publication reads those of all generations; what the generation offers is
in its index and in releases.json (see ``content``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from debstack.archive.tree import Tree
from debstack.errors import ArchiveError

NAME = "manifest.json"
_FORMAT = 2


@dataclass(frozen=True)
class Manifest:
    """One generation: when it was published, until when it is valid, by whom.

    ``blobs`` are the by-hash files of its own indexes, relative to the generation; ``release`` are
    the fields of its Release file that do not change from one publication to the next; ``dropped``
    are the files of the pool that the generation before it offered and this one does not;
    ``carried`` are the earlier generations whose indexes it has too, for clients that still have
    their InRelease; a manifest of before they were noted has None.
    """

    generation: int
    published: datetime
    valid_until: datetime
    signers: tuple[str, ...]
    release: Mapping[str, str]
    blobs: tuple[str, ...]
    dropped: tuple[str, ...]
    carried: tuple[int, ...] | None

    def dump(self) -> bytes:
        """Return the manifest as JSON."""
        document = {
            "format": _FORMAT,
            "generation": self.generation,
            "published": self.published.isoformat(),
            "valid_until": self.valid_until.isoformat(),
            "signers": self.signers,
            "release": dict(self.release),
            "blobs": self.blobs,
            "dropped": self.dropped,
            "carried": self.carried,
        }
        return f"{json.dumps(document, indent=1)}\n".encode()


def parse(text: bytes, path: Path) -> Manifest:
    """Return the manifest in ``text``. Raises ArchiveError naming ``path`` if it is not one."""
    try:
        data = json.loads(text)
        if data["format"] not in (1, _FORMAT):
            raise ValueError(f"format {data['format']}")
        return Manifest(
            generation=int(data["generation"]),
            published=datetime.fromisoformat(data["published"]),
            valid_until=datetime.fromisoformat(data["valid_until"]),
            signers=tuple(data["signers"]),
            release=data["release"],
            blobs=tuple(data["blobs"]),
            # The first format knew of no package that goes.
            dropped=tuple(data.get("dropped", ())),
            carried=None if data.get("carried") is None else tuple(data["carried"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} cannot be read: {error}", hint="restore the archive from its backup"
        ) from error


def load(tree: Tree, suite: str, number: int) -> Manifest:
    """Return the manifest of one generation. Raises ArchiveError if it is missing or damaged."""
    path = tree.generation(suite, number) / NAME
    return parse(read(path), path)


def load_all(tree: Tree, suite: str) -> list[Manifest]:
    """Return the manifests of the generations of ``suite``, oldest first."""
    return [load(tree, suite, number) for number in tree.numbers(suite)]


def read(path: Path) -> bytes:
    """Return the content of a file of the archive. Raises ArchiveError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read: {error.strerror}", hint="restore the archive from its backup"
        ) from error
