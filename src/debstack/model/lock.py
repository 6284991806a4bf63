"""packaging/repos.lock: what a release is made of, and the versions that its packages carry.

The file is written by ``debstack lock`` and read by everything else. It names, for each component,
the commit and the digests of its tree and dependency locks, and for each package the release in
which it last changed with the digest of everything that enters it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import tomli_w

from debstack.errors import LockError
from debstack.model.definition import Target
from debstack.model.reading import parse

FORMAT = 1
_HEADER = "# Written by `debstack lock`; do not edit.\n\n"
_RELEASE = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})\.([1-9][0-9]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORT = 7


@dataclass(frozen=True)
class LockedComponent:
    """A repository at a commit.

    ``tree`` is the sha256 of the commit's files. ``refs`` are the branch or tag that has the commit
    in its history and the tag that is followed, by full name, with their objects; ``signer`` is the
    key that signed the commit, where the policy demands one. ``requirements`` and
    ``build_requirements`` map a target to the sha256 of the dependency lock's text.
    """

    url: str
    ref: str
    commit: str
    tree: str
    requirements: Mapping[str, str] = field(default_factory=dict)
    build_requirements: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)
    signer: str = ""


@dataclass(frozen=True)
class LockedPackage:
    """The release in which a package last changed.

    ``timestamp`` is that release's, in seconds since the epoch, UTC: the time that all files of
    the package carry. ``inputs`` maps a target to the digest of everything that enters it. For a
    component, ``before`` is the commit of the version before, "" if there was none, and ``changes``
    has a line for each commit between the two, for the changelog.
    """

    changed_in: str
    timestamp: int
    inputs: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """One release. ``timestamp`` is when it was locked, in seconds since the epoch, UTC."""

    format: int
    release: str
    timestamp: int
    components: Mapping[str, LockedComponent]
    packages: Mapping[str, LockedPackage]

    def version(self, package: str, target: Target) -> str:
        """Return the Debian version of ``package`` on ``target``.

        A component's names its commit. Raises LockError if the lock has no such package.
        """
        if package not in self.packages:
            raise LockError(
                f"repos.lock has no package {package}",
                hint="run `debstack lock` after changing the definitions",
            )
        changed_in = self.packages[package].changed_in
        component = self.components.get(package)
        code = f"+g{component.commit[:_SHORT]}-1" if component else ""
        return f"{changed_in}{code}~{target.suffix}"

    def text(self) -> str:
        """Return the lock as the text of its file, in an order that depends on nothing."""
        raw = asdict(self)
        for table in ("components", "packages"):
            raw[table] = {
                name: {k: dict(sorted(v.items())) if isinstance(v, dict) else v
                       for k, v in item.items() if v not in ("", ())}
                for name, item in sorted(raw[table].items())
            }  # fmt: skip
        return _HEADER + tomli_w.dumps(raw)

    def write(self, path: Path) -> None:
        """Write the lock to ``path``: wholly, durably, or not at all."""
        write_atomically(path, self.text())


def parse_lock(text: str, file: str) -> Lock:
    """Return the lock that ``text`` holds; ``file`` names it in errors.

    Raises LockError with every key that is unknown, missing or malformed.
    """
    lock, problems = parse(Lock, text, file)
    mistakes = [str(problem) for problem in sorted(problems)]
    if lock:
        mistakes += [f"{file}: {mistake}" for mistake in _mistakes(lock)]
    if mistakes or lock is None:
        raise LockError(
            mistakes[0],
            hint="restore the file with git, or write it anew with `debstack lock`",
            details=mistakes[1:],
        )
    return lock


def read_lock(path: Path) -> Lock:
    """Return the lock in the file ``path``. Raises LockError, also if there is none."""
    try:
        return parse_lock(path.read_text("utf-8"), path.name)
    except FileNotFoundError as error:
        raise LockError(
            f"{path} does not exist, so no release is pinned", hint="run `debstack lock`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"{path} cannot be read: {error}", hint="restore it with git") from error


def next_release(previous: str | None, now: datetime) -> str:
    """Return the id of the release after ``previous``: a date in UTC and a number.

    It is always higher: with a clock behind the previous release, that one's date is kept.
    """
    today = now.astimezone(UTC).date()
    if previous is None:
        return f"{today:%Y.%m.%d}.1"
    day, number = release_order(previous)
    return f"{today:%Y.%m.%d}.1" if today > day else f"{day:%Y.%m.%d}.{number + 1}"


def release_order(release: str) -> tuple[date, int]:
    """Return the date and number of a release id, which sort as releases follow each other.

    Raises LockError if it is none.
    """
    match = _RELEASE.fullmatch(release)
    if match is None:
        raise LockError(f"{release!r} is not a release id", hint="such as 2026.11.23.1")
    year, month, day, number = map(int, match.groups())
    try:
        return date(year, month, day), number
    except ValueError as error:
        raise LockError(f"{release!r} is not a release id: {error}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that at every moment the old or the new file is there whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp's 0600 would keep a colleague, and git's checkout, from reading it.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mistakes(lock: Lock) -> Iterator[str]:
    """Yield what a type cannot tell: digests, release ids, components without a package."""
    if lock.format != FORMAT:
        yield f"format: is {lock.format}, this debstack reads {FORMAT}"
    yield from _release_mistakes("release", lock.release, lock.timestamp)
    for name, component in lock.components.items():
        key = f"components.{name}"
        if not _COMMIT.fullmatch(component.commit):
            yield f"{key}.commit: {component.commit!r} is not a commit of 40 hex digits"
        for ref, object_id in component.refs.items():
            if not _COMMIT.fullmatch(object_id):
                yield f"{key}.refs.{ref}: {object_id!r} is not an object of 40 hex digits"
        digests = {"tree": component.tree}
        digests |= {f"requirements.{t}": d for t, d in component.requirements.items()}
        digests |= {f"build_requirements.{t}": d for t, d in component.build_requirements.items()}
        yield from _digest_mistakes(key, digests)
        if name not in lock.packages:
            yield f"{key}: has no package"
    for name, package in lock.packages.items():
        key = f"packages.{name}"
        mistakes = list(
            _release_mistakes(f"{key}.changed_in", package.changed_in, package.timestamp)
        )
        yield from mistakes
        yield from _digest_mistakes(f"{key}.inputs", package.inputs)
        if package.before and not _COMMIT.fullmatch(package.before):
            yield f"{key}.before: {package.before!r} is not a commit of 40 hex digits"
        if (
            not mistakes
            and _RELEASE.fullmatch(lock.release)
            and (_order(package.changed_in) > _order(lock.release))
        ):
            yield f"{key}.changed_in: {package.changed_in} is after the release {lock.release}"


def _release_mistakes(key: str, release: str, timestamp: int) -> Iterator[str]:
    try:
        release_order(release)
    except LockError as error:
        yield f"{key}: {error.message}"
    if timestamp <= 0:
        yield f"timestamp: {timestamp}, beside {key}, is not a time since 1970"


def _digest_mistakes(key: str, digests: Mapping[str, str]) -> Iterator[str]:
    for name, digest in digests.items():
        if not _SHA256.fullmatch(digest):
            yield f"{key}.{name}: {digest!r} is not a sha256 of 64 hex digits"


def _order(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))
