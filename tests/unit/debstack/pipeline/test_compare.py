"""Two .debs, made by dpkg-deb, of which something differs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.debstack.steps.test_sign import SIGNATURE

from debstack.pipeline.compare import Compared, compare
from debstack.process import Runner, base_environment

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


@pytest.mark.parametrize("options", [("-Zzstd", "-z19"), ("-Zxz",)])
def test_another_compressor_is_no_difference(tmp_path: Path, options: tuple[str, ...]) -> None:
    found = result(tmp_path, *options, change=lambda tree: None)
    assert found.state == "same contents"
    assert found.released != found.rebuilt


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
