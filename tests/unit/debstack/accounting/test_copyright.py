"""The licences in debian/copyright: each text once, and every file named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from debian.copyright import Copyright
from tests.unit.debstack.accounting.wheels import SITE_PACKAGES, install

from debstack.accounting import copyright as licences
from debstack.accounting.bundled import Bundled, LicenceFile, read_bundled

MIT = b"Permission is hereby granted.\n\n.\n  indented\n\tand tabbed\n"


def bundled(environment: Path) -> tuple[Bundled, ...]:
    folder = environment / "lib/python3.11/site-packages"
    install(folder, "one", "1", "License-Expression: MIT OR Apache-2.0\n",
            {"one/a.py": b"", "one-1.dist-info/LICENSE": MIT, "../../../bin/one": b""})  # fmt: skip
    install(folder, "two", "2", "",
            {"shared/two.py": b"", "two-2.dist-info/LICENSE": MIT.rstrip(),
             "two/NOTICE": b"other", "a name [x]*.py": b""})  # fmt: skip
    install(folder, "three", "3", "", {"shared/three.py": b"", "shared/deep/x.py": b""})
    return read_bundled(folder)


def test_each_text_is_given_once(tmp_path: Path) -> None:
    every = [each for one in bundled(tmp_path) for each in one.licences]
    assert len(every) == 3
    texts = licences.texts(every)
    assert len(texts) == 2
    lines = licences.references(every)
    assert lines[0] == f"one-1.dist-info/LICENSE: {lines[1].rpartition(' ')[2]}"
    assert {line.rpartition(" ")[2] for line in lines} == {text.name for text in texts}


def test_no_pattern_covers_files_of_two_distributions(tmp_path: Path) -> None:
    found = licences.paragraphs(
        bundled(tmp_path), SITE_PACKAGES, dict.fromkeys(("one-1.dist-info", "two-2.dist-info",
        "three-3.dist-info"), "wheel"),
    )  # fmt: skip
    one, three, two = (
        {each.removeprefix(f"{SITE_PACKAGES}/") for each in paragraph.files} for paragraph in found
    )
    assert one == {"one/*", "one-1.dist-info/*", "usr/lib/trading/web/.venv/bin/one"}
    assert three == {"three-3.dist-info/*", "shared/three.py", "shared/deep/*"}
    assert two == {"two-2.dist-info/*", "two/*", "shared/two.py", "a?name?[x]\\*.py"}
    assert found[0].licence == "MIT or Apache-2.0"
    assert found[0].comment == "one 1, wheel"


def test_the_body_comes_back_from_a_reader_of_copyright_files() -> None:
    text = LicenceFile("LICENSE", MIT).text
    document = (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        f"License: LicenseRef-1\n{licences.body(text)}\n"
    )
    (paragraph,) = Copyright(io.StringIO(document), strict=True).all_license_paragraphs()
    decoded: Any = paragraph.license
    words = [line.split() for line in decoded.text.split("\n")]
    assert words == [line.split() for line in text.split("\n")]


@pytest.mark.parametrize("name", sorted(set(licences._COMMON.values())))
def test_common_licences_are_those_of_debian(name: str) -> None:
    file = Path("/usr/share/common-licenses", name)
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    text = file.read_text("utf-8")
    assert licences.common_licence(text) == name
    assert licences.common_licence(text.replace("\n", "\n\n   ")) == name
    assert licences.common_licence(f"{text} and more") == ""
    one = LicenceFile("x/LICENSE", text.encode())
    assert licences.references([one]) == (f"x/LICENSE: /usr/share/common-licenses/{name}",)
    assert licences.texts([one]) == ()


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ("License-Expression: MIT AND (0BSD OR Zlib)", "MIT-AND-(0BSD-OR-Zlib)"),
        ("License-Expression: BSD-3-Clause AND MIT", "BSD-3-Clause and MIT"),
        ("License: 3-Clause BSD License", "3-Clause-BSD-License"),
        ("", "see-the-files-named-below"),
    ],
)
def test_short_names_are_those_of_the_format(tmp_path: Path, headers: str, name: str) -> None:
    install(tmp_path, "demo", "1", headers + "\n" if headers else "")
    assert licences.short_name(read_bundled(tmp_path)[0]) == name
