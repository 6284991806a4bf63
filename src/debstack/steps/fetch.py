"""Fetch exactly one commit of a repository, demand that it may be used, and export its tree.

The commit is fetched by URL into a mirror (debstack.mirror), whose objects are hashed anew at every
use, and the component's policy is judged there (debstack.trust). The exported tree is compared file
by file with the commit, so neither the author's export-ignore/export-subst attributes nor a filter
can change what is shipped, nor can somebody who changes what lies in the cache.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from debstack import mirror, trust
from debstack.errors import SourceError
from debstack.git import Git, fetch_url, fresh_repository, list_refs
from debstack.mirror import Opened
from debstack.model.trust import FULL_SHA, Policy
from debstack.process import Runner
from debstack.trust import Vouched

_LFS_POINTER = b"version https://git-lfs"
_SYMLINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True)
class Wanted:
    """A commit, and what has to be true of it.

    ``refs`` are those that the lock names with their objects, ``tree`` the digest in the lock.
    ``locking`` tells that a lock is being made: then what the server has now is good as well, and
    with ``ask`` the server is asked in any case.
    """

    url: str
    commit: str
    policy: Policy
    refs: Mapping[str, str] = field(default_factory=dict)
    tree: str | None = None
    locking: bool = False
    ask: bool = False


@dataclass(frozen=True)
class Places:
    """The project that relative addresses start from, the cache, and a folder of `vendor`."""

    project: Path
    cache: Path
    vendor: Path | None = None


@dataclass(frozen=True)
class Exported:
    """A commit's whole tree: its digest (see ``tree_digest``), a tar of it, and who vouches."""

    commit: str
    tree: str
    tar: Path
    vouched: Vouched = field(default_factory=Vouched)


