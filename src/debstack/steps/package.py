"""Build a Debian package from a payload with dpkg-buildpackage, and check it with lintian."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from debstack.errors import BuildError
from debstack.process import Runner, base_environment
from debstack.render import render

ZSTD_LEVEL = 3
_HINTS = ("E: ", "W: ", "I: ", "P: ")


@dataclass(frozen=True)
class Package:
    """What dpkg-buildpackage left: the .deb, the .buildinfo and the .changes."""

    deb: Path
    buildinfo: Path
    changes: Path


@dataclass(frozen=True)
class Changelog:
    """The one entry of debian/changelog. ``epoch`` is the package's date in seconds since 1970."""

    version: str
    distribution: str
    maintainer: str
    epoch: int
    changes: tuple[str, ...]

    def values(self) -> dict[str, object]:
        """Return what the templates need of it."""
        return {
            "version": self.version,
            "distribution": self.distribution,
            "maintainer": self.maintainer,
            "date": formatdate(self.epoch),
            "year": time.gmtime(self.epoch).tm_year,
            "changes": [
                textwrap.fill(each, 76, subsequent_indent="    ", break_on_hyphens=False)
                for each in self.changes
            ],
            "zstd_level": ZSTD_LEVEL,
        }


def write_debian(
    kind: str, source: str, changelog: Changelog, values: Mapping[str, object], folder: Path
) -> None:
    """Render debian/ of the source package ``source`` into ``folder``."""
    common = {"source": source, "section": "misc", "build_depends": ""}
    render(kind, {**common, **changelog.values(), **values}, folder)


def shared_library_depends(folder: Path, payload: Path, runner: Runner) -> str:
    """Return the packages that the payload's shared objects need, as dpkg-shlibdeps finds them.

    Wheels bring libraries that no Debian package has; those are found by their run-time path.
    """
    objects = sorted(
        path
        for path in payload.rglob("*.so*")
        if re.search(r"\.so(\.[0-9.]+)?$", path.name) and _is_elf(path)
    )
    if not objects:
        return ""
    command = ["dpkg-shlibdeps", "--warnings=0", "--ignore-missing-info", "-O"]
    # It takes the folder that has a DEBIAN for the root that $ORIGIN is looked up in.
    marker = payload / "DEBIAN"
    marker.mkdir()
    found = runner.capture([*command, *(path.relative_to(folder) for path in objects)], cwd=folder)
    marker.rmdir()
    return found.text.strip().removeprefix("shlibs:Depends=")


def package(folder: Path, destination: Path, runner: Runner) -> Package:
    """Build the source package in ``folder`` and move what comes out to ``destination``.

    Raises BuildError with the tool's last lines if dpkg-buildpackage fails.
    """
    # Nothing here is compiled: no compiler is asked for and no debug symbols are split off.
    env = base_environment() | {"DEB_BUILD_OPTIONS": "noautodbgsym nocheck terse"}
    runner.run(
        ["dpkg-buildpackage", "--build=binary", "--unsigned-changes", "--unsigned-buildinfo",
         "--no-pre-clean", "--ignore-builtin-builddeps"],
        cwd=folder,
        env=env,
    )  # fmt: skip
    destination.mkdir(parents=True, exist_ok=True)
    return Package(
        *(
            Path(shutil.move(_one(folder.parent, f"*.{kind}"), destination))
            for kind in ("deb", "buildinfo", "changes")
        )
    )


def lint(folder: Path, source: str, leave_out: tuple[str, ...], runner: Runner) -> None:
    """Check the package with lintian, pedantically, the paths in ``leave_out`` apart.

    A large virtual environment takes lintian minutes, and all it can find there lies in files of
    the wheels, which are shipped as their authors built them: so it is given a copy of the package
    without them. Raises BuildError with what it found.
    """
    built, copy = folder / "debian" / source, folder / "lint" / source
    shutil.copytree(
        built, copy, symlinks=True, copy_function=os.link,
        ignore=lambda where, names: [
            name for name in names if _relative(Path(where) / name, built) in leave_out
        ],
    )  # fmt: skip
    _forget_checksums(copy / "DEBIAN" / "md5sums", leave_out)
    deb = folder / "lint" / f"{source}.deb"
    runner.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--threads-max=1", "--build", copy, deb]
    )
    found = runner.capture(
        ["lintian", "--pedantic", "--display-info", "--no-tag-display-limit", "--allow-root", deb],
        # It leaves files behind.
        env=base_environment() | {"TMPDIR": str(deb.parent)},
        check=False,
    )
    # What is overridden for the wheels cannot be found in a copy without them, and the overrides
    # name tags of more than one Debian release.
    needless = re.compile(rf".: {source}: ((unused|mismatched)-override|alien-tag) ")
    hints = [
        line for line in found.text.splitlines() if line[:3] in _HINTS and not needless.match(line)
    ]
    if hints or found.returncode not in (0, 2):
        raise BuildError(
            f"lintian objects to {source}",
            hint="correct debian-templates/, or override the tag there and say why",
            details=hints or found.stderr.decode("utf-8", "replace").splitlines(),
        )


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _forget_checksums(md5sums: Path, leave_out: tuple[str, ...]) -> None:
    if not md5sums.exists():
        return
    lines = md5sums.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line[34:].startswith(tuple(f"{p}/" for p in leave_out))]
    # The original shares its inode with the package that was built.
    md5sums.unlink()
    md5sums.write_text("".join(kept), encoding="utf-8")


def _one(folder: Path, pattern: str) -> str:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise BuildError(
            f"dpkg-buildpackage left {len(found)} files {pattern} in {folder}, expected one",
            details=sorted(path.name for path in found),
        )
    return str(found[0])


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
