"""The copies of a tree that cost no space."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tradingctl import tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "bin").mkdir(parents=True)
    (made / "app.py").write_text("print()", encoding="utf-8")
    (made / "bin/run").write_text("#!", encoding="utf-8")
    (made / "bin/run").chmod(0o755)
    (made / "data").symlink_to("/var/lib/trading/x/data")
    (made / "bin").chmod(0o750)
    return made


def test_files_are_hard_links_links_are_made_anew_and_modes_are_kept(
    source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    assert tree.duplicate(source, copy)
    assert (copy / "app.py").stat().st_ino == (source / "app.py").stat().st_ino
    assert str((copy / "data").readlink()) == "/var/lib/trading/x/data"
    assert (copy / "bin").stat().st_mode & 0o777 == 0o750
    assert tree.difference(source, copy) == ""


def test_files_are_copied_on_another_file_system(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    copy = tmp_path / "copy"
    assert not tree.duplicate(source, copy)
    assert (copy / "app.py").stat().st_ino != (source / "app.py").stat().st_ino
    assert (copy / "bin/run").stat().st_mode & 0o777 == 0o755
    assert tree.difference(source, copy) == ""


def test_another_failure_to_link_is_not_taken_for_another_file_system(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(OSError, match="No space"):
        tree.duplicate(source, tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda copy: (copy / "app.py").unlink(), "app.py is missing"),
        (lambda copy: (copy / "more").write_text(""), "more is not of the package"),
        (lambda copy: (copy / "bin").chmod(0o700), "bin differs"),
        (lambda copy: (copy / "data").unlink() or (copy / "data").symlink_to("/"), "data"),
        (lambda copy: (copy / "app.py").unlink() or (copy / "app.py").write_text("!"), "app.py"),
    ],
)
def test_a_copy_that_was_changed_is_found(
    source: Path, tmp_path: Path, change: object, said: str
) -> None:
    copy = tmp_path / "copy"
    tree.duplicate(source, copy)
    change(copy)  # type: ignore[operator]
    assert said in tree.difference(source, copy)


def test_a_copy_that_is_not_there_is_missing(source: Path, tmp_path: Path) -> None:
    assert tree.difference(source, tmp_path / "copy") == "missing"
