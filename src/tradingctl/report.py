"""Results as text for people: one aligned line per unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from tradingctl.verdict import Finding, Result, UnitVerdict, Verification

COLOURS = {Result.OK: "32", Result.DEGRADED: "33", Result.FAILED: "31", Result.SKIPPED: "36"}


def wants_colour(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Return whether a person looks at the stream."""
    return stream is not None and stream.isatty() and not environ.get("NO_COLOR")


def verification_text(found: Verification, colour: bool = False) -> str:
    """Return the table of units, what is wrong with each, and the summary line."""
    width = max((len(unit.unit) for unit in found.units), default=0)
    lines = []
    for unit in found.units:
        lines.append(_unit_line(unit, width, colour))
        lines.extend(f"           {note}" for note in unit.notes)
        for finding in unit.findings:
            lines.extend(finding_lines(finding))
    return "\n".join([*lines, summary(found)])


def _unit_line(unit: UnitVerdict, width: int, colour: bool) -> str:
    word = f"{unit.result.value:<8}"
    if colour:
        word = f"\033[{COLOURS[unit.result]}m{word}\033[0m"
    port = str(unit.port) if unit.port else "-"
    about = unit.reason or f"commit {unit.commit[:7]}"
    return f"{word} {unit.unit:<{width}}  {port:>5}  {unit.seconds:4.1f} s  {about}"


def finding_lines(finding: Finding) -> list[str]:
    """Return what a check expected, what it got, and what to type next."""
    return [
        f"         {finding.check}",
        f"           expected  {finding.expected}",
        f"           got       {finding.got}",
        f"           next      {finding.next_command}",
    ]


def summary(found: Verification) -> str:
    """Return the one line about the release."""
    if found.reason:
        return f"SKIPPED: {found.reason}"
    counts = [
        f"{count} {result.value}"
        for result in Result
        if (count := sum(unit.result is result for unit in found.units))
    ]
    about = ", ".join(counts) or "no unit"
    return f"release {found.release}: {found.result.value} ({about}) in {found.seconds:.1f} s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def age_text(seconds: float) -> str:
    """Return an age in its largest two units: ``3d 4h``, ``5h 2m``, ``40s``.

    What is younger than now was dated by a clock that is ahead, or was.
    """
    left = int(seconds)
    if left < 0:
        return f"dated {age_text(-left)} in the future"
    parts: list[str] = []
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{letter}")
    return " ".join(parts[:2]) or "0s"
