"""Two .debs, made by dpkg-deb, of which something differs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.unit.debstack.steps.test_sign import SIGNATURE

from debstack import process
from debstack.errors import RebuildError
from debstack.pipeline.compare import Compared, compare
from debstack.process import Runner, base_environment
from debstack.steps import sign

CONTROL = """Package: demo
Version: 1
Architecture: all
Maintainer: Demo <demo@example.org>
Description: a demo
"""
EPOCH = 1700000000
FILE = "usr/share/doc/demo/README"


def deb(folder: Path, *options: str, change: Callable[[Path], None] = lambda tree: None) -> Path:
    """Return a package of a file and a link in it, changed before it is packed."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / FILE).parent.mkdir(parents=True)
    (tree / FILE).write_text("read me\n")
    (tree / "usr/share/doc/demo/link").symlink_to("README")
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    change(tree)
    for path in [tree, *tree.rglob("*")]:
        if path.lstat().st_mtime != EPOCH + 1:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    built = folder / "demo.deb"
    Runner().run(
        ["dpkg-deb", *(options or ("-Zzstd", "-z3")), "--root-owner-group", "--build", tree, built],
        env=base_environment() | {"SOURCE_DATE_EPOCH": str(EPOCH + 2)},
    )
    return built


def result(tmp_path: Path, *options: str, change: Callable[[Path], None]) -> Compared:
    ours = deb(tmp_path / "a")
    return compare("demo", ours, deb(tmp_path / "b", *options, change=change), Runner())


def test_a_signature_is_no_difference(tmp_path: Path) -> None:
    first, second = deb(tmp_path / "a"), deb(tmp_path / "b")
    name, content = SIGNATURE
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
    with first.open("ab") as file:
        file.write(header.encode() + content + b"\n" * (len(content) % 2))
    found = compare("demo", first, second, Runner())
    assert (found.state, found.released) == ("same", found.rebuilt)


@pytest.mark.parametrize("options", [("-Zzstd", "-z19"), ("-Zzstd", "-z1")])
def test_another_version_of_the_compressor_is_no_difference(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    # Bytes that do not repeat, and more than a block of those that do.
    content = hashlib.shake_256().digest(300_000) + bytes(300_000)

    def change(tree: Path) -> None:
        (tree / FILE).write_bytes(content)

    found = compare(
        "demo", deb(tmp_path / "a", change=change),
        deb(tmp_path / "b", *options, change=change), Runner(),
    )  # fmt: skip
    assert found.state == "same contents"
    assert found.released != found.rebuilt


@pytest.mark.parametrize("kind", ["xz", "gzip", "none"])
def test_another_compressor_is_one(tmp_path: Path, kind: str) -> None:
    found = result(tmp_path, f"-Z{kind}", change=lambda tree: None)
    assert found.state == "differs"
    assert found.difference[0].startswith("control.tar.zst and control.tar")
    # Also where nothing but the data is packed by it.
    found = result(tmp_path / "2", f"-Z{kind}", "--no-uniform-compression",
                   change=lambda tree: None)  # fmt: skip
    assert found.state == "differs"


def with_member(deb: Path, name: str, content: bytes, copy: Path, *, mode: str = "100644") -> Path:
    """Return a copy of a package that has another content in the member ``name``."""
    layout = sign.read_layout(deb)
    with copy.open("wb") as file:
        file.write(b"!<arch>\n")
        for each in layout.payload:
            before = deb.read_bytes()[each.start : each.start + each.size]
            body = content if each.name == name else before
            shown = mode if each.name == name else "100644"
            header = f"{each.name:<16}{each.mtime:<12}{0:<6}{0:<6}{shown:<8}{len(body):<10}`\n"
            file.write(header.encode() + body + b"\n" * (len(body) % 2))
    return copy


def data_of(deb: Path) -> bytes:
    member = sign.read_layout(deb).payload[2]
    return deb.read_bytes()[member.start : member.start + member.size]


@pytest.mark.parametrize(
    "more",
    [
        b"\x50\x2a\x4d\x18" + (1000).to_bytes(4, "little") + b"x" * 1000,
        # A second frame, of nothing.
        zstandard.ZstdCompressor().compress(b""),
    ],
    ids=["skippable", "empty"],
)
@pytest.mark.parametrize("checksum", [True, False])
def test_what_follows_the_compressed_archive_is_a_difference(
    tmp_path: Path, more: bytes, checksum: bool
) -> None:
    made = deb(tmp_path / "a")
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(data_of(made))
    data = zstandard.ZstdCompressor(19, write_checksum=checksum).compress(tar)
    repacked = with_member(made, "data.tar.zst", data, tmp_path / "repacked.deb")
    assert compare("demo", made, repacked, Runner()).state == "same contents"
    longer = with_member(made, "data.tar.zst", data + more, tmp_path / "longer.deb")
    found = compare("demo", made, longer, Runner())
    assert found.state == "differs"
    assert found.difference[0] == (
        f"data.tar.zst: 0 and {len(more)} bytes beside the compressed ones"
    )


def test_the_same_archive_in_other_bytes_of_another_compressor_is_a_difference(
    tmp_path: Path,
) -> None:
    first, second = (deb(tmp_path / level, "-Zgzip", f"-z{level}") for level in "19")
    found = compare("demo", first, second, Runner())
    assert found.state == "differs"
    assert found.difference[0].startswith("control.tar.gz: ")


def test_another_header_of_a_member_is_a_difference(tmp_path: Path) -> None:
    made = deb(tmp_path / "a")
    theirs = with_member(
        made, "data.tar.zst", data_of(made), tmp_path / "theirs.deb", mode="100666"
    )
    found = compare("demo", made, theirs, Runner())
    assert found.state == "differs"
    assert found.difference[0].startswith("data.tar.zst: header ")


@pytest.mark.parametrize("content", [b"no tar", b"x" * 2048])
def test_what_holds_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    made = deb(tmp_path / "a")
    packed = zstandard.ZstdCompressor().compress(content)
    broken = with_member(made, "data.tar.zst", packed, tmp_path / "broken.deb")
    with pytest.raises(RebuildError, match=r"broken\.deb holds no archive") as caught:
        compare("demo", broken, made, Runner())
    assert "dpkg-deb --fsys-tarfile" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda data: data[:-20], r"data\.tar\.zst is cut off"),
        (lambda data: data[:4] + b"\xff" + data[5:], r".*dpkg-deb --fsys-tarfile"),
        (lambda data: data[:-30] + bytes(30), r".*dpkg-deb --fsys-tarfile"),
    ],
    ids=["cut off", "another header", "another end"],
)
@pytest.mark.parametrize("which", ["released", "rebuilt"])
def test_a_damaged_package_is_named(
    tmp_path: Path, content: Callable[[bytes], bytes], why: str, which: str
) -> None:
    made = deb(tmp_path / "a")
    torn = with_member(made, "data.tar.zst", content(data_of(made)), tmp_path / "torn.deb")
    pair = (torn, made) if which == "released" else (made, torn)
    with pytest.raises(RebuildError, match=rf"torn\.deb is damaged: {why}") as caught:
        compare("demo", *pair, Runner())
    assert "sha256sum -c SHA256SUMS" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "says"),
    [(0, ["it says"]), (1, ["it says"]), (2, ["diffoscope ended with exit code 2", "no memory"])],
)
def test_a_diffoscope_that_fails_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: list[str]
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "diffoscope").write_text(
        f"#!/bin/sh\n[ $# = 3 ] || exit 3\necho it says\necho no memory >&2\nexit {code}\n"
    )
    (tools / "diffoscope").chmod(0o755)
    path = f"{tools}:{process.SYSTEM_PATH}"
    monkeypatch.setattr(process, "SYSTEM_PATH", path)
    monkeypatch.setattr("debstack.pipeline.compare.SYSTEM_PATH", path)
    found = result(tmp_path, change=_write(FILE, "read it\n"))
    assert found.state == "differs"
    assert found.difference[0].startswith(f"data.tar: ./{FILE}: content ")
    assert list(found.difference[1:]) == says


