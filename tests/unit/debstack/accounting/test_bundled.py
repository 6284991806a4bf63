"""What is read from installed distributions, which are other people's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.debstack.accounting.wheels import install

from debstack.accounting.bundled import LicenceFile, is_licence_file, read_bundled


@pytest.mark.parametrize(
    "path",
    [
        "demo-1.dist-info/LICENSE", "demo-1.dist-info/licenses/AUTHORS.md", "demo/LICENCE.txt",
        "demo-1.dist-info/licenses/sub/dir/x", "demo/fonts/LICENSE_DEJAVU", "LICENSE", "NOTICE.txt",
        "demo/COPYING", "demo/dragon4_LICENSE.txt", "demo/third-party-licenses.json",
        "demo/UNLICENSE", "demo/LICENSE.APACHE", "demo/Copyright", "demo/BOTTLENECK_LICENCE",
    ],
)  # fmt: skip
def test_what_a_licence_is_called(path: str) -> None:
    assert is_licence_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "demo/license.py", "demo/_licenses.pyi", "demo/noticed.txt", "demo/copyrighted.md",
        "demo/licenser/x.txt", "demo-1.dist-info/METADATA", "demo/notice.js", "demo/licenses/a.so",
    ],
)  # fmt: skip
def test_what_is_none(path: str) -> None:
    assert not is_licence_file(path)


def test_a_distribution_says_who_it_is_and_what_it_brings(tmp_path: Path) -> None:
    install(
        tmp_path, "Demo-Lib", "1.0",
        "License-Expression: MIT\nLicense-File: terms.txt\nAuthor: Ann\n  Other\n"
        "Requires-Dist: other>1\n",
        {
            "demo/__init__.py": b"", "demo/COPYING": b"copy",
            "Demo_Lib-1.0.dist-info/licenses/terms.txt": b"terms",
            "Demo_Lib-1.0.dist-info/sboms/a.cdx.json": b"{}",
        },
    )  # fmt: skip
    (one,) = read_bundled(tmp_path)
    assert (one.name, one.version, one.expression) == ("Demo-Lib", "1.0", "MIT")
    assert (one.statement, one.author, one.requires) == ("MIT", "Ann Other", ("other>1",))
    assert {each.path: each.text for each in one.licences} == {
        "demo/COPYING": "copy", "Demo_Lib-1.0.dist-info/licenses/terms.txt": "terms",
    }  # fmt: skip
    assert one.sboms == (("Demo_Lib-1.0.dist-info/sboms/a.cdx.json", b"{}"),)


def test_a_declared_licence_with_any_name_counts(tmp_path: Path) -> None:
    install(tmp_path, "demo", "1", "License-File: TERMS",
            {"demo-1.dist-info/TERMS": b"old", "demo/TERMS": b"not it"})  # fmt: skip
    (one,) = read_bundled(tmp_path)
    assert [each.path for each in one.licences] == ["demo-1.dist-info/TERMS"]


@pytest.mark.parametrize("path", ["../secret/LICENSE", "/{root}/secret/LICENSE", "demo/LICENSE"])
def test_a_record_does_not_lead_out_of_the_environment(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/LICENSE").write_text("secret")
    site_packages = tmp_path / "site-packages"
    install(site_packages, "demo", "1", record=f"{path.replace('{root}', str(tmp_path)[1:])},,\n")
    (site_packages / "demo").mkdir()
    (site_packages / "demo/LICENSE").symlink_to(tmp_path / "secret/LICENSE")
    (one,) = read_bundled(site_packages)
    assert one.licences == ()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfword\r\nnext\r", "word\nnext"),
        ("Grönholm".encode("latin-1"), "Grönholm"),
        (b"page\x0cnext\x1b[31m\x00\n\n", "pagenext[31m"),
        ("a\u2028b\x85c".encode(), "abc"),
    ],
)
def test_texts_hold_nothing_that_breaks_a_control_file(content: bytes, text: str) -> None:
    assert LicenceFile("LICENSE", content).text == text


def test_a_licence_as_long_as_its_text_is_no_name(tmp_path: Path) -> None:
    install(tmp_path, "demo", "1", "License: Permission is granted\n   to all who\n"
            "Classifier: License :: OSI Approved :: BSD License\n")  # fmt: skip
    assert read_bundled(tmp_path)[0].statement == "BSD License"


def test_what_old_tools_write_where_nothing_was_said_is_not_said(tmp_path: Path) -> None:
    install(tmp_path, "demo", "1", "License: UNKNOWN\nAuthor: UNKNOWN\nMaintainer: Jane\n"
            "Classifier: License :: OSI Approved :: BSD License\n")  # fmt: skip
    (one,) = read_bundled(tmp_path)
    assert (one.statement, one.author) == ("BSD License", "Jane")
