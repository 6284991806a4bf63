"""The command lines for programs that are not to see everything."""

from __future__ import annotations

from pathlib import Path

from debstack.isolation import among_all_files


def test_what_is_hidden_behind_a_link_is_hidden_where_it_is(tmp_path: Path) -> None:
    folder, file = tmp_path / "real", tmp_path / "real-file"
    folder.mkdir()
    file.touch()
    (tmp_path / ".ssh").symlink_to(folder)
    (tmp_path / "passphrase").symlink_to(file)
    (tmp_path / "loop").symlink_to("loop")
    before = among_all_files([])
    hidden = [tmp_path / name for name in (".ssh", "passphrase", "loop", "none")]
    assert among_all_files(hidden) == [
        *before, "--tmpfs", str(folder), "--ro-bind", "/dev/null", str(file),
    ]  # fmt: skip
