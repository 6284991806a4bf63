"""What is published where, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from debstack.archive.package import Package
from debstack.errors import ArchiveError

_CORRECT = "correct packaging/stack.toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Suite:
    """One suite of the archive (``bookworm-staging``), as its Release file describes it.

    ``valid_for`` is how long clients accept an index; a ``production`` suite is never signed with a
    development key.
    """

    name: str
    codename: str
    origin: str
    label: str
    description: str
    architectures: tuple[str, ...]
    valid_for: timedelta
    production: bool

    def check(self) -> None:
        """Raise ArchiveError if a value cannot be a folder's name or a line of Release."""
        for name in (self.name, self.codename, *self.architectures):
            if not _NAME.fullmatch(name):
                raise ArchiveError(
                    f"not a name for a suite or architecture: {name!r}", hint=_CORRECT
                )
        for line in (self.origin, self.label, self.description):
            if not line.strip() or "\n" in line:
                raise ArchiveError(
                    f"suite {self.name}: not one line of text: {line!r}", hint=_CORRECT
                )
        if not self.architectures or self.valid_for < timedelta(hours=1):
            raise ArchiveError(
                f"suite {self.name} needs an architecture and an hour of validity", hint=_CORRECT
            )


@dataclass(frozen=True)
class Publication:
    """What apt sees afterwards: the live generation, which packages came, which files went."""

    suite: str
    generation: int
    added: tuple[Package, ...]
    dropped: tuple[str, ...]
    unchanged: bool
