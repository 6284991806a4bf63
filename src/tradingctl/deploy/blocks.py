"""Releases that apt is not to install by itself: those that failed, or were gone back from.

A pin of priority -1 on the version of the stack's package (apt_preferences(5)): its components,
which it names with exact versions, do not move without it. A later release is another version and
passes. Naming the version on the command line passes as well. Where the stack was removed nothing
is kept away: a pin on a component would keep away a later release too that has this version of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tradingctl.deploy.versions import above
from tradingctl.files import write_whole
from tradingctl.server import Server

HEADING = """\
# Written by tradingctl, which also removes what is no longer needed. These are not installed
# by `apt upgrade`. To try one again: tradingctl upgrade RELEASE
"""
STANZA = re.compile(
    r"^Explanation: (?P<reason>.*)\nPackage: (?P<package>\S+)\nPin: version (?P<version>\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A version of the stack's package that is kept away, and why, in one line."""

    package: str
    version: str
    reason: str


def blocks(server: Server) -> list[Block]:
    """Return what is kept away; raises OSError."""
    try:
        text = server.paths.blocked.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [
        Block(found["package"], found["version"], found["reason"])
        for found in STANZA.finditer(text)
    ]


def block(server: Server, added: Sequence[Block]) -> None:
    """Keep more versions away; the newer reason counts. Raises OSError."""
    known = {(each.package, each.version): each for each in (*blocks(server), *added)}
    _write(server, list(known.values()))


def unblock(server: Server, package: str, version: str) -> None:
    """Let the installed version pass again, and forget those before it; raises OSError."""
    present = blocks(server)
    left = [
        each
        for each in present
        if each.package != package or above(server.runner, each.version, version)
    ]
    if left != present:
        _write(server, left)


def _write(server: Server, left: Sequence[Block]) -> None:
    path = server.paths.blocked
    if not left:
        path.unlink(missing_ok=True)
        return
    stanzas = [
        f"Explanation: {' '.join(each.reason.split())}\nPackage: {each.package}\n"
        f"Pin: version {each.version}\nPin-Priority: -1\n"
        for each in left
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, HEADING + "\n" + "\n".join(stanzas), 0o644)
