"""What the archive of the stack offers, as apt has last read it.

The name of a package is what the index says: whoever can write an index could call anything by any
name. What counts as ours is therefore also whatever comes from our archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tradingctl.errors import UntrustedError
from tradingctl.server import Server

_FORMAT = "$(SIGNED_BY)\t$(SOURCESENTRY)\t$(FILENAME)"
_HELPER = "/usr/lib/apt/apt-helper"


def offered(server: Server) -> set[tuple[str, str]]:
    """Return every package and version that our archive offers; none if apt knows no such archive.

    Raises UntrustedError when apt cannot say.
    """
    found = set()
    for index in _indexes(server):
        outcome = server.runner.run([_HELPER, "cat-file", index])
        if outcome.code != 0:
            raise UntrustedError(f"{index} cannot be read: {outcome.said}", "apt-get update")
        found |= set(_packages(outcome.output))
    return found


def _indexes(server: Server) -> Iterator[str]:
    command = ["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"]
    outcome = server.runner.run(command)
    if outcome.code != 0:
        raise UntrustedError(f"apt does not list its indexes: {outcome.said}", "apt-get check")
    keyring, sources = str(server.paths.archive_keyring), str(server.paths.sources)
    # The administrator may have written the key into his own file, or the source into another.
    beginnings = (keyring.removesuffix(".pgp"), f"{sources}:")
    for line in outcome.output.splitlines():
        *origin, index = line.split("\t")
        ours = any(word.startswith(beginnings) for each in origin for word in each.split(","))
        if ours and Path(index).exists():  # apt names it before it has read it for the first time
            yield index


def _packages(text: str) -> Iterator[tuple[str, str]]:
    """Give package and version of each stanza; apt does not care for the case of their names."""
    package = version = ""
    for line in [*text.splitlines(), ""]:
        name, _, value = line.partition(":")
        if not line:
            if package:
                yield package, version
            package = version = ""
        elif name.lower() == "package":
            package = value.strip()
        elif name.lower() == "version":
            version = value.strip()
