"""Write one generation: a complete, signed and checked suite that nobody sees yet."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from debian.deb822 import Release

from debstack.archive import content, manifest, release
from debstack.archive.content import Content
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package, parse_index
from debstack.archive.suite import Suite
from debstack.archive.tree import (
    KEYRING,
    TEMPORARY,
    Tree,
    make_folder,
    rename,
    sync_all,
    write_file,
)
from debstack.errors import ArchiveError
from debstack.gpg import Ring

BY_HASH = "by-hash/SHA256"
RESTORE = "restore the archive from its backup"
_UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}


@dataclass(frozen=True)
class Writer:
    """Writes generations of ``suite``; ``earlier`` are the retained ones, oldest first."""

    tree: Tree
    suite: Suite
    ring: Ring
    earlier: Sequence[Manifest]

    def write(self, offered: Content, dropped: Sequence[str], date: datetime) -> int:
        """Write the generation after the last one and return its number.

        Its files are synced and were verified as a client would. Raises ArchiveError, SigningError.
        """
        files = release.indexes(self.suite, offered.packages)
        shipped = _shipped(files)
        made = self._manifest(shipped, dropped, date)
        folder = self.tree.generations / self.suite.name / f"{TEMPORARY}{made.generation}"
        make_folder(folder.parent)
        make_folder(folder, durable=False)
        for path, packed in shipped.items():
            self._write_index(folder, path, packed)
        self._carry_over(folder)
        releases = offered.dump()
        signing = {**files, content.NAME: releases}  # which apt never asks for
        text = release.release_text(made.release, made.published, made.valid_until, signing)
        # Each signature was verified by gpgv before it is handed out.
        signed = {
            "Release": text,
            "InRelease": self.ring.clear(text),
            "Release.gpg": self.ring.armored(text),
        }
        for name, written in signed.items():
            write_file(folder / name, written)
            # Over HTTP, what changed twice within a second looks unchanged but for this.
            os.utime(folder / name, (date.timestamp(), date.timestamp()))
        write_file(folder / KEYRING, self.ring.public)
        write_file(folder / content.NAME, releases)
        write_file(folder / manifest.NAME, made.dump())
        check(self.tree, folder, signed)
        _sync(folder)
        rename(folder, self.tree.generation(self.suite.name, made.generation))
        return made.generation

    def _manifest(
        self, shipped: Mapping[str, bytes], dropped: Sequence[str], date: datetime
    ) -> Manifest:
        keys = [ready.key for ready in self.ring.ready]
        development = any(key.development for key in keys)
        return Manifest(
            generation=self.earlier[-1].generation + 1 if self.earlier else 1,
            published=date,
            valid_until=date + self.suite.valid_for,
            signers=tuple(key.fingerprint for key in keys),
            release=release.constant_fields(self.suite, development=development),
            blobs=tuple(_blob(path, packed) for path, packed in shipped.items()),
            dropped=tuple(dropped),
            carried=tuple(each.generation for each in self.earlier),
        )

    def _write_index(self, folder: Path, path: str, packed: bytes) -> None:
        blob = folder / _blob(path, packed)
        make_folder(blob.parent, durable=False)
        write_file(blob, packed)
        (folder / path).hardlink_to(blob)

    def _carry_over(self, folder: Path) -> None:
        """Link the indexes of earlier generations, for a client that still has their InRelease."""
        for earlier in self.earlier:
            source = self.tree.generation(self.suite.name, earlier.generation)
            for name in earlier.blobs:
                if not (folder / name).exists():
                    make_folder((folder / name).parent, durable=False)
                    (folder / name).hardlink_to(source / name)


def check(tree: Tree, folder: Path, signed: Mapping[str, bytes]) -> None:
    """Read a generation again as apt would: what is ``signed``, the indexes, the pool's files.

    Raises ArchiveError.
    """
    for name, written in signed.items():
        if (folder / name).read_bytes() != written:
            raise ArchiveError(f"{folder / name} is not what was written", hint="check the disk")
    text = signed["Release"]
    for package in indexed(folder, text):
        # Thousands of files: plain text is ten times faster here than paths.
        if _size(f"{tree.root}/{package.filename}") != package.size:
            raise ArchiveError(
                f"{tree.root / package.filename} is missing or damaged",
                hint="restore it from a backup, or unpublish the releases that need it",
            )


def _size(path: str) -> int:
    """Return the size of a file in bytes, -1 if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  (see the caller)
    except FileNotFoundError:
        return -1


def indexed(folder: Path, text: bytes) -> list[Package]:
    """Return the packages of a generation whose Release is ``text``.

    Raises ArchiveError unless every index that Release lists is what it says, packed or not, and
    so are the releases.
    """
    packages: dict[str, Package] = {}
    digests = listed(text)
    for name, digest in digests.items():
        path = folder / name
        if name == content.NAME:
            index = path.read_bytes()
        elif path.suffix:
            index = path.read_bytes()
            unpacked = _UNPACK[path.suffix](index)
            if (
                hashlib.sha256(unpacked).hexdigest()
                != digests[str(PurePosixPath(name).with_suffix(""))]
            ):
                raise ArchiveError(
                    f"{path} unpacks to another index than Release lists", hint=RESTORE
                )
        else:
            index = gzip.decompress(path.with_suffix(".gz").read_bytes())
            packages |= {each.filename: each for each in parse_index(index.decode())}
        if hashlib.sha256(index).hexdigest() != digest:
            raise ArchiveError(f"{path} is not what Release says", hint=RESTORE)
    return list(packages.values())


def listed(text: bytes) -> dict[str, str]:
    """Return the sha256 of every file that Release lists, by its name."""
    return {entry["name"]: entry["sha256"] for entry in Release(text.decode())["SHA256"]}


def _shipped(files: Mapping[str, bytes]) -> dict[str, bytes]:
    # Over file:// apt would keep a link into the archive instead of an uncompressed index's copy.
    return {path: packed for path, packed in files.items() if PurePosixPath(path).suffix}


def _blob(path: str, packed: bytes) -> str:
    return str(PurePosixPath(path).parent / BY_HASH / hashlib.sha256(packed).hexdigest())


def _sync(folder: Path) -> None:
    sync_all([folder, *folder.rglob("*")])


def discard(folder: Path) -> None:
    """Remove a generation, under a temporary name first: a half-removed one is not a generation."""
    dead = folder.with_name(f"{TEMPORARY}dead-{folder.name}")
    rename(folder, dead)
    shutil.rmtree(dead)
