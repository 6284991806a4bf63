"""Sign a .deb inside (member _gpgorigin, what debsig-verify reads), and a folder by SHA256SUMS.

Written here because debsigs of Debian 12 signs nothing of a zstd .deb and reports success, and
because debsig-verify, which finds members by their extension, accepts a second, unsigned control
archive that dpkg then installs: only the strict layout below closes that.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from debstack import gpg
from debstack.digest import sha256_of
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.process import Runner

_MAGIC = b"!<arch>\n"
_HEADER_SIZE = 60
_CHUNK = 1 << 20
_SIGNATURE_NAME = "_gpgorigin"
_SIGNATURE_LIMIT = 1 << 16
_HEADER = re.compile(rb"(.{16})([0-9 ]{12})[0-9 ]{6}[0-9 ]{6}[0-7 ]{8}([0-9]+) *`\n", re.DOTALL)
# Names are not signed, so the bytes must agree with them: offset and content per compression.
_CONTENT = {
    ".tar": (257, b"ustar"),
    ".tar.gz": (0, b"\x1f\x8b"),
    ".tar.xz": (0, b"\xfd7zXZ\x00"),
    ".tar.zst": (0, b"\x28\xb5\x2f\xfd"),
}


@dataclass(frozen=True)
class Member:
    """One member of an ar file: where its header and its content start, and its size, in bytes."""

    name: str
    header: int
    start: int
    size: int
    mtime: int

    @property
    def end(self) -> int:
        """The offset after the content and its padding to an even length."""
        return self.start + self.size + self.size % 2


@dataclass(frozen=True)
class Layout:
    """A .deb as dpkg-deb writes it: three members that are signed, and perhaps the signature."""

    payload: tuple[Member, Member, Member]
    signature: Member | None

    @property
    def payload_end(self) -> int:
        """The length of the file before it was signed."""
        return self.payload[2].end


def sign(deb: Path, destination: Path, key: Key, runner: Runner) -> None:
    """Write ``deb`` with a signature by ``key`` to ``destination``, whole or not at all.

    The signature claims the time at which the package was built, so that equal packages stay equal
    when signed by the same key; one that ``deb`` carries already is replaced. Raises SigningError.
    """
    layout = read_layout(deb)
    with _replacing(destination) as file, gpg.signing([key], runner) as ring:
        for chunk in _read(deb, 0, layout.payload_end):
            file.write(chunk)
        file.flush()
        built = min(layout.payload[0].mtime, int(time.time()))
        signature = ring.detached(_signed_bytes(Path(file.name), layout), at=built)
        file.write(_member(signature))
        file.flush()
        read_layout(Path(file.name))


def verify(deb: Path, keyring: Path, runner: Runner) -> str:
    """Return the fingerprint of the one key of ``keyring`` (binary) that signed ``deb``.

    Raises SigningError if the layout is not exactly that of a signed .deb or the signature is bad.
    """
    layout = read_layout(deb)
    if layout.signature is None:
        raise SigningError(f"{deb.name} is not signed", hint="build it again: debstack build")
    if layout.signature.size > _SIGNATURE_LIMIT:
        raise _malformed(deb, f"a signature of {layout.signature.size} bytes")
    start = layout.signature.start
    signature = b"".join(_read(deb, start, start + layout.signature.size))
    signers = gpg.verify(signature, _signed_bytes(deb, layout)(), keyring, runner)
    if len(signers) != 1:
        raise SigningError(f"{deb.name} has {len(signers)} signatures instead of one")
    return signers[0]


def payload_digest(deb: Path) -> str:
    """Return the sha256 of the file as it was before it was signed. Raises SigningError."""
    digest = hashlib.sha256()
    for chunk in _read(deb, 0, read_layout(deb).payload_end):
        digest.update(chunk)
    return digest.hexdigest()


def checksums(directory: Path, files: Sequence[Path], key: Key, runner: Runner) -> None:
    """Write SHA256SUMS of ``files`` (all in ``directory``) and SHA256SUMS.asc, its signature.

    Each is replaced at once; between the two, verification fails rather than passes.
    """
    names = sorted({path.name: path for path in files}.items())
    text = "".join(f"{sha256_of(path)}  {name}\n" for name, path in names).encode()
    with gpg.signing([key], runner) as ring:
        signature = ring.armored(text)
    for name, content in (("SHA256SUMS", text), ("SHA256SUMS.asc", signature)):
        with _replacing(directory / name) as file:
            file.write(content)


def read_layout(deb: Path) -> Layout:
    """Return where the members of ``deb`` lie.

    Raises SigningError unless they are exactly debian-binary, control.tar*, data.tar* and at most
    one final _gpgorigin, with nothing before, between or after.
    """
    # One more than there may be is enough to know: a hostile file could have millions.
    members = tuple(islice(_members(deb), 5))
    names = [member.name for member in members]
    signature = members[3] if len(members) == 4 and names[3] == _SIGNATURE_NAME else None
    if len(members) != (4 if signature else 3) or names[0] != "debian-binary":
        raise _malformed(deb, f"the members are {', '.join(names)}")
    if b"".join(_read(deb, members[0].start, members[0].end)) != b"2.0\n":
        raise _malformed(deb, "debian-binary is not 2.0")
    for member, stem in zip(members[1:3], ("control", "data"), strict=True):
        _check_archive(deb, member, stem)
    return Layout((members[0], members[1], members[2]), signature)


def _check_archive(deb: Path, member: Member, stem: str) -> None:
    suffix = member.name.removeprefix(stem)
    if suffix == member.name or suffix not in _CONTENT:
        raise _malformed(deb, f"{member.name} stands where {stem}.tar should be")
    offset, content = _CONTENT[suffix]
    end = min(member.start + offset + len(content), member.start + member.size)
    if b"".join(_read(deb, member.start + offset, end)) != content:
        raise _malformed(deb, f"{member.name} is not what its name says")


def _members(deb: Path) -> Iterator[Member]:
    with deb.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _malformed(deb, "it is no ar file")
        position = len(_MAGIC)
        while position < size:
            member = _read_header(deb, file.read(_HEADER_SIZE), position)
            file.seek(member.start + member.size)
            if member.end > size or file.read(member.size % 2) not in (b"", b"\n"):
                raise _malformed(deb, f"{member.name} ends outside the file or is padded wrongly")
            yield member
            position = member.end


def _read_header(deb: Path, header: bytes, position: int) -> Member:
    match = _HEADER.fullmatch(header)
    if match is None:
        raise _malformed(deb, f"no member header at byte {position}")
    name, mtime, size = match.groups()
    start = position + _HEADER_SIZE
    text = name.decode("ascii", "replace").rstrip(" ")
    return Member(text, position, start, int(size), int(mtime.replace(b" ", b"") or b"0"))


def _member(signature: bytes) -> bytes:
    header = f"{_SIGNATURE_NAME:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(signature):<10}`\n"
    return header.encode() + signature + b"\n" * (len(signature) % 2)


def _signed_bytes(deb: Path, layout: Layout) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        for member in layout.payload:
            yield from _read(deb, member.start, member.start + member.size)

    return read


def _read(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(_CHUNK, end - start))):
            start += len(chunk)
            yield chunk


@contextmanager
def _replacing(destination: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of ``destination`` if nothing is raised, synced to disk."""
    folder = destination.parent
    with tempfile.NamedTemporaryFile(prefix=".tmp-", dir=folder, delete=False) as temporary:
        path = Path(temporary.name)
        try:
            yield temporary.file
            temporary.flush()
            os.fsync(temporary.fileno())
            path.chmod(0o644)
            path.rename(destination)
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _malformed(deb: Path, what: str) -> SigningError:
    return SigningError(
        f"{deb} does not have the layout of a .deb: {what}",
        hint="discard the file and build it again; a signed .deb must not be changed",
    )
