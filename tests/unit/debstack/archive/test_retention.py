"""What stays in the suites, and why."""

from __future__ import annotations

from datetime import UTC, datetime

from debstack.archive.content import About, PublishedRelease
from debstack.archive.retention import Decision, Offering, decide

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def names(*numbers: int) -> tuple[str, ...]:
    return tuple(f"2026.11.23.{number}" for number in numbers)


def offering(channel: str, *numbers: int, target: str = "bookworm") -> Offering:
    releases = tuple(PublishedRelease(About(name), NOW, ()) for name in names(*numbers))
    return Offering(f"{target}-{channel}", target, channel == "prod", releases)


def kept(decisions: tuple[Decision, ...], suite: str) -> list[str]:
    return [each.release for each in decisions if each.suite == suite and each.keep]


def test_the_newest_stay_as_apt_orders_them() -> None:
    # Ten is after nine, and what was published late is not newer for it.
    decisions = decide([offering("staging", 9, 10, 11, 2)], 2, ())
    assert [(each.release, each.keep, each.reason) for each in decisions] == [
        (*names(11), True, "current in bookworm-staging"),
        (*names(10), True, "among the 2 newest"),
        (*names(9), False, "older than the 2 newest"),
        (*names(2), False, "older than the 2 newest"),
    ]


def test_a_pinned_release_stays() -> None:
    decisions = decide([offering("staging", *range(1, 6))], 1, names(2))
    assert kept(decisions, "bookworm-staging") == [*names(5), *names(2)]
    assert {each.reason for each in decisions if each.release in names(2)} == {"pinned"}


def test_what_production_offers_and_goes_back_to_stays_everywhere() -> None:
    decisions = decide([offering("staging", *range(1, 9)), offering("prod", 2, 4, 5)], 1, ())
    assert kept(decisions, "bookworm-staging") == [*names(8), *names(5), *names(4)]
    assert kept(decisions, "bookworm-prod") == [*names(5), *names(4)]
    reasons = {each.release: each.reason for each in decisions if each.suite == "bookworm-staging"}
    assert reasons[names(5)[0]] == "current in bookworm-prod"
    assert reasons[names(4)[0]] == "last-good of bookworm-prod"


def test_another_target_keeps_nothing_here() -> None:
    both = [offering("staging", 1, 2, 3), offering("prod", 1, target="trixie")]
    assert kept(decide(both, 1, ()), "bookworm-staging") == list(names(3))


def test_an_empty_suite_has_nothing_to_decide() -> None:
    assert decide([offering("prod")], 3, ()) == ()
