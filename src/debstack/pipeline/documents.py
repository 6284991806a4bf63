"""What the packages of an archive say of themselves, laid out beside the pool for people to read.

``documents/<package>/<version>/`` has the SBOM and the changelog, taken from the .deb once. No
client of apt reads them, so they may be missing: packages that were made elsewhere have none.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from debian.changelog import Changelog, ChangelogParseError

from debstack.accounting import sbom
from debstack.archive.catalogue import File
from debstack.archive.tree import TEMPORARY
from debstack.errors import ArchiveError
from debstack.process import Runner

FOLDER = "documents"
CHANGELOG = "changelog.txt"
# A package that is no other project's work has the second (Debian Policy 12.7).
_PACKED = ("changelog.Debian.gz", "changelog.gz")


@dataclass(frozen=True)
class Documents:
    """Where the documents of one package lie, below the root; empty for what it has not."""

    sbom: str = ""
    changelog: str = ""


def extract(root: Path, file: File, runner: Runner) -> Documents:
    """Return where the documents of a package are, having taken them from its .deb if need be.

    Raises ArchiveError if the .deb cannot be read, OSError if they cannot be written.
    """
    folder = root / FOLDER / file.package / _folder(file.version)
    if not folder.is_dir():
        found = _read(root / file.filename, file.package, runner)
        new = folder.with_name(f"{TEMPORARY}{folder.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, content in found.items():
            (new / name).write_bytes(content)
        new.rename(folder)
    there = {name: folder / name for name in (sbom.FILE, CHANGELOG) if (folder / name).is_file()}
    placed = {name: path.relative_to(root).as_posix() for name, path in there.items()}
    return Documents(placed.get(sbom.FILE, ""), placed.get(CHANGELOG, ""))


def prune(root: Path, files: Collection[File]) -> None:
    """Remove the documents of every package that is not among ``files``."""
    kept = {(file.package, _folder(file.version)) for file in files}
    for folder in (root / FOLDER).glob("*/*"):
        if (folder.parent.name, folder.name) not in kept:
            shutil.rmtree(folder)
    for package in (root / FOLDER).glob("*"):
        if not any(package.iterdir()):
            package.rmdir()


def distributions(root: Path, documents: Documents) -> dict[str, str]:
    """Return the version of each Python distribution that an SBOM names."""
    if not documents.sbom:
        return {}
    try:
        found = json.loads((root / documents.sbom).read_text(encoding="utf-8"))["components"]
        return {
            each["name"]: each["version"]
            for each in found
            if str(each.get("purl", "")).startswith("pkg:pypi/")
        }
    except (ValueError, KeyError, TypeError):
        return {}


def changes(root: Path, documents: Documents) -> tuple[str, ...]:
    """Return the lines of the newest entry of a changelog."""
    if not documents.changelog:
        return ()
    text = (root / documents.changelog).read_text(encoding="utf-8", errors="replace")
    try:
        newest = Changelog(text, max_blocks=1)[0]
    except (ChangelogParseError, IndexError):
        return ()
    joined = "\n".join(newest.changes())
    items = [" ".join(item.split()) for item in joined.split("\n  * ")]
    return tuple(item.removeprefix("* ") for item in items if item)


def _folder(version: str) -> str:
    # A colon, of an epoch, is no part of a path in every place that a repository is copied to.
    return version.replace(":", "%3a")


def _read(deb: Path, package: str, runner: Runner) -> Mapping[str, bytes]:
    wanted = {f"./usr/share/doc/{package}/{name}": name for name in (sbom.FILE, *_PACKED)}
    found: dict[str, bytes] = {}
    try:
        with (
            runner.raising(ArchiveError).stream(["dpkg-deb", "--fsys-tarfile", deb]) as data,
            tarfile.open(fileobj=data, mode="r|", errors="surrogateescape") as archive,
        ):
            for member in archive:
                if member.name in wanted and (content := archive.extractfile(member)):
                    found[wanted[member.name]] = content.read()
            data.read()  # what pads the archive; a program that is not read to its end fails
    except tarfile.TarError as error:
        raise ArchiveError(
            f"{deb} cannot be read: {error}", hint="debstack archive verify"
        ) from error
    for name in _PACKED:
        if name in found:
            found[CHANGELOG] = gzip.decompress(found.pop(name))
    return found
