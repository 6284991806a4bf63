"""The part of the lock that a package carries changes only with the package."""

from __future__ import annotations

from dataclasses import replace

from debstack.accounting.lock_part import carried, component_document, part_of_lock
from debstack.model.lock import Lock, LockedComponent, LockedPackage, parse_lock

WEB = LockedComponent(
    "https://git.example.org/web", "main", "1" * 40, "2" * 64,
    {"bookworm": "3" * 64, "trixie": "4" * 64}, {"trixie": "5" * 64},
)  # fmt: skip
LOCK = Lock(
    1, "2026.11.24.1", 1_795_400_000, {"web": WEB, "feed": replace(WEB, commit="6" * 40)},
    {
        "web": LockedPackage("2026.11.23.1", 1_795_300_000,
                             {"bookworm": "7" * 64, "trixie": "8" * 64}, "9" * 40, ("abc Fix",)),
        "feed": LockedPackage("2026.11.24.1", 1_795_400_000, {"bookworm": "a" * 64}),
        "traderunner-stack": LockedPackage("2026.11.24.1", 1_795_400_000, {"bookworm": "b" * 64}),
    },
)  # fmt: skip


def test_it_is_a_lock_of_one_package_on_one_target() -> None:
    part = parse_lock(part_of_lock(LOCK, "web", "bookworm").text(), "repos.lock")
    assert (part.release, part.timestamp) == ("2026.11.23.1", 1_795_300_000)
    assert part.components == {
        "web": replace(WEB, requirements={"bookworm": "3" * 64}, build_requirements={})
    }
    assert part.packages == {"web": replace(LOCK.packages["web"], inputs={"bookworm": "7" * 64})}


def test_a_later_release_that_leaves_the_package_alone_does_not_change_it() -> None:
    later = replace(
        LOCK, release="2026.11.25.1", timestamp=1_795_500_000,
        components={**LOCK.components, "feed": replace(WEB, commit="c" * 40)},
    )  # fmt: skip
    assert part_of_lock(later, "web", "bookworm") == part_of_lock(LOCK, "web", "bookworm")
    more = replace(LOCK.packages["web"], inputs={"bookworm": "7" * 64, "sid": "d" * 64})
    later = replace(later, packages={**LOCK.packages, "web": more})
    assert part_of_lock(later, "web", "bookworm") == part_of_lock(LOCK, "web", "bookworm")


def test_the_stack_carries_the_release() -> None:
    assert carried(LOCK, "traderunner-stack", "bookworm", "traderunner-stack") == LOCK.text()
    assert carried(LOCK, "web", "bookworm", "traderunner-stack") != LOCK.text()


def test_what_counts_of_a_component_is_all_of_it_on_the_target() -> None:
    assert component_document(WEB, "trixie") == {
        "url": WEB.url, "ref": "main", "commit": "1" * 40, "tree": "2" * 64,
        "requirements": {"trixie": "4" * 64}, "build_requirements": {"trixie": "5" * 64},
        "refs": {}, "signer": "",
    }  # fmt: skip


def test_a_package_without_history_is_written_as_before() -> None:
    text = LOCK.text()
    assert text.count("before = ") == text.count("changes = ") == 1
    assert parse_lock(text, "repos.lock") == LOCK
