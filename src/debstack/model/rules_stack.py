"""The rules of packaging/stack.toml."""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import urlsplit

from debstack.errors import Problem
from debstack.model import names
from debstack.model.definition import TOOLS, Archive, Audit, Retention, Stack, Target
from debstack.model.findings import MOST_DAYS, Findings
from debstack.model.wheel import MANYLINUX_OF, parse_platform

STACK_FILE = "packaging/stack.toml"
STACK_NAME = "traderunner"
"""By which tradingctl knows the keyring, the .sources and the packages on a server."""
# /opt/trading/releases and /var/lib/trading/releases are the generations' and the store's; the
# other is the package of the stack's own that no release depends on.
RESERVED_COMPONENTS = ("releases", "trading-ibgateway")

_MAINTAINER = re.compile(r"[^<>@,\s][^<>@,]* <[^<>@\s]+@[^<>@\s]+>")
_RELEASE = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}\.[1-9][0-9]*")
_SUFFIX = re.compile(r"[a-z0-9][a-z0-9.+]*")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]*")
_CANARY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9A-Za-z.+!-]*")
_PYTHON = re.compile(r"3\.(0|[1-9][0-9]?)")


def stack_problems(stack: Stack) -> list[Problem]:
    """Return every rule that ``stack`` breaks."""
    found = Findings(STACK_FILE)
    found.package("name", stack.name)
    found.require(
        stack.name == STACK_NAME or not names.is_package(stack.name),
        "name",
        f"{stack.name!r} is another name than tradingctl knows the packages by: it would refuse"
        " every upgrade",
        STACK_NAME,
    )
    found.require(
        _MAINTAINER.fullmatch(stack.maintainer) is not None and stack.maintainer.isprintable(),
        "maintainer",
        f"{stack.maintainer!r} is not a name and an address",
        "Name <mail@example.org>",
    )
    found.require(
        urlsplit(stack.homepage).scheme in ("http", "https") and stack.homepage.isprintable(),
        "homepage",
        f"{stack.homepage!r} is not a web address",
        "https://…",
    )
    _components(stack, found)
    _archive(stack.archive, found)
    _targets(stack.targets, found)
    _channels(stack, found)
    _retention(stack.retention, found)
    _audit(stack.audit, found)
    return found.problems


def own_packages(stack: Stack) -> tuple[str, ...]:
    """Return the packages that come from the stack itself and not from a repository.

    The last one holds the stack together: its version is the release.
    """
    return (f"{stack.name}-archive-keyring", f"{stack.name}-common", f"{stack.name}-stack")


def _components(stack: Stack, found: Findings) -> None:
    found.require(bool(stack.components), "components", "the stack has no component", "name one")
    taken = (*own_packages(stack), *RESERVED_COMPONENTS)
    for n, name in enumerate(stack.components):
        key = f"components[{n}]"
        found.package(key, name)
        found.require(name not in taken, key, f"{name!r} is taken by the stack", "another name")
    found.unique("component", ((f"components[{n}]", c) for n, c in enumerate(stack.components)))


def _archive(archive: Archive, found: Findings) -> None:
    found.line("archive.origin", archive.origin)
    found.line("archive.label", archive.label)
    address = urlsplit(archive.uri)
    found.require(
        address.scheme in ("file", "http", "https") and bool(address.netloc or address.path),
        "archive.uri",
        f"{archive.uri!r} is not an address that apt fetches from",
        "file:///srv/… or https://…",
    )
    found.require(
        address.password is None and " " not in archive.uri and archive.uri.isprintable(),
        "archive.uri",
        "holds a password or a space",
        "credentials belong in /etc/apt/auth.conf.d of the server",
    )
    found.days("archive.valid_for_days", archive.valid_for_days, "30")
    # An index that is still valid must find what it names.
    found.require(
        archive.grace_days >= archive.valid_for_days,
        "archive.grace_days",
        f"is below valid_for_days, for which servers use an index ({archive.valid_for_days})",
        f"{max(archive.valid_for_days, 1)}",
    )
    found.require(
        archive.grace_days <= MOST_DAYS, "archive.grace_days", f"is above {MOST_DAYS}", "30"
    )


