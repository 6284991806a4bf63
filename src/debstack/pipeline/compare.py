"""Compare a released .deb with one that was built again: signatures may differ, nothing else."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from debstack.errors import DebstackError
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps import sign

State = Literal["same", "same contents", "differs"]

# The option of dpkg-deb(1) that writes the tar inside of each member, uncompressed.
_ARCHIVES = {"control.tar": "--ctrl-tarfile", "data.tar": "--fsys-tarfile"}
_CHUNK = 1 << 20
_DIFFOSCOPE_LINES = 60


@dataclass(frozen=True)
class Compared:
    """A package as it was released and as it was built again: the sha256 of each, unsigned.

    "same contents" were compressed by another version of the compressor. ``difference`` says what
    is different first, and what diffoscope says, where it is installed.
    """

    package: str
    state: State
    released: str
    rebuilt: str
    difference: tuple[str, ...] = ()


def compare(package: str, released: Path, rebuilt: Path, runner: Runner) -> Compared:
    """Return how two files of one package relate. Raises SigningError if one is not a .deb."""
    ours, theirs = sign.payload_digest(released), sign.payload_digest(rebuilt)
    if ours == theirs:
        return Compared(package, "same", ours, theirs)
    found = _headers(released, rebuilt)
    for name, option in _ARCHIVES.items():
        found = found or _first_difference(name, option, released, rebuilt, runner)
    if not found:
        return Compared(package, "same contents", ours, theirs)
    return Compared(
        package, "differs", ours, theirs, (found, *_diffoscope(released, rebuilt, runner))
    )


def _headers(released: Path, rebuilt: Path) -> str:
    """Return how the dates of the members differ, which are a package's date, or nothing."""
    ours, theirs = (sign.read_layout(each).payload for each in (released, rebuilt))
    for before, after in zip(ours, theirs, strict=True):
        if before.mtime != after.mtime:
            return f"{before.name}: mtime {before.mtime} and {after.mtime}"
    return ""


def _first_difference(name: str, option: str, released: Path, rebuilt: Path, runner: Runner) -> str:
    """Return the first path that is not the same in both archives, and what differs."""
    (before, ours), (after, theirs) = (
        _members(option, each, runner) for each in (released, rebuilt)
    )
    if before == after:
        return ""
    for path in sorted({*ours, *theirs}):
        if path not in theirs:
            return f"{name}: {path} is in the released package only"
        if path not in ours:
            return f"{name}: {path} is in the rebuilt package only"
        if ours[path] != theirs[path]:
            facts = [
                f"{fact} {value} and {theirs[path][fact]}"
                for fact, value in ours[path].items()
                if theirs[path][fact] != value
            ]
            return f"{name}: {path}: {', '.join(facts)}"
    return f"{name}: the same files in another order, or with other headers"


def _members(option: str, deb: Path, runner: Runner) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the sha256 of an archive, and what it says of each of its members."""
    with tempfile.TemporaryFile() as copy:
        whole = hashlib.sha256()
        with runner.stream(["dpkg-deb", option, deb]) as stream:
            while chunk := stream.read(_CHUNK):
                whole.update(chunk)
                copy.write(chunk)
        copy.seek(0)
        with tarfile.open(fileobj=copy, errors="surrogateescape") as archive:
            found = {each.name: _facts(archive, each) for each in archive}
    return whole.hexdigest(), found


def _facts(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, str]:
    content = archive.extractfile(member) if member.isreg() else None
    return {
        "mode": stat.filemode(member.mode | _TYPES.get(member.type, 0)),
        "owner": f"{member.uname}:{member.gname} ({member.uid}:{member.gid})",
        "mtime": str(member.mtime),
        "link": member.linkname,
        "size": str(member.size),
        "content": hashlib.file_digest(content, "sha256").hexdigest() if content else "",  # type: ignore[arg-type]
    }


_TYPES = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
}


def _diffoscope(released: Path, rebuilt: Path, runner: Runner) -> list[str]:
    """Return what diffoscope says of the two files without their signatures, if it is there."""
    if shutil.which("diffoscope", path=SYSTEM_PATH) is None:
        return []
    with tempfile.TemporaryDirectory(prefix="debstack-compare-") as name:
        copies = [_unsigned(each, Path(name) / folder) for each, folder in
                  ((released, "released"), (rebuilt, "rebuilt"))]  # fmt: skip
        done = runner.capture(["diffoscope", "--text-color=never", *copies], check=False)
    if done.returncode not in (0, 1):
        raise DebstackError(
            f"diffoscope ended with exit code {done.returncode}",
            hint="run it on the two files by hand",
            details=done.stderr.decode("utf-8", "replace").splitlines()[-15:],
        )
    return done.text.splitlines()[:_DIFFOSCOPE_LINES]


def _unsigned(deb: Path, folder: Path) -> Path:
    """Return a copy of a package as it was before it was signed."""
    folder.mkdir()
    copy = folder / deb.name
    shutil.copyfile(deb, copy)
    with copy.open("r+b") as file:
        file.truncate(sign.read_layout(deb).payload_end)
    return copy
