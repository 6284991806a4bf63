"""Tables and sizes as people read them."""

from __future__ import annotations

import pytest

from debstack.cli.table import size, table


def test_columns_are_aligned_and_nothing_trails() -> None:
    rows = [("web", "1.0", "12", ""), ("marketdata", "10", "3", "x")]
    assert table(("package", "version", "n", ""), rows, right=(2,)).splitlines() == [
        "package     version   n",
        "web         1.0      12",
        "marketdata  10        3  x",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert table(("package", "n"), []) == "package  n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 kB"), (1500, "1.5 kB"), (999_999, "1000.0 kB"), (1_000_000, "1.0 MB"),
     (682_100_000, "682.1 MB")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
