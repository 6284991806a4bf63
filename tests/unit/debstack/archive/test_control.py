"""Reading control files: every packing that dpkg knows, and files that are no packages."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from debstack.archive import control
from debstack.archive.control import read_control
from debstack.errors import ArchiveError

TEXT = "Package: hello\nVersion: 1\nDescription: größer\n"
DEB = Path("x.deb")


def tar(*names: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.type = kind if name.endswith("control") else tarfile.REGTYPE
            content = TEXT.encode() if name.endswith("control") else b"x" * 700
            entry.size = len(content) if entry.type == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def ar(*members: tuple[str, bytes]) -> io.BytesIO:
    parts = [b"!<arch>\n"]
    for name, content in members:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        parts += [header.encode(), content, b"\n" * (len(content) % 2)]
    return io.BytesIO(b"".join(parts))


def deb(name: str, packed: bytes) -> io.BytesIO:
    return ar(("debian-binary", b"2.0\n"), (name, packed), ("data.tar", b""))


CONTROL = tar("./md5sums", "./control")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_every_packing(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(CONTROL)
    for name in (f"control.tar{suffix}", f"control.tar{suffix}/"):
        assert read_control(DEB, deb(name, packed)) == TEXT


def test_a_stream_that_does_not_say_its_length() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    packed = packer.compress(CONTROL) + packer.flush()
    assert read_control(DEB, deb("control.tar.zst", packed)) == TEXT


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (io.BytesIO(b""), "no ar file"),
        (io.BytesIO(b"PK\x03\x04" * 9), "no ar file"),
        (ar(("debian-binary", b"2.0\n")), "no control archive"),
        (io.BytesIO(ar(("debian-binary", b"2.0\n")).getvalue()[:40]), "has no header"),
        (deb("control.tar.bz2", CONTROL), "packed in an unknown way"),
        (deb("control.tar.gz", gzip.compress(CONTROL)[:-9]), ""),
        (deb("control.tar.gz", CONTROL), ""),
        (deb("control.tar.xz", lzma.compress(CONTROL)[:-20]), ""),
        (deb("control.tar.zst", b"\x28\xb5\x2f\xfd" + CONTROL), ""),
        (deb("control.tar", tar("./md5sums")), "no control file"),
        (deb("control.tar", tar("./control", kind=tarfile.SYMTYPE)), "no control file"),
        (deb("control.tar", tar("./control")[:520]), "control ends early"),
        (deb("control.tar", tar("./control").replace(b"gr", b"\xff\xff")), "utf-8"),
    ],
)
def test_what_is_no_package_is_named(file: io.BytesIO, reason: str) -> None:
    with pytest.raises(ArchiveError, match=r"x\.deb is no Debian package") as caught:
        read_control(DEB, file)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_what_unpacks_to_more_than_anybody_needs_is_refused(
    monkeypatch: pytest.MonkeyPatch, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(control, "_LIMIT", 4096)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        read_control(DEB, deb(f"control.tar{suffix}", pack(bytes(1 << 20))))