def _targets(targets: tuple[Target, ...], found: Findings) -> None:
    found.require(bool(targets), "targets", "the stack has no target", "add [[targets]]")
    found.unique("target", ((f"targets[{n}].name", each.name) for n, each in enumerate(targets)))
    found.unique(
        "version suffix",
        ((f"targets[{n}].suffix", f"{t.suffix} {t.architecture}") for n, t in enumerate(targets)),
    )
    for n, target in enumerate(targets):
        _target(f"targets[{n}]", target, found)


def _target(key: str, target: Target, found: Findings) -> None:
    _word(f"{key}.name", target.name, found)
    found.require(
        _SUFFIX.fullmatch(target.suffix) is not None,
        f"{key}.suffix",
        f"{target.suffix!r} cannot end a version",
        f"{re.sub('[^a-z0-9.+]', '', target.suffix.lower()).strip('.+') or 'deb12'}",
    )
    found.require(
        _PYTHON.fullmatch(target.python) is not None,
        f"{key}.python",
        f"{target.python!r} is not a minor version of Python 3",
        "such as 3.11",
    )
    known = found.require(
        target.architecture in MANYLINUX_OF,
        f"{key}.architecture",
        f"unknown architecture {target.architecture!r}",
        names.did_you_mean(target.architecture, MANYLINUX_OF),
    )
    machine = MANYLINUX_OF[target.architecture] if known else "x86_64"
    platform = parse_platform(target.platform)
    if found.require(
        platform is not None,
        f"{key}.platform",
        f"{target.platform!r} is not a platform of wheels",
        f"{machine}-manylinux_2_36",
    ):
        assert platform is not None  # noqa: S101  (required above)
        found.require(
            not known or platform.machine == machine,
            f"{key}.platform",
            f"{target.platform} does not run on {target.architecture}",
            f"{machine}-manylinux_2_{platform.glibc}",
        )


def _channels(stack: Stack, found: Findings) -> None:
    channels = stack.channels
    found.require(bool(channels), "channels", "the stack has no channel", "add [[channels]]")
    found.unique("channel", ((f"channels[{n}].name", c.name) for n, c in enumerate(channels)))
    for n, channel in enumerate(channels):
        _word(f"channels[{n}].name", channel.name, found)
        found.require(
            channel.name != TOOLS.name,
            f"channels[{n}].name",
            f"{channel.name!r} is the suite of debstack's own package",
            "another name",
        )


def _retention(retention: Retention, found: Findings) -> None:
    found.require(retention.keep >= 1, "retention.keep", "is below 1", "10")
    found.unique(
        "pinned release", ((f"retention.pinned[{n}]", r) for n, r in enumerate(retention.pinned))
    )
    for n, release in enumerate(retention.pinned):
        found.require(
            _RELEASE.fullmatch(release) is not None,
            f"retention.pinned[{n}]",
            f"{release!r} is not a release id",
            "such as 2026.11.23.1",
        )


def _audit(audit: Audit, found: Findings) -> None:
    address = urlsplit(audit.service)
    found.require(
        not audit.service or (address.scheme in ("http", "https") and bool(address.netloc)),
        "audit.service",
        f"{audit.service!r} is not a web address",
        "https://…",
    )
    found.days("audit.max_age_days", audit.max_age_days, "14")
    found.require(
        not audit.canary or _CANARY.fullmatch(audit.canary) is not None,
        "audit.canary",
        f"{audit.canary!r} is not a normalised name and a version",
        "such as jinja2==2.4.1",
    )
    for n, each in enumerate(audit.accepted):
        found.line(f"audit.accepted[{n}].id", each.id)
        found.line(f"audit.accepted[{n}].reason", each.reason)
        try:
            date.fromisoformat(each.until)
        except ValueError:
            found.add(f"audit.accepted[{n}].until", f"{each.until!r} is not a day", "2026-12-31")


def _word(key: str, name: str, found: Findings) -> None:
    legal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    found.require(
        _WORD.fullmatch(name) is not None,
        key,
        f"{name!r} cannot be part of a suite's name",
        f"{legal or 'a-z, 0-9 and -'}",
    )
