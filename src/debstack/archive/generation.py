"""Write one generation: a complete, signed and checked suite that nobody sees yet."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from debian.deb822 import Deb822, Release

from debstack import gpg
from debstack.archive import manifest, release
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package
from debstack.archive.suite import Suite
from debstack.archive.tree import TEMPORARY, Tree, make_folder, rename, sync_folder, write_file
from debstack.errors import ArchiveError
from debstack.gpg import Ring

_BY_HASH = "by-hash/SHA256"


@dataclass(frozen=True)
class Writer:
    """Writes generations of ``suite``; ``earlier`` are the retained ones, oldest first."""

    tree: Tree
    suite: Suite
    ring: Ring
    earlier: Sequence[Manifest]

    def write(self, packages: Sequence[Package], now: datetime) -> int:
        """Write the generation after the last one and return its number.

        Its files are synced and were verified as a client would. Raises ArchiveError, SigningError.
        """
        made = self._manifest(packages, now)
        folder = self.tree.generations / self.suite.name / f"{TEMPORARY}{made.generation}"
        make_folder(folder)
        files = release.indexes(self.suite, packages)
        for path, content in _shipped(files).items():
            self._write_index(folder, path, content)
        self._carry_over(folder)
        text = release.release_text(made.release, made.published, made.valid_until, files)
        write_file(folder / "Release", text)
        write_file(folder / "InRelease", self.ring.clear(text))
        write_file(folder / "Release.gpg", self.ring.armored(text))
        write_file(folder / manifest.NAME, made.dump())
        check(self.tree, folder, self.ring)
        _sync(folder)
        rename(folder, self.tree.generation(self.suite.name, made.generation))
        return made.generation

    def _manifest(self, packages: Sequence[Package], now: datetime) -> Manifest:
        last = self.earlier[-1] if self.earlier else None
        date = now.astimezone(UTC).replace(microsecond=0)
        if last:
            # Clients compare Release files by a time in whole seconds and ignore an older one.
            date = max(date, last.published + timedelta(seconds=1))
        keys = [ready.key for ready in self.ring.ready]
        development = any(key.development for key in keys)
        shipped = _shipped(release.indexes(self.suite, packages))
        return Manifest(
            generation=last.generation + 1 if last else 1,
            published=date,
            valid_until=date + self.suite.valid_for,
            signers=tuple(key.fingerprint for key in keys),
            release=release.constant_fields(self.suite, development=development),
            blobs=tuple(_blob(path, content) for path, content in shipped.items()),
            packages=tuple(packages),
        )

    def _write_index(self, folder: Path, path: str, content: bytes) -> None:
        blob = folder / _blob(path, content)
        make_folder(blob.parent)
        write_file(blob, content)
        (folder / path).hardlink_to(blob)

    def _carry_over(self, folder: Path) -> None:
        """Link the indexes of earlier generations, for a client that still has their InRelease."""
        for earlier in self.earlier:
            source = self.tree.generation(self.suite.name, earlier.generation)
            for name in earlier.blobs:
                if not (folder / name).exists():
                    make_folder((folder / name).parent)
                    (folder / name).hardlink_to(source / name)


def check(tree: Tree, folder: Path, ring: Ring) -> None:
    """Verify a generation as apt would: signatures, hashes of the indexes, the files of the pool.

    Raises SigningError or ArchiveError.
    """
    text = (folder / "Release").read_bytes()
    signed, _ = gpg.verify_clear((folder / "InRelease").read_bytes(), ring.keyring, ring.runner)
    gpg.verify((folder / "Release.gpg").read_bytes(), [text], ring.keyring, ring.runner)
    if signed != text:
        raise ArchiveError(f"{folder}: InRelease and Release differ")
    for entry in Release(text.decode())["SHA256"]:
        path = folder / entry["name"]
        packed = path if path.suffix else path.with_suffix(".gz")
        content = packed.read_bytes() if packed == path else gzip.decompress(packed.read_bytes())
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ArchiveError(f"{path} is not what Release says")
        if packed != path:
            _check_pool(tree, content)


def _check_pool(tree: Tree, index: bytes) -> None:
    for stanza in Deb822.iter_paragraphs(index.decode(), use_apt_pkg=False):
        path = tree.root / stanza["Filename"]
        if not path.is_file() or path.stat().st_size != int(stanza["Size"]):
            raise ArchiveError(
                f"{path} is missing or damaged",
                hint="restore it from a backup, or remove the package from the suite",
            )


def _shipped(files: dict[str, bytes]) -> dict[str, bytes]:
    # Over file:// apt would keep a link into the archive instead of an uncompressed index's copy.
    return {path: content for path, content in files.items() if path.endswith(".gz")}


def _blob(path: str, content: bytes) -> str:
    return str(PurePosixPath(path).parent / _BY_HASH / hashlib.sha256(content).hexdigest())


def _sync(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        sync_folder(Path(path))


def discard(folder: Path) -> None:
    """Remove a generation, under a temporary name first: a half-removed one is not a generation."""
    dead = folder.with_name(f"{TEMPORARY}dead-{folder.name}")
    rename(folder, dead)
    shutil.rmtree(dead)
