"""The control file of a .deb, read without starting a program for each."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
import zlib
from pathlib import Path
from typing import IO

import zstandard

from debstack.errors import ArchiveError

_MAGIC = b"!<arch>\n"
_HEADER_SIZE = 60
_SIZE = re.compile(rb"[0-9]+")
# Of a control archive, unpacked or not; dpkg has no limit, and ours have some kilobytes.
_LIMIT = 1 << 26


def read_control(deb: Path, file: IO[bytes]) -> str:
    """Return the text of the control file in ``file``, an open .deb that errors call ``deb``.

    Raises ArchiveError if it is not a .deb, or not a whole one.
    """
    try:
        name, packed = _control_member(file)
        with tarfile.open(fileobj=io.BytesIO(_unpack(name, packed))) as tar:
            member = next(each for each in tar if each.name in ("./control", "control"))
            content = tar.extractfile(member)
            if content is None:
                raise ValueError("control is no file")
            return content.read().decode()
    except (
        *(ValueError, EOFError, StopIteration, OSError),
        *(tarfile.TarError, lzma.LZMAError, zlib.error, zstandard.ZstdError),
    ) as error:
        raise ArchiveError(
            f"{deb} is no Debian package that can be read: {error or 'it ends early'}",
            hint="build it again: debstack build",
        ) from error


def _control_member(file: IO[bytes]) -> tuple[str, bytes]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no ar file")
    while header := file.read(_HEADER_SIZE):
        size = header[48:58].strip()
        if len(header) != _HEADER_SIZE or not _SIZE.fullmatch(size):
            raise ValueError("a member has no header")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        if name.startswith("control.tar"):
            if int(size) > _LIMIT:
                raise ValueError(f"its control archive has {int(size)} bytes")
            return name, file.read(int(size))
        file.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise ValueError("it has no control archive")


def _unpack(name: str, packed: bytes) -> bytes:
    match name.removeprefix("control.tar"):
        case "":
            return packed
        case ".gz":
            return gzip.decompress(packed)
        case ".xz":
            return lzma.decompress(packed)
        case ".zst":
            with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
                return reader.read(_LIMIT)
    raise ValueError(f"{name} is packed in an unknown way")
