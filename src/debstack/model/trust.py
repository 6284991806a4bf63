"""What makes a commit acceptable: the policy of a component, complete and with absolute paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from debstack.model.definition import Source

FULL_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Policy:
    """Who vouches for a commit.

    It comes from one of ``urls``. If there are ``refs``, full names that may hold a ``*``, it is
    in the history of one of them; if there are ``signers``, files of public keys, it is signed by
    one of these. ``follows`` is the branch, tag or commit that ``debstack lock`` moves it to.
    """

    urls: tuple[str, ...]
    refs: tuple[str, ...]
    signers: tuple[Path, ...]
    follows: str

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every ref that has to be looked at."""
        return tuple(dict.fromkeys((*self.refs, *_either(self.follows))))

    def __str__(self) -> str:
        return ", ".join(shown(each) for each in self.refs)


def policy(source: Source, packaging: Path) -> Policy:
    """Return the policy of ``source``, defined in the folder ``packaging``.

    Who says nothing trusts the address and the branch or tag that the component follows.
    """
    trust = source.trust
    refs = (
        *(f"refs/heads/{each}" for each in trust.branches),
        *(f"refs/tags/{each}" for each in trust.tags),
    )
    if not refs and not trust.signers:
        refs = _either(source.ref)
    signers = tuple(packaging / each for each in trust.signers)
    return Policy(trust.urls or (source.url,), refs, signers, source.ref)


def shown(ref: str) -> str:
    """Return a full name as a person says it: "branch main"."""
    kind = {"refs/heads/": "branch", "refs/tags/": "tag"}
    for prefix, word in kind.items():
        if ref.startswith(prefix):
            return f"{word} {ref.removeprefix(prefix)}"
    return ref


def _either(ref: str) -> tuple[str, ...]:
    return () if FULL_SHA.fullmatch(ref) else (f"refs/heads/{ref}", f"refs/tags/{ref}")
