"""The members of a .deb, read as strictly as dpkg-deb writes them.

dpkg takes the first member whose name fits, skips names that begin with an underscore, and ignores
what comes after the data; debsig-verify looks for members in an order of its own. A file that both
read differently has a signature that says nothing of what is unpacked. One without any freedom
means the same to everybody.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tradingctl.errors import UntrustedError

MAGIC = b"!<arch>\n"
HEADER_SIZE = 60
CHUNK = 1 << 20
SIGNATURE = "_gpgorigin"
SIGNATURE_LIMIT = 1 << 16
FORMAT = b"2.0\n"
_STEMS = ("control", "data")
# Owner, group and mode, as dpkg-deb always writes them.
_OWNER_AND_MODE = b"0     0     100644  "
_NAME = re.compile(rb"[a-z][a-z.-]+|_[a-z]+")
_NUMBER = re.compile(rb"0 *|[1-9][0-9]* *")
# Names are not signed, so the content has to agree: an offset, and what is there.
_CONTENTS = {
    ".tar": (257, b"ustar"),
    ".tar.gz": (0, b"\x1f\x8b"),
    ".tar.xz": (0, b"\xfd7zXZ\x00"),
    ".tar.zst": (0, b"\x28\xb5\x2f\xfd"),
}


@dataclass(frozen=True)
class Member:
    """One member: where its content starts and how long it is, in bytes."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The offset after the content, without the padding to an even length."""
        return self.start + self.size


@dataclass(frozen=True)
class SignedDeb:
    """A package file that is open: what its signature is said to cover, and the signature."""

    path: Path
    file: BinaryIO
    payload: tuple[Member, ...]
    signature: bytes

    def signed(self) -> Iterator[bytes]:
        """Give what the signature covers, piece by piece. Raises OSError."""
        for member in self.payload:
            self.file.seek(member.start)
            left = member.size
            while left and (chunk := self.file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk


@contextmanager
def signed_deb(path: Path) -> Iterator[SignedDeb]:
    """Open a package file for the duration; what is read later is of the same file.

    Raises UntrustedError unless its members are exactly debian-binary, control.tar*, data.tar* and
    _gpgorigin, in this order, with nothing before, between or after; OSError.
    """
    with _opened(path) as file:
        members = list(_members(path, file))
        names = [member.name for member in members]
        if _are_payload(names):
            raise UntrustedError(f"{path} is not signed")
        if not _are_payload(names[:3]) or names[3:] != [SIGNATURE]:
            raise _malformed(path, f"its members are {', '.join(names) or 'none'}")
        for member in members[1:3]:
            offset, content = _CONTENTS[member.name[member.name.index(".") :]]
            if _read(file, member, offset, len(content)) != content:
                raise _malformed(path, f"{member.name} is not what its name says")
        if _read(file, members[0], 0, CHUNK) != FORMAT:
            raise _malformed(path, "debian-binary does not say 2.0")
        if members[3].size > SIGNATURE_LIMIT:
            raise _malformed(path, f"its signature has {members[3].size} bytes")
        signature = _read(file, members[3], 0, SIGNATURE_LIMIT)
        yield SignedDeb(path, file, tuple(members[:3]), signature)


def _are_payload(names: Sequence[str]) -> bool:
    kinds = [["debian-binary"], *([stem + kind for kind in _CONTENTS] for stem in _STEMS)]
    return len(names) == 3 and all(name in kind for name, kind in zip(names, kinds, strict=True))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    # A link could lead elsewhere when dpkg follows it; a pipe would never end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if path.is_symlink():
        raise _malformed(path, "it is a link; name the file itself")
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _malformed(path, "it is no regular file")
        yield file


def _members(path: Path, file: BinaryIO) -> Iterator[Member]:
    size = os.fstat(file.fileno()).st_size
    if file.read(len(MAGIC)) != MAGIC:
        raise _malformed(path, "it is no ar archive")
    position = len(MAGIC)
    while position < size:
        file.seek(position)
        member = _member(path, file.read(HEADER_SIZE), position)
        file.seek(member.end)
        if member.end > size or (member.size % 2 and file.read(1) != b"\n"):
            raise _malformed(path, f"{member.name} ends outside of the file or is padded wrongly")
        yield member
        position = member.end + member.size % 2


def _member(path: Path, header: bytes, position: int) -> Member:
    name, size = header[:16].rstrip(b" "), header[48:58]
    if not (
        _NAME.fullmatch(name)
        and _NUMBER.fullmatch(header[16:28])
        and header[28:48] == _OWNER_AND_MODE
        and _NUMBER.fullmatch(size)
        and header[58:] == b"`\n"
    ):
        raise _malformed(path, f"at byte {position} there is no header as dpkg-deb writes it")
    return Member(name.decode("ascii"), position + HEADER_SIZE, int(size))


def _read(file: BinaryIO, member: Member, offset: int, size: int) -> bytes:
    file.seek(member.start + offset)
    return file.read(max(0, min(size, member.size - offset)))


def _malformed(path: Path, what: str) -> UntrustedError:
    return UntrustedError(f"{path} does not have the layout of a signed package: {what}")
