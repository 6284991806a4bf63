"""Writing files whole or not at all, and knowing them by their digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Replace ``path`` by ``text`` so that a crash leaves the old or the new file, never a part.

    ``uid`` and ``gid`` of -1 leave the file to who writes it. Raises OSError.
    """
    # mkstemp makes a new file or fails, so a link laid in its way is not followed.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring what was renamed or removed in a directory to the disk, if its file system can."""
    with contextlib.suppress(OSError):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def sync_file(path: Path) -> None:
    """Bring a file to the disk. Raises OSError when it did not get there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
