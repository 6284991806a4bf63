"""Where the program uv is: in its distribution, in debstack's own Debian package, or in a wheel."""

from __future__ import annotations

import threading
import zipfile
from functools import cache
from pathlib import Path

from debstack.errors import DependencyError, ToolMissingError
from debstack.model.uv import PROGRAM, VERSION
from debstack.process import Runner

PACKAGED = Path("/usr/lib/debstack/uv")
"""Where debstack's own Debian package has it."""

_INSTALL = f"pip install uv=={VERSION}"
_LOOKING_FOR_UV = threading.Lock()


def find_uv() -> Path:
    """Return the installed program. Raises ToolMissingError if there is none of that version."""
    try:
        from uv import find_uv_bin
    except ImportError:
        if PACKAGED.is_file():
            return _demand_version(PACKAGED, "apt-get install --reinstall debstack")
        raise ToolMissingError("uv is not installed", hint=_INSTALL) from None
    # It asks sysconfig, which several threads at once may see half filled.
    with _LOOKING_FOR_UV:
        return _demand_version(Path(find_uv_bin()), _INSTALL)


def _demand_version(program: Path, hint: str) -> Path:
    """Return ``program``. Raises ToolMissingError if it is of another version."""
    if (found := _version(program)) != VERSION:
        raise ToolMissingError(
            f"{program} is uv {found or 'of no version'}, and debstack needs {VERSION}: another one"
            " might make packages with other bits",
            hint=hint,
        )
    return program


@cache
def _version(program: Path) -> str:
    """Return what the program says of itself, such as "uv 0.13.9 (…)"; empty if it does not."""
    done = Runner().capture([program, "--version"], check=False)
    words = done.text.split()
    return words[1] if done.returncode == 0 and words[:1] == ["uv"] and words[1:] else ""


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
