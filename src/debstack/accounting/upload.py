"""The .buildinfo and .changes of a signed .deb, clearsigned as debsign does it.

dpkg-buildpackage wrote both for the unsigned .deb. The .buildinfo keeps that: it records what the
build made, which a rebuild makes again. The .changes goes with the files as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from debstack.errors import BuildError

_ALGORITHMS = {"Checksums-Sha1": "sha1", "Checksums-Sha256": "sha256", "Files": "md5"}
_FIELD = re.compile(r"([A-Za-z0-9-]+):")


def changes_of(text: str, files: Sequence[Path]) -> str:
    """Return the .changes ``text`` with sizes and digests of ``files`` as they are now.

    Raises BuildError unless it lists exactly these files.
    """
    by_name = {path.name: path for path in files}
    lines, algorithm, listed = [], "", set()
    for line in text.splitlines():
        if field := _FIELD.match(line):
            algorithm = _ALGORITHMS.get(field[1], "")
        elif algorithm and line.startswith(" "):
            _, _, *between, name = line.split()
            listed.add(name)
            if name in by_name:
                size = str(by_name[name].stat().st_size)
                line = " ".join(["", _digest(by_name[name], algorithm), size, *between, name])
        lines.append(line)
    if listed != set(by_name):
        raise BuildError(
            "dpkg-genchanges listed other files than were built",
            hint="build again; if it stays so, report it with the log",
            details=[f"listed: {' '.join(sorted(listed))}", f"built: {' '.join(sorted(by_name))}"],
        )
    return "\n".join(lines) + "\n"


def listed_files(text: str, field: str) -> Iterator[tuple[str, int, str]]:
    """Yield digest, size and name of each file that ``field`` of a .changes or .buildinfo lists.

    Raises ValueError for a line that lists none.
    """
    inside = False
    for line in text.splitlines():
        if start := _FIELD.match(line):
            inside = start[1] == field
        elif inside and line.startswith(" ") and line.strip():
            words = line.split()
            yield words[0], int(words[1]), words[-1]


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()
