"""Tarballs of source packages: what is in them, and that nothing else decides about their bits."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from debstack.digest import sha256_of
from debstack.errors import BuildError
from debstack.process import Runner
from debstack.steps.source_package import Member, dsc, tarball, tree

EPOCH = 1_795_000_000


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/run").write_text("#!/bin/sh\n")
    (folder / "bin/run").chmod(0o700)
    (folder / "a b").write_text("text")
    (folder / "link").symlink_to("bin/run")
    (folder / os.fsdecode(b"caf\xe9")).write_text("latin")
    return folder


@pytest.mark.parametrize("suffix", ["tar", "tar.xz", "tar.gz"])
def test_owners_times_and_modes_are_the_same_everywhere(
    files: Path, tmp_path: Path, suffix: str
) -> None:
    made = tarball(tmp_path / f"demo.{suffix}", tree(files, "demo-1/"), EPOCH)
    with tarfile.open(made, encoding="utf-8", errors="surrogateescape") as archive:
        members = archive.getmembers()
        content = archive.extractfile("demo-1/a b")
        assert content is not None
        assert content.read() == b"text"
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "root", "root", EPOCH)
    }
    found = {m.name.removeprefix("demo-1/"): (m.mode, m.linkname) for m in members}
    assert found == {
        "a b": (0o644, ""),
        "bin/run": (0o755, ""),
        os.fsdecode(b"caf\xe9"): (0o644, ""),
        "link": (0o777, "bin/run"),
    }


@pytest.mark.parametrize("suffix", ["tar.xz", "tar.gz"])
def test_neither_order_nor_name_nor_times_of_files_are_in_the_bits(
    files: Path, tmp_path: Path, suffix: str
) -> None:
    one = tarball(tmp_path / f"one.{suffix}", tree(files), EPOCH)
    os.utime(files / "a b", (1, 1))
    two = tarball(tmp_path / f"two.{suffix}", reversed(tree(files)), EPOCH)
    assert sha256_of(one) == sha256_of(two)
    assert sha256_of(tarball(one, tree(files), EPOCH + 1)) != sha256_of(two)


def test_content_may_be_given_as_bytes(tmp_path: Path) -> None:
    made = tarball(tmp_path / "demo.tar", [Member("x/y", b"given", executable=True)], EPOCH)
    with tarfile.open(made) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.mode) == ("x/y", 5, 0o755)


def test_a_folder_without_a_changelog_is_described_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "demo/debian").mkdir(parents=True)
    file = tarball(tmp_path / "demo_1.tar.xz", [Member("demo/x", b"")], EPOCH)
    with pytest.raises(BuildError, match="dpkg-source"):
        dsc(tmp_path / "demo", [file], "3.0 (native)", Runner())
