"""What the paths of a tree lead to afterwards, when the package's files are in its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tradingctl.adopt.trees import WRITTEN, Tree
from tradingctl.description import Component

BETWEEN = re.compile(r"""[\s;|&<>(){}"'`=,:]+""")
PREFIXES = "-@+!"  # of systemd, before a path


@dataclass(frozen=True)
class Successor:
    """A tree, and the files of the package that come in its place, where dpkg put them."""

    tree: Tree
    component: Component
    shipped: Path

    def lost(self, text: str, inside: bool = False) -> list[str]:
        """Return the files in the tree that ``text`` names and the package does not have.

        Relative paths count if ``inside``, or where the text changes to the tree's directory.
        """
        if not self.shipped.is_dir():
            return []  # not unpacked yet
        inside = inside or any(
            re.search(rf"\bcd\s+[\"']?{re.escape(str(name))}(?![\w.-])", text)
            for name in self._names()
        )
        found = (self._inner(word.lstrip(PREFIXES), inside) for word in BETWEEN.split(text))
        gone = {each.as_posix() for each in found if each is not None and self._is_lost(each)}
        return [str(self.tree.place / each) for each in sorted(gone)]

    def written_elsewhere(self) -> Iterator[Path]:
        """Give the directories with files in them that the package's services do not write."""
        declared = {PurePosixPath(each).parts[0] for each in self._written()}
        for name in WRITTEN:
            folder = self.tree.real / name
            if name not in declared and folder.is_dir() and any(folder.iterdir()):
                yield self.tree.place / name

    def _names(self) -> list[Path]:
        """Return the paths of the tree that lead to the package's files afterwards."""
        # What a link leads to stays where it is.
        stays = self.tree.real if self.tree.real != self.tree.place else None
        return [each for each in self.tree.names if each != stays]

    def _inner(self, word: str, inside: bool) -> PurePosixPath | None:
        """Return the path in the tree that a word is, None for none."""
        path = Path(os.path.normpath(word)) if word else Path()
        if path.is_absolute():
            within = (path.relative_to(each) for each in self._names() if path.is_relative_to(each))
            return next((PurePosixPath(each) for each in within), None)
        return PurePosixPath(path) if inside and ".." not in path.parts else None

    def _is_lost(self, path: PurePosixPath) -> bool:
        return (
            bool(path.parts)
            and os.path.lexists(self.tree.real / path)
            and not os.path.lexists(self.shipped / path)
            and not any(path.is_relative_to(each) for each in self._written())
        )

    def _written(self) -> Iterator[str]:
        """Give the directories that the services write, whose files are taken along."""
        yield from (state.path for state in self.component.state)
        yield from self.component.logs
