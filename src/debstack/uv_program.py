"""Where the program uv is: in its distribution, in debstack's own Debian package, or in a wheel."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

from debstack.errors import DependencyError, ToolMissingError
from debstack.model.uv import PROGRAM, VERSION

PACKAGED = Path("/usr/lib/debstack/uv")
"""Where debstack's own Debian package has it."""

_LOOKING_FOR_UV = threading.Lock()


def find_uv() -> Path:
    """Return the installed program. Raises ToolMissingError if there is none."""
    try:
        from uv import find_uv_bin
    except ImportError:
        if PACKAGED.is_file():
            return PACKAGED
        raise ToolMissingError("uv is not installed", hint=f"pip install uv=={VERSION}") from None
    # It asks sysconfig, which several threads at once may see half filled.
    with _LOOKING_FOR_UV:
        return Path(find_uv_bin())


def unpack_uv(wheel: Path, folder: Path) -> Path:
    """Write the program in ``wheel``, whose hash was verified, to ``folder`` and return it.

    Raises DependencyError if it holds none.
    """
    program = folder / "uv"
    try:
        with zipfile.ZipFile(wheel) as archive:
            program.write_bytes(archive.read(PROGRAM))
    except (KeyError, zipfile.BadZipFile) as error:
        raise DependencyError(f"{wheel} holds no program uv: {error}") from error
    program.chmod(0o755)
    return program
