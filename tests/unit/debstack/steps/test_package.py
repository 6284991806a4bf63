"""Building a small package with dpkg-buildpackage and letting lintian look at it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from debstack.errors import BuildError
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps.package import (
    Changelog,
    _forget_checksums,
    lint,
    package,
    shared_library_depends,
    write_debian,
)

CHANGELOG = Changelog(
    "1.0~deb12", "bookworm", "Ops <ops@example.org>", 1_700_000_000, ("Say hello.",)
)
VALUES: dict[str, object] = {
    "stack": "demo",
    "homepage": "https://demo.example.org/",
    "common": "traderunner-common",
    "common_version": "1.0~deb12",
    "keyring": "traderunner-archive-keyring",
    "packages": {"web": "1-1~deb12"},
    "release": "2026.11.23.1",
}


def source(folder: Path) -> Path:
    """Write the source package of a stack without any contents of its own."""
    made = folder / "work/source"
    (made / "payload/usr/share/trading").mkdir(parents=True)
    (made / "payload/usr/share/trading/stack.json").write_text("{}\n")
    write_debian("stack", "traderunner-stack", CHANGELOG, VALUES, made)
    return made


def need_tools() -> None:
    missing = [
        name
        for name in ("dpkg-buildpackage", "dh", "lintian")
        if shutil.which(name, path=SYSTEM_PATH) is None
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def test_the_changelog_is_dated_in_utc_and_wrapped(tmp_path: Path) -> None:
    long = Changelog("1.0", "bookworm", "Ops <ops@example.org>", 1_700_000_000, ("word " * 40,))
    write_debian("stack", "traderunner-stack", long, VALUES, tmp_path)
    text = (tmp_path / "debian/changelog").read_text()
    assert text.startswith("traderunner-stack (1.0) bookworm; urgency=medium\n\n  * word")
    assert text.endswith("\n -- Ops <ops@example.org>  Tue, 14 Nov 2023 22:13:20 -0000\n")
    assert max(map(len, text.splitlines())) <= 80
    assert (tmp_path / "debian/source/format").read_text() == "3.0 (native)\n"


def test_control_and_rules_are_written(tmp_path: Path) -> None:
    made = source(tmp_path)
    control = (made / "debian/control").read_text()
    assert "Package: traderunner-stack\n" in control
    (depends,) = re.findall(r"^Depends: ((?:.|\n )*)", control, re.MULTILINE)
    assert re.split(r",\s+", depends)[-1] == "web (= 1-1~deb12)"
    assert "Maintainer: Ops <ops@example.org>\n" in control
    assert "debhelper-compat (= 13)\n" in control
    assert (made / "debian/rules").stat().st_mode & 0o111


def test_a_missing_value_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="debian-templates/stack/debian/control: 'packages'"):
        write_debian("stack", "traderunner-stack", CHANGELOG,
                     {k: v for k, v in VALUES.items() if k != "packages"}, tmp_path)  # fmt: skip


def test_checksums_of_what_is_left_out_are_forgotten(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "md5sums"
    original.write_text(
        f"{'0' * 32}  usr/lib/web/.venv/a\n{'1' * 32}  usr/lib/web/.venvy\n"
        f"{'2' * 32}  usr/share/usr/lib/web/.venv/b\n"
    )
    text = original.read_text()
    copy.hardlink_to(original)
    _forget_checksums(copy, ("usr/lib/web/.venv",))
    assert [line[:1] for line in copy.read_text().splitlines()] == ["1", "2"]
    assert original.read_text() == text
    _forget_checksums(tmp_path / "none", ())


def test_a_package_is_built_and_clean(tmp_path: Path) -> None:
    need_tools()
    runner, made = Runner(tmp_path / "log"), source(tmp_path)
    built = package(made, tmp_path / "out", runner)
    assert built.deb == tmp_path / "out/traderunner-stack_1.0~deb12_all.deb"
    assert built.buildinfo.is_file()
    assert built.changes.is_file()
    fields = runner.capture(["dpkg-deb", "--field", built.deb, "Package", "Version"]).text
    assert fields == "Package: traderunner-stack\nVersion: 1.0~deb12\n"
    members = runner.capture(["ar", "t", built.deb]).text.split()
    assert members == ["debian-binary", "control.tar.zst", "data.tar.zst"]
    lint(made, "traderunner-stack", (), runner)
    assert "dh_builddeb" in (tmp_path / "log").read_text()


def test_lintian_objects_and_the_parts_left_out_do_not_count(tmp_path: Path) -> None:
    need_tools()
    made = source(tmp_path)
    evil = made / "payload/usr/lib/demo/bad/script"
    evil.parent.mkdir(parents=True)
    evil.write_text("#!/usr/bin/no-such-interpreter\n")
    evil.chmod(0o755)
    package(made, tmp_path / "out", Runner())
    with pytest.raises(BuildError, match="lintian objects to traderunner-stack") as caught:
        lint(made, "traderunner-stack", (), Runner())
    assert any("unusual-interpreter" in line for line in caught.value.details)
    assert "debian-templates/" in caught.value.hint
    shutil.rmtree(made / "lint")
    lint(made, "traderunner-stack", ("usr/lib",), Runner())
    md5sums = (made / "debian/traderunner-stack/DEBIAN/md5sums").read_text()
    assert "usr/lib/demo/bad/script" in md5sums


def test_a_build_that_fails_shows_the_tools_last_lines(tmp_path: Path) -> None:
    need_tools()
    made = source(tmp_path)
    rules = made / "debian/rules"
    rules.write_text(rules.read_text().replace("\tdh_testdir\n", "\techo to no avail; false\n"))
    with pytest.raises(BuildError, match="dpkg-buildpackage") as caught:
        package(made, tmp_path / "out", Runner(tmp_path / "log"))
    assert "to no avail" in caught.value.details
    assert not (tmp_path / "out").exists()


def test_libraries_that_shared_objects_need_become_dependencies(tmp_path: Path) -> None:
    need_tools()
    library = next(iter(Path("/lib").glob("*-linux-gnu/libz.so.1")), None)
    if library is None:
        pytest.skip("zlib1g is not installed")
    made = source(tmp_path)
    assert shared_library_depends(made, made / "payload", Runner()) == ""
    (made / "payload/usr/lib").mkdir(parents=True)
    shutil.copyfile(library, made / "payload/usr/lib/libdemo.so.1")
    (made / "payload/usr/lib/text.so").write_text("no library\n")
    depends = shared_library_depends(made, made / "payload", Runner())
    assert re.match(r"libc6 \(>= 2\.[0-9]+\)", depends)
    assert not (made / "payload/DEBIAN").exists()
