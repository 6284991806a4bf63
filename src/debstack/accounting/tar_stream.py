"""Read a tar archive as dpkg-deb writes it, and nothing else.

The archive may be anybody's. What a .deb does not need (extended headers, devices, sparse files,
paths that lead elsewhere, a path twice) is refused instead of interpreted: two programs that read
it differently could be shown different files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

Kind = Literal["file", "link", "symlink", "folder"]

_BLOCK = 512
_CHUNK = 1 << 20
_LONGEST_NAME = 1 << 14
_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 1 << 33
# tar fills its last record, of 10 KiB; more is only there to keep a reader busy.
_MOST_PADDING = 1 << 20
_KINDS: dict[bytes, Kind] = {
    b"0": "file", b"\0": "file", b"1": "link", b"2": "symlink", b"5": "folder",
}  # fmt: skip


class UnreadableTarError(ValueError):
    """The archive is not one that dpkg-deb would have written; the message says why."""


@dataclass
class Entry:
    """One member. ``path`` is relative; ``chunks`` gives a file's content, once."""

    path: str
    kind: Kind
    size: int
    target: str
    chunks: Iterator[bytes]


def entries(stream: IO[bytes], most: int = _MOST_BYTES) -> Iterator[Entry]:
    """Yield the members of the archive in ``stream``; what of one is not read is skipped.

    Raises UnreadableTarError, also for an archive that is cut off or has more than ``most`` bytes.
    """
    seen: set[str] = set()
    total = 0
    while (header := _header(stream)) is not None:
        names, header = _long_names(stream, header)
        kind = _KINDS.get(header[156:157])
        if kind is None:
            raise UnreadableTarError(f"it has a member of type {header[156:157]!r}")
        size = _number(header[124:136])
        if kind != "file" and size:
            raise UnreadableTarError("it has a link or folder with content")
        path = _relative(names.get(b"L", _text(header[0:100])))
        if path in seen:
            raise UnreadableTarError(f"it has {path!r} twice")
        seen.add(path)
        total += size
        if len(seen) > _MOST_MEMBERS or total > most:
            raise UnreadableTarError("it is too large")
        chunks = _chunks(stream, size)
        yield Entry(path, kind, size, names.get(b"K", _text(header[157:257])), chunks)
        for _ in chunks:
            pass
        _read(stream, -size % _BLOCK)


def _header(stream: IO[bytes]) -> bytes | None:
    """Return the next header, or None at the end of the archive."""
    header = _read(stream, _BLOCK)
    if any(header):
        # The sum counts its own eight bytes as spaces.
        total = sum(header[:148]) + 8 * 32 + sum(header[156:])
        if total != _number(header[148:156]):
            raise UnreadableTarError("a header is damaged")
        return header
    padding = stream.read(_MOST_PADDING + 1)
    if any(padding) or len(padding) > _MOST_PADDING:
        raise UnreadableTarError("there is something after its end")
    return None


def _long_names(stream: IO[bytes], header: bytes) -> tuple[dict[bytes, str], bytes]:
    """Return the long name and link target before a member, if any, and the member's header."""
    names: dict[bytes, str] = {}
    while (kind := header[156:157]) in (b"L", b"K"):
        size = _number(header[124:136])
        if kind in names or size > _LONGEST_NAME:
            raise UnreadableTarError("it has a name that is too long")
        names[kind] = _text(_read(stream, size))
        _read(stream, -size % _BLOCK)
        following = _header(stream)
        if following is None:
            raise UnreadableTarError("it ends with a name")
        header = following
    return names, header


def _chunks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = _read(stream, min(size, _CHUNK))
        size -= len(chunk)
        yield chunk


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) != size:
        raise UnreadableTarError("it is cut off")
    return data


def _number(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits or any(digit not in b"01234567" for digit in digits):
        raise UnreadableTarError(f"{field!r} is not a number in it")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _relative(name: str) -> str:
    path = name.removeprefix("./").rstrip("/")
    if name in (".", "./"):
        return "."
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise UnreadableTarError(f"it has a member called {name!r}")
    return path
