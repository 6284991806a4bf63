"""Hand-made package files: any members in any order, with any header."""

from __future__ import annotations

ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ\x00"
BINARY = ("debian-binary", b"2.0\n")
CONTROL = ("control.tar.zst", ZSTD + b"control")
DATA = ("data.tar.zst", ZSTD + b"data")
SIGNATURE = ("_gpgorigin", b"signature")
SIGNED = (BINARY, CONTROL, DATA, SIGNATURE)
COVERED = BINARY[1] + CONTROL[1] + DATA[1]
"""What a signature of SIGNED is over."""


def header(
    name: str, size: int | str, *, mtime: str = "1700000000", owner: str = "0",
    group: str = "0", mode: str = "100644", end: str = "`\n",
) -> bytes:  # fmt: skip
    """Return a member's header; the defaults are what dpkg-deb writes."""
    return f"{name:<16}{mtime:<12}{owner:<6}{group:<6}{mode:<8}{size:<10}{end}".encode()


def ar(*members: tuple[str, bytes], padding: bytes = b"\n") -> bytes:
    """Return an archive of members."""
    text = b"!<arch>\n"
    for name, content in members:
        text += header(name, len(content)) + content + padding * (len(content) % 2)
    return text
