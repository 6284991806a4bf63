"""The layout that a .deb must have to be signed or accepted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from debstack.errors import SigningError
from debstack.steps.sign import payload_digest, read_layout

ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ\x00"
BINARY = ("debian-binary", b"2.0\n")
CONTROL = ("control.tar.zst", ZSTD + b"odd")
DATA = ("data.tar.zst", ZSTD + b"even")
SIGNATURE = ("_gpgorigin", b"signature")


def ar(*members: tuple[str, bytes], padding: bytes = b"\n") -> bytes:
    text = b"!<arch>\n"
    for name, content in members:
        header = f"{name:<16}{1700000000:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        text += header.encode() + content + padding * (len(content) % 2)
    return text


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    return tmp_path / "x.deb"


def test_layout_of_an_unsigned_and_a_signed_file(deb: Path) -> None:
    unsigned = ar(BINARY, CONTROL, DATA)
    deb.write_bytes(unsigned)
    assert [member.name for member in read_layout(deb).payload] == [BINARY[0], CONTROL[0], DATA[0]]
    assert read_layout(deb).signature is None
    digest = payload_digest(deb)
    assert digest == hashlib.sha256(unsigned).hexdigest()
    deb.write_bytes(ar(BINARY, CONTROL, DATA, SIGNATURE))
    layout = read_layout(deb)
    assert layout.signature
    assert layout.signature.size == len(SIGNATURE[1])
    assert payload_digest(deb) == digest


@pytest.mark.parametrize(
    "members",
    [
        [],
        [BINARY, CONTROL],
        [CONTROL, BINARY, DATA],
        [BINARY, DATA, CONTROL],
        [("debian-binary", b"3.0\n"), CONTROL, DATA],
        [BINARY, CONTROL, DATA, CONTROL],
        [BINARY, CONTROL, ("control.tar.xz", XZ), DATA],
        [BINARY, CONTROL, DATA, ("control.tar.xz", XZ), SIGNATURE],
        [BINARY, CONTROL, DATA, SIGNATURE, SIGNATURE],
        [BINARY, ("_extra", b""), CONTROL, DATA],
        [BINARY, CONTROL, DATA, ("_gpgother", b"x")],
        [BINARY, ("control.tar.bz2", b"BZh"), DATA],
        [BINARY, ("control.tar.zst/", ZSTD), DATA],
        [BINARY, ("control.tar.xz", ZSTD), DATA],
        [BINARY, ("control.tar.zst", ZSTD + DATA[1]), ("data.tar.zst", b"")],
    ],
    ids=lambda members: "+".join(name for name, _ in members) or "empty",
)
def test_any_other_layout_is_refused(deb: Path, members: list[tuple[str, bytes]]) -> None:
    deb.write_bytes(ar(*members))
    with pytest.raises(SigningError, match=r"x\.deb"):
        read_layout(deb)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"!<arch>",
        b"\x7fELF",
        ar(BINARY, CONTROL, DATA)[:-1],
        ar(BINARY, CONTROL, DATA) + b"\n",
        ar(BINARY, CONTROL, DATA, padding=b"x"),
        ar(BINARY, CONTROL, DATA).replace(b"`\n", b"``", 1),
    ],
)
def test_what_is_no_whole_ar_file_is_refused(deb: Path, content: bytes) -> None:
    deb.write_bytes(content)
    with pytest.raises(SigningError, match=r"x\.deb"):
        read_layout(deb)
