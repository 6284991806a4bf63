"""The licences of what a package bundles, for a machine-readable debian/copyright (DEP-5).

Each text is given once, however many wheels bring it, and by its name alone where it is the one
that every Debian has in /usr/share/common-licenses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath

from debstack.accounting.bundled import Bundled, LicenceFile

COMMON_LICENCES = "/usr/share/common-licenses"
# By the sha256 of the words: those texts that are the same in Debian 12 and 13, so that it does
# not matter where a package is built.
_COMMON = {
    "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645": "Apache-2.0",
    "05d9f1a0af61535887a399e161c9d14d1f898043b61d05fe4854ed8c6460179c": "CC0-1.0",
    "af1530062df938c87456ed0cc6be3522034af854ba191ad20739c4565aa9acbb": "GFDL-1.3",
    "972a178adadacfbdddec346b16d45fd4ed9937ec5e4a5bb46d8685ba4e73a0b1": "GPL-3",
    "690578875bea796fcc9a52eef18909104d21a3c1e0052e0dac70955d3e419899": "LGPL-3",
    "359a5f7e7af0b542929a8cd5128b33884c848d9abeb9fbe2d95d918e1c6e9701": "MPL-1.1",
    "a7fae6cb34ec631564f892e475d03e5d8781b78949caf5c54d404d384e30fffe": "MPL-2.0",
}


@dataclass(frozen=True)
class Text:
    """A licence's text under the name that the paragraphs refer to it by; ``body`` is indented."""

    name: str
    body: str


@dataclass(frozen=True)
class Paragraph:
    """What the copyright says of one distribution. ``licences`` name each file and its text."""

    files: tuple[str, ...]
    author: str
    licence: str
    licences: tuple[str, ...]
    comment: str


def paragraphs(
    bundled: Sequence[Bundled], site_packages: str, wheels: Mapping[str, str]
) -> tuple[Paragraph, ...]:
    """Return one paragraph for each distribution.

    ``site_packages`` is its place in the package, without a leading slash; ``wheels`` says by name
    of a dist-info folder which wheel was installed.
    """
    patterns = _patterns(bundled)
    return tuple(
        Paragraph(
            files=tuple(normpath(f"{site_packages}/{each}") for each in patterns[one.dist_info]),
            author=one.author or "its authors",
            licence=short_name(one),
            licences=references(one.licences),
            comment=f"{one.name} {one.version}, {wheels[one.dist_info]}",
        )
        for one in bundled
    )


def texts(licences: Iterable[LicenceFile]) -> tuple[Text, ...]:
    """Return each text that is not one of /usr/share/common-licenses, once, sorted by name."""
    found = {
        _reference(each): body(each.text) for each in licences if not common_licence(each.text)
    }
    return tuple(Text(name, text) for name, text in sorted(found.items()))


def references(licences: Sequence[LicenceFile]) -> tuple[str, ...]:
    """Return a line for each file: its path, and where its text is."""
    lines = []
    for each in licences:
        common = common_licence(each.text)
        where = f"{COMMON_LICENCES}/{common}" if common else _reference(each)
        lines.append(f"{_one_line(each.path)}: {where}")
    return tuple(lines)


def common_licence(text: str) -> str:
    """Return the name in /usr/share/common-licenses of a text that has the same words, or ""."""
    return _COMMON.get(hashlib.sha256(" ".join(text.split()).encode()).hexdigest(), "")


def short_name(bundled: Bundled) -> str:
    """Return the stated licence as a name in DEP-5: one word, or several with "and" and "or"."""
    if bundled.expression and not re.search(r"[()]|\bWITH\b", bundled.expression):
        return re.sub(r" (AND|OR) ", lambda match: match[0].lower(), bundled.expression)
    return bundled.statement.replace(" ", "-") or "see-the-files-named-below"


def body(text: str) -> str:
    """Return ``text`` as the continuation lines of a deb822 field: indented, " ." for empty."""
    lines = [line.rstrip().expandtabs() for line in text.split("\n")]
    # A line of one dot would be read as an empty one.
    return "\n".join(f" {' ' * (line == '.')}{line or '.'}" for line in lines)


def _reference(licence: LicenceFile) -> str:
    words = "\n".join(line.rstrip() for line in licence.text.split("\n"))
    return f"LicenseRef-{hashlib.sha256(words.encode()).hexdigest()[:16]}"


def _patterns(bundled: Sequence[Bundled]) -> dict[str, tuple[str, ...]]:
    """Return, by dist-info folder, DEP-5 patterns for its files and no other distribution's."""
    owners: dict[str, set[str]] = {}
    for one in bundled:
        for file in one.files:
            for prefix in _prefixes(file):
                owners.setdefault(prefix, set()).add(one.dist_info)
    found = {}
    for one in bundled:
        patterns = {_widest(file, owners) for file in one.files}
        found[one.dist_info] = tuple(sorted(patterns)) or (f"{one.dist_info}/*",)
    return found


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _widest(file: str, owners: Mapping[str, set[str]]) -> str:
    """Return the pattern for the highest folder above ``file`` that is one distribution's alone."""
    for prefix in _prefixes(file):
        # What lies outside site-packages shares its folders with files that no wheel brings.
        if len(owners[prefix]) == 1 and prefix != file and not file.startswith("../"):
            return f"{_escaped(prefix)}/*"
    return _escaped(file)


def _escaped(path: str) -> str:
    """Return a path as a pattern: a pattern ends at a space, and only "?" can stand for one."""
    return re.sub(r"\s", "?", re.sub(r"([\\*?])", r"\\\1", path))


def _one_line(text: str) -> str:
    return " ".join(text.split())
