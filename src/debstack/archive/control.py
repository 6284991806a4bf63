"""The control file of a .deb, read without starting a program for each."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from pathlib import Path
from typing import IO, Protocol

import zstandard

from debstack.errors import ArchiveError

_MAGIC = b"!<arch>\n"
_HEADER_SIZE = 60
_SIZE = re.compile(rb"[0-9]+")
# Of a control archive, unpacked or not; dpkg has no limit, and ours have some kilobytes.
_LIMIT = 1 << 26
_CHUNK = 1 << 17
_BLOCK = 512


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_control(deb: Path, file: IO[bytes]) -> str:
    """Return the text of the control file in ``file``, an open .deb that errors call ``deb``.

    Raises ArchiveError if it is not a .deb, or not a whole one.
    """
    try:
        name, packed = _control_member(file)
        return _control_file(_unpack(name, packed)).decode()
    except (
        *(ValueError, EOFError, OSError),
        *(lzma.LZMAError, zlib.error, zstandard.ZstdError),
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
    source = io.BytesIO(packed)
    match name.removeprefix("control.tar"):
        case "":
            return packed
        case ".gz":
            return _limited(gzip.GzipFile(fileobj=source))
        case ".xz":
            return _limited(lzma.LZMAFile(source))
        case ".zst":
            return _limited(zstandard.ZstdDecompressor().stream_reader(source))
    raise ValueError(f"{name} is packed in an unknown way")


def _limited(unpacking: _Readable) -> bytes:
    parts, total = [], 0
    while part := unpacking.read(_CHUNK):
        parts.append(part)
        total += len(part)
        if total > _LIMIT:
            raise ValueError(f"its control archive unpacks to more than {_LIMIT} bytes")
    return b"".join(parts)


def _control_file(tar: bytes) -> bytes:
    """Return the content of control in a tar archive; tarfile takes ten times as long for it."""
    position = 0
    while position + _BLOCK <= len(tar):
        header = tar[position : position + _BLOCK]
        size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        position += _BLOCK
        name = header[:100].partition(b"\0")[0]
        if name in (b"./control", b"control") and header[156:157] in (b"0", b"\0"):
            if position + size > len(tar):
                raise ValueError("control ends early")
            return tar[position : position + size]
        position += -(-size // _BLOCK) * _BLOCK
    raise ValueError("it has no control file")
