"""Compare a released .deb with one that was built again: signatures may differ, nothing else.

But for what another version of zstd makes of the same archive.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard

from debstack.errors import RebuildError
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps import sign

State = Literal["same", "same contents", "differs"]

# The option of dpkg-deb(1) that writes the tar inside of each member, uncompressed.
_ARCHIVES = {"control.tar": "--ctrl-tarfile", "data.tar": "--fsys-tarfile"}
_CHUNK = 1 << 20
# Of a member's header in an ar file, all but its size: name, date, owner, group, mode; see deb(5).
_HEADER = 48
# The longest header of a frame of zstd in bytes, and the type of a block that repeats one byte.
_FRAME_HEADER, _REPEATED = 18, 1
_DIFFOSCOPE_LINES = 60


@dataclass(frozen=True)
class Compared:
    """A package as it was released and as it was built again: the sha256 of each, unsigned.

    "same contents" were compressed by another version of the compressor. ``difference`` says what
    is different first, and what diffoscope says, where it is installed. ``buildinfo`` is that of
    the package that was built again, if it was kept.
    """

    package: str
    state: State
    released: str
    rebuilt: str
    difference: tuple[str, ...] = ()
    buildinfo: Path | None = None


def compare(package: str, released: Path, rebuilt: Path, runner: Runner) -> Compared:
    """Return how two files of one package relate.

    Raises SigningError if one has not the layout of a .deb, RebuildError if it cannot be unpacked.
    """
    runner = runner.raising(RebuildError)
    ours, theirs = sign.payload_digest(released), sign.payload_digest(rebuilt)
    if ours == theirs:
        return Compared(package, "same", ours, theirs)
    for deb in (released, rebuilt):
        _demand_whole(deb)
    found = _headers(released, rebuilt)
    for name, option in _ARCHIVES.items():
        found = found or _first_difference(name, option, released, rebuilt, runner)
    found = found or _packed_otherwise(released, rebuilt)
    if not found:
        return Compared(package, "same contents", ours, theirs)
    return Compared(
        package, "differs", ours, theirs, (found, *_diffoscope(released, rebuilt, runner))
    )


def _demand_whole(deb: Path) -> None:
    """Raise RebuildError if a member ends before its frame of zstd does.

    dpkg-deb takes that for the end of the archive in some versions (1.21.23, not 1.21.22).
    """
    for member in sign.read_layout(deb).payload:
        # Of what is no frame at all dpkg-deb tells in each version.
        with suppress(zstandard.ZstdError):
            if member.name.endswith(".zst") and _frame_size(deb, member) > member.size:
                raise _damaged(deb, f"{member.name} is cut off")


def _damaged(deb: Path, why: str, details: Sequence[str] = ()) -> RebuildError:
    return RebuildError(
        f"{deb} is damaged: {why}",
        hint=f"see which files are: (cd {deb.parent} && sha256sum -c SHA256SUMS);"
        " then copy the release again",
        details=details,
    )


def _headers(released: Path, rebuilt: Path) -> str:
    """Return how the headers of the members differ, whose dates are a package's, or nothing."""
    for before, after in _pairs(released, rebuilt):
        if before.mtime != after.mtime:
            return f"{before.name}: mtime {before.mtime} and {after.mtime}"
        if before.name != after.name:
            return f"{before.name} and {after.name}: packed by another compressor"
        ours = _part(released, before.header, _HEADER)
        theirs = _part(rebuilt, after.header, _HEADER)
        if ours != theirs:
            return f"{before.name}: header {ours!r} and {theirs!r}"
    return ""


def _packed_otherwise(released: Path, rebuilt: Path) -> str:
    """Return what another version of zstd does not explain, where the archives are the same."""
    for before, after in _pairs(released, rebuilt):
        ours, theirs = _outside_frame(released, before), _outside_frame(rebuilt, after)
        if ours != theirs:
            return f"{before.name}: {len(ours)} and {len(theirs)} bytes beside the compressed ones"
    return ""


def _outside_frame(deb: Path, member: sign.Member) -> bytes:
    """Return what follows the first frame of zstd in a member, all of a member without one.

    dpkg-deb(1) writes one frame. Behind it may be others, which add nothing to the archive or are
    skipped when it is read: RFC 8878, sections 3.1.1 and 3.1.2.
    """
    frame = _frame_size(deb, member) if member.name.endswith(".zst") else 0
    return _part(deb, member.start + frame, member.size - frame)


def _frame_size(deb: Path, member: sign.Member) -> int:
    """Return how many bytes the frame has that a member begins with: RFC 8878, section 3.1.1."""
    with deb.open("rb") as file:
        file.seek(member.start)
        head = file.read(_FRAME_HEADER)
        position, last = zstandard.frame_header_size(head), False
        while not last and position < member.size:
            file.seek(member.start + position)
            block = int.from_bytes(file.read(3), "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            # Of a block that repeats one byte, the size is how often.
            position += 3 + (1 if kind == _REPEATED else size)
    return position + (4 if zstandard.get_frame_parameters(head).has_checksum else 0)


def _pairs(released: Path, rebuilt: Path) -> Iterator[tuple[sign.Member, sign.Member]]:
    ours, theirs = (sign.read_layout(each).payload for each in (released, rebuilt))
    return zip(ours, theirs, strict=True)


def _part(deb: Path, start: int, size: int) -> bytes:
    with deb.open("rb") as file:
        file.seek(start)
        return file.read(size)


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
        try:
            with runner.raising(RebuildError).stream(["dpkg-deb", option, deb]) as stream:
                while chunk := stream.read(_CHUNK):
                    whole.update(chunk)
                    copy.write(chunk)
        except RebuildError as error:
            raise _damaged(deb, error.message, error.details) from error
        copy.seek(0)
        try:
            with tarfile.open(fileobj=copy, errors="surrogateescape") as archive:
                found = {each.name: _facts(archive, each) for each in archive}
        except tarfile.TarError as error:
            raise RebuildError(
                f"{deb} holds no archive that can be read: {error}",
                hint=f"run it by hand: dpkg-deb {option} {deb} | tar -t",
            ) from error
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
        # An addition: that it failed takes nothing away from what was found without it.
        said = done.stderr.decode("utf-8", "replace").splitlines()[-15:]
        return [f"diffoscope ended with exit code {done.returncode}", *said]
    return done.text.splitlines()[:_DIFFOSCOPE_LINES]


def _unsigned(deb: Path, folder: Path) -> Path:
    """Return a copy of a package as it was before it was signed."""
    folder.mkdir()
    copy = folder / deb.name
    shutil.copyfile(deb, copy)
    with copy.open("r+b") as file:
        file.truncate(sign.read_layout(deb).payload_end)
    return copy
