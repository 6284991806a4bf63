"""What is taken from a suite is what was signed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.debstack.archive.suites import offering, put
from tests.unit.debstack.archive.test_plan import KEY, SUITE

from debstack import gpg
from debstack.archive.signed import check_signed
from debstack.archive.tree import Tree
from debstack.errors import ArchiveError
from debstack.process import Runner

OTHER = "B" * 40


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Return an archive with a suite whose signature is a good one of ``KEY``."""
    monkeypatch.setattr(
        gpg, "verify_clear", lambda message, *_: (message, (OTHER, KEY.fingerprint))
    )
    made = Tree(tmp_path)
    put(made, SUITE, KEY, offering("2026.11.23.1", "2026.11.23.2"))
    return made


def signed(tree: Tree, *signers: str) -> bool:
    return check_signed(tree, SUITE.name, signers or (KEY.fingerprint,), Runner())


def test_releases_are_what_was_signed(tree: Tree) -> None:
    assert signed(tree)
    path = tree.dist(SUITE.name) / "releases.json"
    path.write_bytes(path.read_bytes().replace(b"feed_2026.11.23.2_", b"feed_2026.11.23.1_"))
    with pytest.raises(ArchiveError, match=r"releases\.json is not what Release says"):
        signed(tree)


def lose(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"feed", b"food")))


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("main/binary-amd64/Packages.gz", change, "Packages is not what Release says"),
        ("main/binary-amd64/Packages.gz", lose, "cannot be read"),
        ("releases.json", lose, "cannot be read"),
        ("InRelease", lose, "cannot be read"),
    ],
)
def test_what_is_not_what_was_signed_is_refused(
    tree: Tree, name: str, damage: Callable[[Path], None], problem: str
) -> None:
    damage(tree.dist(SUITE.name) / name)
    with pytest.raises(ArchiveError, match=problem):
        signed(tree)


def test_whose_signature_counts_is_not_for_the_archive_to_say(tree: Tree) -> None:
    with pytest.raises(ArchiveError, match="should sign it") as caught:
        signed(tree, "C" * 40)
    assert "debstack refresh" in caught.value.hint


def test_a_generation_of_an_earlier_version_is_no_error(tree: Tree) -> None:
    put(tree, SUITE, KEY, offering("2026.11.23.1"), signs_releases=False)
    assert not signed(tree)
