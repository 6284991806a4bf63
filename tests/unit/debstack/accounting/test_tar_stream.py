"""Archives as dpkg-deb writes them are read; anything else is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from debstack.accounting.tar_stream import Entry, UnreadableTarError, entries


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> (
    tuple[tarfile.TarInfo, bytes]
):  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def read(data: bytes) -> list[tuple[str, str, bytes, str]]:
    def one(entry: Entry) -> tuple[str, str, bytes, str]:
        return entry.path, entry.kind, b"".join(entry.chunks), entry.target

    return [one(entry) for entry in entries(io.BytesIO(data))]


def test_files_links_folders_and_long_names() -> None:
    long = "usr/" + "x" * 150 + "/é"
    data = archive(
        member("./", tarfile.DIRTYPE),
        member("./usr/", tarfile.DIRTYPE),
        member("./usr/a", content=b"a" * 1000),
        member("./usr/b", tarfile.LNKTYPE, link="./usr/a"),
        member("./usr/c", tarfile.SYMTYPE, link="y" * 200),
        member(f"./{long}", content=b"long"),
    )
    assert read(data) == [
        (".", "folder", b"", ""),
        ("usr", "folder", b"", ""),
        ("usr/a", "file", b"a" * 1000, ""),
        ("usr/b", "link", b"", "./usr/a"),
        ("usr/c", "symlink", b"", "y" * 200),
        (long, "file", b"long", ""),
    ]


def test_what_is_not_read_is_skipped() -> None:
    data = archive(member("a", content=b"1" * 3_000_000), member("b", content=b"2"))
    assert [entry.path for entry in entries(io.BytesIO(data))] == ["a", "b"]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "pax header": lambda: archive(member("é" * 90), form=tarfile.PAX_FORMAT),
    "device": lambda: archive(member("dev", tarfile.CHRTYPE)),
    "fifo": lambda: archive(member("fifo", tarfile.FIFOTYPE)),
    "sparse": lambda: archive(member("sparse", tarfile.GNUTYPE_SPARSE)),
    "absolute": lambda: archive(member("/etc/passwd", content=b"x")),
    "parent": lambda: archive(member("./usr/../../etc/passwd", content=b"x")),
    "dot inside": lambda: archive(member("./usr/./x", content=b"x")),
    "twice": lambda: archive(member("./a", content=b"1"), member("a", content=b"2")),
    "cut off": lambda: archive(member("a", content=b"1" * 2000))[:1500],
    "after the end": lambda: archive(member("a")) + b"x" * 512,
    "endless end": lambda: archive(member("a")) + b"\0" * 2_000_000,
    "damaged header": lambda: archive(member("a")).replace(b"a", b"b", 1),
    "folder with content": lambda: with_field(slice(156, 157), b"5"),
    "negative size": lambda: with_field(slice(124, 136), b"-0000000001\0"),
    "binary size": lambda: with_field(slice(124, 136), b"\x80" + b"\0" * 10 + b"\x05"),
    "endless name": lambda: with_field(slice(156, 157), b"L", size=b"77777777777\0"),
    "no end": lambda: archive(member("a"))[:512],
}


def with_field(place: slice, value: bytes, size: bytes = b"") -> bytes:
    """Return an archive of a file with one field of its header replaced, and the sum corrected."""
    data = bytearray(archive(member("a", content=b"12345")))
    data[place] = value
    if size:
        data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_dpkg_deb_would_not_write_is_refused(kind: str) -> None:
    with pytest.raises(UnreadableTarError):
        read(HOSTILE[kind]())


def test_an_archive_may_have_a_limit() -> None:
    data = archive(member("a", content=b"1" * 600), member("b", content=b"2" * 600))
    assert len(list(entries(io.BytesIO(data), most=1200))) == 2
    with pytest.raises(UnreadableTarError, match="too large"):
        list(entries(io.BytesIO(data), most=1199))


def test_the_helper_makes_readable_archives() -> None:
    assert read(with_field(slice(156, 157), b"0"))[0][2] == b"12345"
