"""What a legal name is, and what to suggest in place of one that is not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Debian Policy 5.6.1
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# systemd.unit(5), without the characters that only escapes and templates need
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNIT_KINDS = ("service", "target", "socket", "mount", "automount", "path", "timer", "device")


def is_package(name: str) -> bool:
    """Whether Debian accepts ``name`` as the name of a package."""
    return _PACKAGE.fullmatch(name) is not None


def is_unit(stem: str) -> bool:
    """Whether systemd accepts ``stem`` as a unit's name without its suffix."""
    return _UNIT.fullmatch(stem) is not None


def is_file(name: str) -> bool:
    """Whether ``name`` is a plain file name, neither hidden nor a path."""
    return _FILE.fullmatch(name) is not None


def is_variable(name: str) -> bool:
    """Whether ``name`` is an upper-case environment variable."""
    return _VARIABLE.fullmatch(name) is not None


def is_environment(name: str) -> bool:
    """Whether ``name`` can be set in a unit's environment."""
    return _ENVIRONMENT.fullmatch(name) is not None


def as_package(name: str) -> str:
    """Return a legal package name that resembles ``name``; empty if nothing of it is usable."""
    lowered = re.sub(r"[^a-z0-9+.-]+", "-", name.lower()).strip("-+.")
    return lowered if is_package(lowered) else ""


def as_variable(name: str) -> str:
    """Return a legal variable name that resembles ``name``."""
    upper = re.sub(r"[^A-Z0-9_]+", "_", name.upper()).strip("_")
    return f"_{upper}" if upper[:1].isdigit() else upper


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return the known name most like ``name``, or an empty text if none is."""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=likeness)
    return matches[0] if matches else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for an unknown name: the nearest known one, or all there are."""
    known = sorted(known)
    match = nearest(name, known)
    if match:
        return f"did you mean {match}?"
    return f"known: {', '.join(known)}" if known else ""
