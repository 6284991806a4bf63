"""Versions sort as dpkg compares them."""

from __future__ import annotations

from itertools import product

import pytest
from debian.debian_support import Version

from debstack.archive.version import version_key

VERSIONS = [
    *("0", "1", "1.0", "1.0-1", "1.0-2", "1.00-2", "1.0~rc1", "1.0~~", "1.0~", "1.0a", "1.0+b1"),
    *("1:0.5", "0:1.0", "2:1.0-1", "1.10", "1.9", "1.0.0", "1.0-1~deb12", "1.0-1~deb13"),
    *("2026.11.23.1+g7817388-1~deb12", "2026.11.23.10+g0000000-1~deb12", "2026.11.23.2~deb12"),
    *("2026.11.23.2~dev7fbda34e~deb12", "1-1-1", "1-1", "1.0-0", "a1", "1.2.3-x", "1.2.3-x1"),
]


@pytest.mark.parametrize("first", VERSIONS)
def test_order(first: str) -> None:
    for second in VERSIONS:
        expected = (Version(first) > Version(second)) - (Version(first) < Version(second))
        one, other = version_key(first), version_key(second)
        found = (one > other) - (one < other)
        assert found == expected or expected == 0, f"{first} {second}"


def test_every_pair_that_dpkg_tells_apart_is_told_apart() -> None:
    for first, second in product(VERSIONS, VERSIONS):
        if Version(first) != Version(second):
            assert version_key(first) != version_key(second)
