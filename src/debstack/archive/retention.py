"""Which releases stay in the suites: a decision and a reason for each, made from what is there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from debstack.archive.content import PublishedRelease
from debstack.archive.version import version_key


@dataclass(frozen=True)
class Offering:
    """The releases of one suite; the suites of one ``target`` offer the same releases to it."""

    suite: str
    target: str
    production: bool
    releases: tuple[PublishedRelease, ...]

    @property
    def newest_first(self) -> list[str]:
        """The ids of the releases as apt prefers them, whenever they were published."""
        return sorted((each.name for each in self.releases), key=version_key, reverse=True)


@dataclass(frozen=True)
class Decision:
    """Whether a release stays in a suite, and why."""

    suite: str
    release: str
    keep: bool
    reason: str


def decide(
    offerings: Sequence[Offering], keep: int, pinned: Collection[str]
) -> tuple[Decision, ...]:
    """Return what becomes of every release of every suite, the newest of each suite first.

    Whatever its age, a release stays everywhere that is pinned, that a suite of the same target
    offers as its newest, or that a production suite offered before its newest: to that one servers
    go back. Of the others the ``keep`` newest of a suite stay in it.
    """
    decisions = []
    for offering in offerings:
        needed = _needed([each for each in offerings if each.target == offering.target])
        for n, release in enumerate(offering.newest_first):
            if release in pinned:
                reason, stays = "pinned", True
            elif release in needed:
                reason, stays = needed[release], True
            elif n < keep:
                reason, stays = f"among the {keep} newest", True
            else:
                reason, stays = f"older than the {keep} newest", False
            decisions.append(Decision(offering.suite, release, stays, reason))
    return tuple(decisions)


def _needed(offerings: Sequence[Offering]) -> dict[str, str]:
    """Return the releases that suites of one target cannot do without, and why."""
    reasons: dict[str, str] = {}
    for offering in offerings:
        if offering.production and len(offering.releases) > 1:
            reasons[offering.newest_first[1]] = f"last-good of {offering.suite}"
    for offering in offerings:
        if offering.releases:
            reasons[offering.newest_first[0]] = f"current in {offering.suite}"
    return reasons