def _write(path: str, text: str) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        (tree / path).write_text(text)
        (tree / path).chmod(0o644)

    return change


def _link(tree: Path) -> None:
    (tree / "usr/share/doc/demo/link").unlink()
    (tree / "usr/share/doc/demo/link").symlink_to("other")


def _remove(tree: Path) -> None:
    (tree / FILE).unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_write(FILE, "read it\n"), f"data.tar: ./{FILE}: content "),
        (_write(FILE, "read\n"), f"data.tar: ./{FILE}: size 8 and 5, content "),
        (_write("usr/share/doc/demo/more", ""),
         "data.tar: ./usr/share/doc/demo/more is in the rebuilt package only"),
        (_remove, f"data.tar: ./{FILE} is in the released package only"),
        (lambda tree: (tree / FILE).chmod(0o755),
         f"data.tar: ./{FILE}: mode -rw-r--r-- and -rwxr-xr-x"),
        (lambda tree: os.utime(tree / FILE, (EPOCH + 1, EPOCH + 1)),
         f"data.tar: ./{FILE}: mtime {EPOCH} and {EPOCH + 1}"),
        (_link, "data.tar: ./usr/share/doc/demo/link: link README and other"),
        (_write("DEBIAN/control", CONTROL.replace("a demo", "a DEMO")),
         "control.tar: ./control: content "),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(
    tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    found = result(tmp_path, change=change)
    assert found.state == "differs"
    assert found.difference[0].startswith(says)


def test_another_owner_is_named(tmp_path: Path) -> None:
    ours = deb(tmp_path / "a")
    tree, theirs = tmp_path / "a/tree", tmp_path / "theirs.deb"
    if os.geteuid() == 0:
        os.chown(tree / FILE, 1, 1)
    Runner().run(
        ["dpkg-deb", "-Zzstd", "-z3", "--build", tree, theirs],
        env=base_environment() | {"SOURCE_DATE_EPOCH": str(EPOCH + 2)},
    )
    found = compare("demo", ours, theirs, Runner())
    assert found.state == "differs"
    assert ": owner root:root (0:0) and " in found.difference[0]


def test_another_date_of_the_package_is_named(tmp_path: Path) -> None:
    ours = deb(tmp_path / "a")
    theirs = tmp_path / "theirs.deb"
    theirs.write_bytes(ours.read_bytes().replace(str(EPOCH + 2).encode(), str(EPOCH + 3).encode()))
    found = compare("demo", ours, theirs, Runner())
    assert found.difference[0] == f"debian-binary: mtime {EPOCH + 2} and {EPOCH + 3}"
