"""An upgrade that the administrator asks for: look, show, then apt, with everything that guards it.

Backup, room, the window and the rollback are not here: they hang on apt's hooks, so that they guard
an upgrade by whatever name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tradingctl.deploy.blocks import blocks
from tradingctl.deploy.lastgood import read_last_good
from tradingctl.deploy.lock import require_idle
from tradingctl.deploy.versions import above
from tradingctl.errors import NoReleaseError, ProgramFailedError
from tradingctl.inventory import STACK, package_states
from tradingctl.report import table
from tradingctl.server import Server

APT = ("apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0")
UPDATE_SECONDS = 300.0
EXACT = re.compile(r"([a-z0-9][a-z0-9+.-]+) \(= ([^)]+)\)")
SIMULATED = re.compile(r"^(Inst|Remv) (\S+)(?: \[([^]]*)\])?(?: \((\S+))?", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """What apt would do to a package; an empty version is none."""

    package: str
    installed: str
    offered: str


def upgrade(server: Server, release: str, dry_run: bool) -> int:
    """Install ``release``, or the newest that is not kept away; 0 when it is in service.

    Raises BusyError, NoReleaseError, ProgramFailedError; nothing is changed then.
    """
    require_idle(server)
    _update(server)
    version = _version(server, release) if release else _candidate(server)
    installed = package_states(server.runner, [STACK]).get(STACK)
    if installed and installed.complete and installed.version == version:
        server.report(f"{STACK} {version} is installed, there is nothing newer")
        for kept_away in blocks(server):
            server.report(f"kept away: {kept_away.version}: {kept_away.reason}")
        return 0
    if installed and installed.unpacked and above(server.runner, installed.version, version):
        raise NoReleaseError(
            f"release {release or version} is older than the installed {installed.version};"
            " nothing was changed",
            f"tradingctl rollback {version.partition('~')[0]}",
        )
    wanted = _exact(server, version)
    changes = _simulate(server, wanted)
    tell = server.report if dry_run else server.say
    tell(_changes_text(changes))
    if dry_run:
        return 0
    # Once more, as reading the index takes its time. apt takes the lock for itself.
    require_idle(server)
    code = server.runner.follow([*APT, "install", *wanted], {"DEBIAN_FRONTEND": "noninteractive"})
    return _outcome(server, version, code)


def _update(server: Server) -> None:
    """Read the index of our archive alone: another one that is down is no reason to wait."""
    only = [
        *("-o", f"Dir::Etc::sourcelist={server.paths.sources}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", "APT::Get::List-Cleanup=0"),
    ]
    command = ["apt-get", "-q", "-o", "APT::Update::Error-Mode=any"]
    command += only if server.paths.sources.is_file() else []
    outcome = server.runner.run([*command, "update"], timeout=UPDATE_SECONDS)
    if outcome.code != 0:
        raise ProgramFailedError(
            f"the archive cannot be read: {outcome.said}; nothing was changed", "apt-get update"
        )


def _candidate(server: Server) -> str:
    outcome = server.runner.run(["apt-cache", "policy", STACK])
    found = re.search(r"^  Candidate: (\S+)$", outcome.output, re.MULTILINE)
    if not found or found[1] == "(none)":
        raise NoReleaseError(
            f"apt knows no {STACK}; nothing was changed", f"apt-cache policy {STACK}"
        )
    return found[1]


def _version(server: Server, release: str) -> str:
    outcome = server.runner.run(["apt-cache", "madison", STACK])
    known = [line.split("|")[1].strip() for line in outcome.output.splitlines() if "|" in line]
    for version in known:
        if release in (version, version.partition("~")[0]):
            return version
    raise NoReleaseError(
        f"the archive has no release {release}; it has"
        f" {', '.join(version.partition('~')[0] for version in known) or 'none'}",
        f"apt-cache madison {STACK}; kept on this server: tradingctl rollback --dry-run",
    )


def _exact(server: Server, version: str) -> list[str]:
    """Return each package of the release that is to change, with its version.

    Of the others apt would think that the administrator asked for them, of the stack alone that any
    newer version of its components will do.
    """
    outcome = server.runner.run(["apt-cache", "show", f"{STACK}={version}"])
    found = re.search(r"^Depends: (.+)$", outcome.output, re.MULTILINE)
    exact = {STACK: version, **dict(EXACT.findall(found[1]) if found else ())}
    states = package_states(server.runner, sorted(exact))
    return [
        f"{package}={each}"
        for package, each in exact.items()
        if package not in states or states[package].version != each
    ]


def _simulate(server: Server, wanted: Sequence[str]) -> list[Change]:
    outcome = server.runner.run([*APT, "--simulate", "install", *wanted])
    if outcome.code != 0:
        raise ProgramFailedError(
            f"apt cannot install it: {outcome.said}; nothing was changed",
            f"apt-get --simulate install {' '.join(wanted)}",
        )
    return [
        Change(package, installed, offered if kind == "Inst" else "")
        for kind, package, installed, offered in SIMULATED.findall(outcome.output)
    ]


def _changes_text(changes: Sequence[Change]) -> str:
    rows = [("PACKAGE", "INSTALLED", "TO BE INSTALLED")]
    rows += [(each.package, each.installed or "-", each.offered or "-") for each in changes]
    return table(rows)


def _outcome(server: Server, version: str, code: int) -> int:
    good = read_last_good(server.paths)
    if code == 0:
        server.say(f"{STACK} {version} is installed; release {good.release if good else '?'} is"
                   " the one that was verified last")  # fmt: skip
        return 0
    server.warn(
        f"{STACK} {version} was not installed (apt-get: exit code {code});"
        f" the release that was verified last is {good.release if good else 'none'}"
    )
    server.warn("  next: tradingctl history")
    return 1
