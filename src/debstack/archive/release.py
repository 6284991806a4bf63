"""The text of Packages and Release."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from debstack.archive.package import Package
from debstack.archive.suite import Suite

COMPONENT = "main"
_GZIP_LEVEL = 6
_SHORT = 1 << 18


def packages_text(packages: Iterable[Package], architecture: str) -> bytes:
    """Return the index for clients of ``architecture``: its packages and those for all.

    They stay in the order in which they are given.
    """
    wanted = (architecture, "all")
    return "\n".join(each.stanza for each in packages if each.architecture in wanted).encode()


def indexes(suite: Suite, packages: Sequence[Package]) -> dict[str, bytes]:
    """Return every index by its path in the suite: Packages of each architecture, and packed.

    apt asks for xz first. Of a long index it would be most of the time of a publication and a fifth
    shorter than gzip, which apt takes as well.
    """
    files = {}
    for architecture in suite.architectures:
        path = f"{COMPONENT}/binary-{architecture}/Packages"
        files[path] = text = packages_text(packages, architecture)
        files[f"{path}.gz"] = gzip.compress(text, _GZIP_LEVEL, mtime=0)
        if len(text) <= _SHORT:
            files[f"{path}.xz"] = lzma.compress(text)
    return files


def constant_fields(suite: Suite, *, development: bool) -> dict[str, str]:
    """Return the fields of Release that stay the same as long as suite and kind of key do."""
    warning = " (signed with a DEVELOPMENT key: do not trust)" if development else ""
    return {
        "Origin": suite.origin,
        "Label": suite.label,
        "Suite": suite.name,
        "Codename": suite.codename,
        "Architectures": " ".join(suite.architectures),
        "Components": COMPONENT,
        "Description": suite.description + warning,
        "Acquire-By-Hash": "yes",
    }


def release_text(
    constant: Mapping[str, str], date: datetime, valid_until: datetime, files: Mapping[str, bytes]
) -> bytes:
    """Return Release. Every file in ``files`` is listed, shipped or not.

    apt takes an archive whose uncompressed Packages is not listed for an empty one, silently.
    """
    fields = {**constant, "Date": timestamp(date), "Valid-Until": timestamp(valid_until)}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    lines.append("SHA256:")
    for path, content in sorted(files.items()):
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content):>9} {path}")
    return ("\n".join(lines) + "\n").encode()


def timestamp(moment: datetime) -> str:
    """Return a time as Debian writes it: ``Mon, 23 Nov 2026 18:00:00 UTC``."""
    return format_datetime(moment.astimezone(UTC), usegmt=True).replace("GMT", "UTC")
