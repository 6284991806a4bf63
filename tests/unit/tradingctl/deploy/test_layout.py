"""The one layout of a package file that cannot be read in two ways."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.debfile import (
    BINARY,
    CONTROL,
    COVERED,
    DATA,
    SIGNATURE,
    SIGNED,
    XZ,
    ZSTD,
    ar,
    header,
)

from tradingctl.deploy.layout import signed_deb
from tradingctl.errors import UntrustedError

WHOLE = ar(*SIGNED)
EVIL = ("control.tar.xz", XZ + b"evil")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.deb"


def refusal(path: Path) -> str:
    """Return why the file is refused."""
    with pytest.raises(UntrustedError) as raised, signed_deb(path):
        pass
    assert str(path) in raised.value.message
    return raised.value.message


def test_what_the_signature_covers_is_the_content_of_the_three_members(path: Path) -> None:
    path.write_bytes(WHOLE)
    with signed_deb(path) as deb:
        assert b"".join(deb.signed()) == COVERED
        assert b"".join(deb.signed()) == COVERED, "a second time as well"
        assert deb.signature == SIGNATURE[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("control.tar", b"x" * 257 + b"ustar"),
        ("control.tar.gz", b"\x1f\x8b"),
        ("control.tar.xz", XZ),
        ("control.tar.zst", ZSTD),
    ],
)
def test_every_compression_of_dpkg_deb_is_known(path: Path, name: str, content: bytes) -> None:
    path.write_bytes(ar(BINARY, (name, content), DATA, SIGNATURE))
    with signed_deb(path) as deb:
        assert b"".join(deb.signed()) == BINARY[1] + content + DATA[1]


def test_an_unsigned_package_is_called_so(path: Path) -> None:
    path.write_bytes(ar(BINARY, CONTROL, DATA))
    assert refusal(path) == f"{path} is not signed"


@pytest.mark.parametrize(
    "members",
    [
        [],
        [BINARY, CONTROL],
        [BINARY, CONTROL, SIGNATURE],
        # The first control archive is dpkg's, another one debsig-verify's.
        [BINARY, EVIL, CONTROL, DATA, SIGNATURE],
        [BINARY, CONTROL, EVIL, DATA, SIGNATURE],
        [BINARY, CONTROL, DATA, EVIL, SIGNATURE],
        [BINARY, CONTROL, CONTROL, DATA, SIGNATURE],
        [BINARY, CONTROL, DATA, DATA, SIGNATURE],
        # The order.
        [CONTROL, BINARY, DATA, SIGNATURE],
        [BINARY, DATA, CONTROL, SIGNATURE],
        [BINARY, SIGNATURE, CONTROL, DATA],
        [SIGNATURE, BINARY, CONTROL, DATA],
        # What dpkg passes over.
        [BINARY, ("_extra", b"x"), CONTROL, DATA, SIGNATURE],
        [*SIGNED, ("_extra", b"x")],
        [*SIGNED, ("extra", b"x")],
        [*SIGNED, SIGNATURE],
        [BINARY, CONTROL, DATA, ("_gpgmaint", b"x")],
        [BINARY, CONTROL, DATA, ("_gpgorigins", b"x")],
        # Names.
        [BINARY, ("control.tar.zst/", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, CONTROL, ("data.tar.zst/", DATA[1]), SIGNATURE],
        [BINARY, CONTROL, ("data.tar.xz/", XZ), SIGNATURE],
        [BINARY, (" control.tar.zst", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, ("Control.tar.zst", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, ("control.tar.bz2", b"BZh"), DATA, SIGNATURE],
        [BINARY, ("control.tar.lzma", b"]\0\0"), DATA, SIGNATURE],
        [BINARY, ("control.tar.", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, ("control", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, ("control.tar\0zst", CONTROL[1]), DATA, SIGNATURE],
        [("debian-binary/", BINARY[1]), CONTROL, DATA, SIGNATURE],
        [("//", b"control.tar.zst/\n"), BINARY, ("/0", CONTROL[1]), DATA, SIGNATURE],
        [("/", b"\0\0\0\0"), *SIGNED],
        # Names are not signed: the content must be what they say.
        [BINARY, ("control.tar.xz", CONTROL[1]), DATA, SIGNATURE],
        [BINARY, CONTROL, ("data.tar", DATA[1]), SIGNATURE],
        # The signature is over the contents in a row: where one ends is not signed.
        [BINARY, ("control.tar.zst", CONTROL[1] + DATA[1]), ("data.tar.zst", b""), SIGNATURE],
        [("debian-binary", BINARY[1] + CONTROL[1]), ("control.tar.zst", b""), DATA, SIGNATURE],
        [("debian-binary", b"2.0"), ("control.tar.zst", b"\n" + CONTROL[1]), DATA, SIGNATURE],
        [("debian-binary", b"2.1\n"), CONTROL, DATA, SIGNATURE],
        [BINARY, CONTROL, DATA, ("_gpgorigin", b"x" * 65537)],
    ],
    ids=lambda members: "+".join(name.replace("\0", "0") for name, _ in members) or "empty",
)
def test_other_members_are_refused(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.write_bytes(ar(*members))
    assert "does not have the layout of a signed package" in refusal(path)


def test_a_name_that_is_not_ascii_is_refused(path: Path) -> None:
    path.write_bytes(WHOLE.replace(b"_gpgorigin", b"_gpgor\xefgin"))
    assert "no header as dpkg-deb writes it" in refusal(path)


def with_header(**changed: str) -> bytes:
    """Return the file with another header of its data."""
    start = WHOLE.index(header(DATA[0], len(DATA[1])))
    return WHOLE[:start] + header(DATA[0], len(DATA[1]), **changed) + WHOLE[start + 60 :]


@pytest.mark.parametrize(
    "content",
    [
        with_header(mtime=""),
        with_header(mtime="-1"),
        with_header(mtime="0x10"),
        with_header(owner="1000"),
        with_header(group="1"),
        with_header(mode="100755"),
        with_header(mode="120644"),
        with_header(end="\n\n"),
        with_header(end="``"),
    ],
)
def test_what_dpkg_deb_never_writes_into_a_header_is_refused(path: Path, content: bytes) -> None:
    assert content != WHOLE
    path.write_bytes(content)
    assert "no header as dpkg-deb writes it" in refusal(path)


@pytest.mark.parametrize("size", ["", "-8", "+8", "08", "0x8", "8.0", "8 8", " 8", "8_0"])
def test_sizes_are_plain_numbers(path: Path, size: str) -> None:
    start = WHOLE.index(header(DATA[0], len(DATA[1])))
    path.write_bytes(WHOLE[:start] + header(DATA[0], size) + WHOLE[start + 60 :])
    assert "no header as dpkg-deb writes it" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"!<arch>",
        b"!<thin>\n" + WHOLE[8:],
        b"\x7fELF",
        WHOLE[:-1],
        WHOLE[:-20],
        ar(*SIGNED[:3], ("_gpgorigin", b"even"))[:-2],
        WHOLE + b"\n",
        WHOLE + b"trailing garbage",
        WHOLE + WHOLE,
        ar(*SIGNED, padding=b"x"),
        ar(*SIGNED, padding=b""),
        with_header().replace(b"8         `", b"9999999999`"),
    ],
)
def test_what_is_no_whole_archive_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "does not have the layout" in refusal(path)


def test_a_link_and_a_pipe_are_refused(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.deb"
    real.write_bytes(WHOLE)
    path.symlink_to(real)
    assert "it is a link" in refusal(path)
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in refusal(path)


def test_what_takes_the_place_of_an_open_file_is_not_read(path: Path) -> None:
    path.write_bytes(WHOLE)
    with signed_deb(path) as deb:
        path.rename(path.with_name("old.deb"))
        path.write_bytes(ar(BINARY, EVIL, DATA, SIGNATURE))
        assert b"".join(deb.signed()) == COVERED
