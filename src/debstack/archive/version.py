"""The order of Debian versions, as a key to sort by."""

from __future__ import annotations

import re
from functools import lru_cache

_PART = re.compile(r"([^0-9]*)([0-9]*)")
_Key = tuple[tuple[tuple[int, ...], int], ...]


@lru_cache(maxsize=1 << 15)
def version_key(version: str) -> tuple[int, _Key, _Key]:
    """Return what compares as dpkg compares ``version`` (deb-version(7))."""
    epoch, colon, rest = version.partition(":")
    upstream, _, revision = (rest if colon else version).rpartition("-")
    if not upstream:
        upstream, revision = revision, ""
    return int(epoch) if colon else 0, _key(upstream), _key(revision)


def _key(text: str) -> _Key:
    # The empty match at the end of the text stands for the end, which only ~ comes before.
    return tuple(
        ((*map(_weight, letters), 0), int(digits or 0)) for letters, digits in _PART.findall(text)
    )


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
