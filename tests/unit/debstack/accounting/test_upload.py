"""The .changes of files that are not any more what dpkg-genchanges saw."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from debian.deb822 import Changes

from debstack.accounting.upload import changes_of, listed_files
from debstack.errors import BuildError

TEXT = """\
Format: 1.8
Source: web
Changes:
 web (1.0) bookworm; urgency=medium
 .
   * 1234 5678 web_1.0_amd64.deb
Checksums-Sha1:
 aaaa 1 web_1.0_amd64.buildinfo
 bbbb 2 web_1.0_amd64.deb
Checksums-Sha256:
 aaaa 1 web_1.0_amd64.buildinfo
 bbbb 2 web_1.0_amd64.deb
Files:
 aaaa 1 misc optional web_1.0_amd64.buildinfo
 bbbb 2 misc optional web_1.0_amd64.deb
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("web_1.0_amd64.deb", "web_1.0_amd64.buildinfo")]
    for path in found:
        path.write_text(f"content of {path.name}")
    return found


def test_it_lists_the_files_as_they_are(files: list[Path]) -> None:
    text = changes_of(TEXT, files)
    changes = Changes(text)
    for path in files:
        content = path.read_bytes()
        for field, algorithm in (("Checksums-Sha1", "sha1"), ("Checksums-Sha256", "sha256")):
            (entry,) = (each for each in changes[field] if each["name"] == path.name)
            assert entry[algorithm] == hashlib.new(algorithm, content).hexdigest()
            assert int(entry["size"]) == len(content)
        (entry,) = (each for each in changes["Files"] if each["name"] == path.name)
        assert entry["md5sum"] == hashlib.md5(content).hexdigest()  # noqa: S324  (its format)
        assert (entry["section"], entry["priority"]) == ("misc", "optional")
    kept = text.partition("Checksums-Sha1:")[0]
    assert kept == TEXT.partition("Checksums-Sha1:")[0]


def test_another_set_of_files_is_refused(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="other files than were built"):
        changes_of(TEXT, files[:1])
    (tmp_path / "other.deb").write_text("")
    with pytest.raises(BuildError):
        changes_of(TEXT, [*files, tmp_path / "other.deb"])


def test_the_files_of_a_field_can_be_read_back() -> None:
    assert list(listed_files(TEXT, "Checksums-Sha256")) == [
        ("aaaa", 1, "web_1.0_amd64.buildinfo"), ("bbbb", 2, "web_1.0_amd64.deb"),
    ]  # fmt: skip
