"""The entries of a changelog: what the commits between two versions of a component say.

Their subjects are other people's words: they must neither break the file nor give orders to the
tools that read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST = 200
_SHORT = 12
# Controls, and what writes backwards or not at all; by number, because which characters a Python
# takes for printable depends on its version.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
# dpkg-genchanges makes fields of the .changes file out of these.
_ORDERS = re.compile(r"\b(closes|lp):", re.IGNORECASE)


def lines(changed_in: str, url: str, commit: str, before: str, changes: Sequence[str]) -> list[str]:
    """Return the lines of the entry for the version that was built from ``commit`` of ``url``.

    ``before`` is the commit of the version before it, or ""; ``changes`` are as the lock records
    them.
    """
    found = [f"Release {changed_in}: commit {commit[:_SHORT]} of {url}."]
    if not before:
        return [*found, "The first release of this component."]
    if before == commit:
        return [*found, "The commit did not change; its settings, dependencies or build did."]
    found.append(f"Since commit {before[:_SHORT]}:")
    return [*found, *(cleaned(each) for each in changes)]


def cleaned(subject: str) -> str:
    """Return a commit's subject as one printable line that no tool takes for an order."""
    text = _UNPRINTABLE.sub(" ", subject)
    text = _ORDERS.sub(r"\1", " ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
