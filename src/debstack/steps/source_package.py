"""Write a Debian source package: tarballs whose bits depend on nothing but what is in them, a .dsc.

dpkg-source describes files that are made here (its format "3.0 (custom)"). Left to itself it would
unpack and compare all of them to find changes that cannot be there, and the bits of a tarball would
depend on the version of tar and on the number of cores.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from debstack.errors import BuildError
from debstack.process import Runner, base_environment


@dataclass(frozen=True)
class Member:
    """A file of a tarball: where its content lies, or the content, or where a link points to."""

    path: str
    content: Path | bytes | str
    executable: bool = False


def tree(folder: Path, prefix: str = "") -> list[Member]:
    """Return the files and links below ``folder``, their paths beginning with ``prefix``."""
    return [
        Member(
            f"{prefix}{path.relative_to(folder).as_posix()}",
            str(path.readlink()) if path.is_symlink() else path,
            executable=not path.is_symlink() and bool(path.stat().st_mode & 0o100),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    ]


def within(folder: str, members: Iterable[Member]) -> list[Member]:
    """Return ``members`` as they are called in a folder of that name."""
    return [replace(each, path=f"{folder}/{each.path}") for each in members]


def tarball(target: Path, members: Iterable[Member], epoch: int) -> Path:
    """Write ``members`` to ``target``, sorted, owned by root, dated ``epoch``; return ``target``.

    The name says how: ``.tar``, ``.tar.xz``, or ``.tar.gz`` for what does not compress any more and
    is only wrapped, because dpkg-source(1) takes no plain tar.
    """
    with target.open("wb") as file, _compressed(target.suffix, file) as stream, tarfile.open(
        fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT,
        encoding="utf-8", errors="surrogateescape",
    ) as archive:  # fmt: skip
        for member in sorted(members, key=lambda each: each.path):
            _add(archive, member, epoch)
    return target


def dsc(folder: Path, tarballs: Sequence[Path], source_format: str, runner: Runner) -> Path:
    """Describe ``tarballs`` by a .dsc beside them; ``folder`` holds the debian/ that is in them.

    ``source_format`` is what debian/source/format says. Raises BuildError.
    """
    where = tarballs[0].parent
    runner.run(
        ["dpkg-source", "--format=3.0 (custom)", f"--target-format={source_format}",
         "--build", folder, *(each.name for each in sorted(tarballs))],
        cwd=where, env=base_environment(),
    )  # fmt: skip
    found = list(where.glob("*.dsc"))
    if len(found) != 1:
        raise BuildError(
            f"dpkg-source left {len(found)} files *.dsc in {where}, expected one",
            details=sorted(each.name for each in found),
        )
    return found[0]


def _compressed(suffix: str, file: IO[bytes]) -> AbstractContextManager[Any]:
    if suffix == ".xz":
        return lzma.LZMAFile(file, "wb", preset=6)
    if suffix == ".gz":
        # Level 0: not even the version of zlib matters. No name and no time in the header.
        return gzip.GzipFile("", "wb", compresslevel=0, fileobj=file, mtime=0)
    return nullcontext(file)


def _add(archive: tarfile.TarFile, member: Member, epoch: int) -> None:
    info = tarfile.TarInfo(member.path)
    info.mtime = epoch
    info.uname = info.gname = "root"
    info.mode = 0o755 if member.executable else 0o644
    if isinstance(member.content, str):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.content, 0o777
        archive.addfile(info)
    elif isinstance(member.content, bytes):
        info.size = len(member.content)
        archive.addfile(info, io.BytesIO(member.content))
    else:
        info.size = member.content.stat().st_size
        with member.content.open("rb") as file:
            archive.addfile(info, file)
