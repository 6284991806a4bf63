"""Which keys an OpenPGP keyring holds, read from its bytes: gpgv lists none, and gpg may be absent.

Only names keys; whether a signature is good is for gpgv to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

_PUBLIC_KEY = 6
_VERSION = 4


def fingerprints(keyring: bytes) -> list[str]:
    """Return the fingerprints of the primary keys (40 upper-case hex digits).

    Raises ValueError for what is no binary keyring, or holds keys of another version than 4.
    """
    found = []
    for tag, body in _packets(keyring):
        if tag == _PUBLIC_KEY:
            if body[:1] != bytes([_VERSION]):
                raise ValueError("a key that is not of version 4")
            text = b"\x99" + len(body).to_bytes(2, "big") + body
            found.append(hashlib.sha1(text, usedforsecurity=False).hexdigest().upper())
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give tag and content of each packet (RFC 4880, 4.2). Raises ValueError."""
    position = 0
    while position < len(data):
        first = data[position]
        if not first & 0x80:
            raise ValueError(f"no OpenPGP packet at byte {position}")
        if first & 0x40:
            tag, (start, size) = first & 0x3F, _new_length(data, position + 1)
        else:
            tag, kind = (first >> 2) & 0x0F, first & 0x03
            if kind == 3:
                raise ValueError(f"a packet without a length at byte {position}")
            start = position + 1 + (1 << kind)
            size = int.from_bytes(data[position + 1 : start], "big")
        position = start + size
        if position > len(data):
            raise ValueError("the last packet is cut off")
        yield tag, data[start:position]


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    """Return where the content of a packet of the new format starts, and its size."""
    first = data[position] if position < len(data) else 0
    if first < 192:
        return position + 1, first
    if first < 224:
        second = int.from_bytes(data[position + 1 : position + 2], "big")
        return position + 2, ((first - 192) << 8) + second + 192
    if first == 255:
        return position + 5, int.from_bytes(data[position + 1 : position + 5], "big")
    raise ValueError(f"a packet in pieces at byte {position}")
