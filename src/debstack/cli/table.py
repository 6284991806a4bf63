"""Aligned columns for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from debstack.archive.plan import Plan


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return ``rows`` under ``head`` in aligned columns; those in ``right`` to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), *map(line, rows)])


def size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"


def show_plan(plan: Plan) -> str:
    """Return what would change in a suite, a line for each package."""
    if not plan.reason:
        return f"{plan.suite.name}: nothing to do"
    rows = [
        ("add", each.package.name, each.package.version, each.reason) for each in plan.additions
    ]
    rows += [("drop", name.rpartition("/")[2], "", "of no release that is left")
             for name in plan.dropped]  # fmt: skip
    head = f"{plan.suite.name}: {plan.reason}"
    return f"{head}\n{table(('', 'package', 'version', 'reason'), rows)}" if rows else head