def resolve_ref(url: str, ref: str, project: Path, runner: Runner) -> str:
    """Return the full SHA that ``ref`` (a branch, a tag or a full SHA) means at ``url`` now.

    Raises SourceError if the repository cannot be reached or has no such ref.
    """
    if FULL_SHA.fullmatch(ref):
        return ref
    found = list_refs(url, project, runner)
    # An annotated tag is an object of its own; its peeled form is the commit.
    for name in (f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"):
        if name in found:
            return found[name]
    raise SourceError(
        f"{url} has no branch or tag called {ref!r}",
        hint=f"see what it has with: git ls-remote {url}",
    )


def export(wanted: Wanted, places: Places, runner: Runner, *, offline: bool = False) -> Exported:
    """Return the exported tree of a commit that its policy accepts.

    The mirror of an earlier fetch is enough, unless the server is to be asked. Raises SourceError
    if the commit is not to be had, is not accepted, is damaged, contains submodules or LFS
    pointers, or if its tree is not the wanted one.
    """
    if not FULL_SHA.fullmatch(wanted.commit):
        raise SourceError(f"{wanted.commit!r} is not a full commit SHA", hint="run: debstack lock")
    trust.demand_url(wanted.url, wanted.policy)
    with _vouched(wanted, places, runner, offline) as (opened, vouched):
        tar = places.cache / "sources" / f"{wanted.commit}.tar"
        _write_tar(opened.git, wanted.url, wanted.commit, tar)
    tree = tree_digest(tar)
    if wanted.tree is not None and tree != wanted.tree:
        raise SourceError(
            f"the tree of commit {wanted.commit} of {wanted.url} is not the one in the lock",
            hint="find out who edited packaging/repos.lock; then restore it with git,"
            " or run: debstack lock",
            details=[f"in the lock: sha256 {wanted.tree}", f"fetched:     sha256 {tree}"],
        )
    return Exported(wanted.commit, tree, tar, vouched)


def mirrored(wanted: Wanted, places: Places) -> Path | None:
    """Return the mirror of the commit in the cache or in the vendor folder, if there is one."""
    for folder in (places.cache, places.vendor):
        if folder and (file := mirror.place(folder, wanted.url, wanted.commit)).is_file():
            return file
    return None


def subjects(url: str, old: str, new: str, *, project: Path, runner: Runner) -> list[str] | None:
    """Return "short-SHA subject" of each commit after ``old`` up to ``new``, newest first.

    Asks the server. Returns None where the history is not to be had or ``old`` is not an ancestor
    of ``new``. What was built has a mirror, which debstack.mirror.subjects asks.
    """
    with fresh_repository(runner) as git:
        fetched = git.fetch("--no-tags", "--filter=tree:0", fetch_url(url, project), new)
        if fetched.returncode or not git.reaches(old, new):
            return None
        return git.ask("log", "--format=%h %s", f"{old}..{new}").text.splitlines()


@contextmanager
def _vouched(
    wanted: Wanted, places: Places, runner: Runner, offline: bool
) -> Iterator[tuple[Opened, Vouched]]:
    """Give the opened mirror of a commit that is accepted, fetching it where that is needed."""
    file = mirrored(wanted, places)
    fresh = False
    if file is None and offline:
        raise SourceError(
            f"commit {wanted.commit} of {wanted.url} is not in the cache {places.cache}",
            hint="run: debstack fetch",
        )
    if file is None or wanted.ask:
        file, fresh = _current(wanted, places, runner, file), True
    try:
        with mirror.opened(file, wanted.commit, runner) as opened:
            vouched = _vouch(opened, wanted)
            yield opened, vouched
            return
    except _NotVouchedError as error:
        if fresh or offline:
            raise error.cause from None
        rejected = error.cause
    # The mirror may be older than the lock: only the server knows.
    try:
        file = _current(wanted, places, runner, None)
    except SourceError:
        raise rejected from None
    with mirror.opened(file, wanted.commit, runner) as opened:
        try:
            vouched = _vouch(opened, wanted)
        except _NotVouchedError as error:
            raise error.cause from None
        yield opened, vouched


class _NotVouchedError(Exception):
    """The policy is not met by what the mirror holds."""

    def __init__(self, cause: SourceError) -> None:
        super().__init__(cause.message)
        self.cause = cause


def _vouch(opened: Opened, wanted: Wanted) -> Vouched:
    try:
        return trust.vouch(
            opened, wanted.url, wanted.commit, wanted.policy,
            recorded=wanted.refs, locking=wanted.locking,
        )  # fmt: skip
    except SourceError as error:
        raise _NotVouchedError(error) from error


def _current(wanted: Wanted, places: Places, runner: Runner, have: Path | None) -> Path:
    """Return a mirror that says what the server says now; ``have`` if it does already."""
    now = list_refs(wanted.url, places.project, runner)
    trust.demand_unmoved(wanted.url, wanted.refs, now)
    names = mirror.matching(now, wanted.policy.wanted)
    if have is not None:
        with mirror.opened(have, wanted.commit, runner) as opened:
            if dict(opened.refs) == {name: now[name] for name in names}:
                return have
    file = mirror.place(places.cache, wanted.url, wanted.commit)
    address = fetch_url(wanted.url, places.project)
    mirror.make(wanted.url, address, wanted.commit, names, file, runner)
    return file


def tree_digest(tar: Path) -> str:
    """Return the SHA-256 over path, kind and content hash of every file in ``tar``, sorted."""
    lines = []
    with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if member.issym():
                kind, content = _SYMLINK, member.linkname.encode("utf-8", "surrogateescape")
            elif member.isreg():
                kind, content = _mode(member), _content(archive, member)
            else:
                continue
            path = member.name.encode("utf-8", "surrogateescape")
            lines.append(b"%s\0%s\0%s\n" % (path, kind.encode(), _sha256(content)))
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def _write_tar(git: Git, url: str, commit: str, tar: Path) -> None:
    """Write the commit's tree to ``tar``, or demand that what is there already is that tree."""
    entries = _entries(git, commit)
    _refuse_submodules(entries, url, commit)
    if tar.exists():
        if different := _differences(tar, entries, url, commit):
            raise SourceError(
                f"{tar} is not what commit {commit} of {url} has",
                hint="find out who changed it; then remove the file and build again",
                details=different[:20],
            )
        return
    tar.parent.mkdir(parents=True, exist_ok=True)
    partial = tar.with_name(f".{tar.name}.{os.getpid()}")
    try:
        git.ask("-c", "tar.umask=0022", "archive", "--format=tar", "-o", partial, commit)
        if different := _differences(partial, entries, url, commit):
            raise SourceError(
                f"the export of commit {commit} of {url} differs from the commit",
                hint="the repository's attributes or the installed git change files; report this",
                details=different[:20],
            )
        partial.replace(tar)
    finally:
        partial.unlink(missing_ok=True)


def _entries(git: Git, commit: str) -> dict[bytes, tuple[str, str]]:
    """Return path -> (mode, object id) of everything in the commit's tree."""
    listing = git.ask("ls-tree", "-r", "-z", commit).stdout
    entries = {}
    for record in listing.split(b"\0")[:-1]:
        meta, path = record.split(b"\t", 1)
        mode, _, object_id = meta.decode().split()
        entries[path] = (mode, object_id)
    return entries


def _refuse_submodules(entries: Mapping[bytes, tuple[str, str]], url: str, commit: str) -> None:
    found = [path.decode("utf-8", "replace") for path, (mode, _) in entries.items()
             if mode == _SUBMODULE]  # fmt: skip
    if found:
        raise SourceError(
            f"commit {commit} of {url} has submodules, which would be left out",
            hint="vendor their files into the repository, or make each a component of its own",
            details=found,
        )


def _differences(
    tar: Path, entries: Mapping[bytes, tuple[str, str]], url: str, commit: str
) -> list[str]:
    """Return the files in which ``tar`` is not the commit's tree, bit for bit.

    Raises SourceError for a pointer to a file that git does not have.
    """
    exported = {}
    try:
        with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                path = member.name.encode("utf-8", "surrogateescape")
                if member.issym():
                    content = member.linkname.encode("utf-8", "surrogateescape")
                    exported[path] = (_SYMLINK, _blob_id(content))
                elif not member.isdir():
                    content = _content(archive, member)
                    if content.startswith(_LFS_POINTER):
                        raise SourceError(
                            f"{member.name} in commit {commit} of {url} is a Git LFS pointer",
                            hint="commit the file itself; a pointer would be shipped in its place",
                        )
                    exported[path] = (_mode(member), _blob_id(content))
    except tarfile.TarError as error:
        return [f"it cannot be read: {error}"]
    return sorted(
        path.decode("utf-8", "replace")
        for path in exported.keys() | entries.keys()
        if exported.get(path) != entries.get(path)
    )


def _mode(member: tarfile.TarInfo) -> str:
    return "100755" if member.mode & 0o100 else "100644"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    extracted = archive.extractfile(member)
    return b"" if extracted is None else extracted.read()


def _blob_id(content: bytes) -> str:
    # Git's own name for the content; SHA-256 is what the lock relies on.
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
