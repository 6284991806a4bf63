"""Fetch exactly one commit of a repository and export its tree as a tar.

The commit is fetched by URL into a fresh repository, so that git hashes every object it receives: a
local object store is never read in place, because git does not re-hash loose objects on reading.
The exported tree is compared file by file with the commit, so neither the author's
export-ignore/export-subst attributes nor a filter can change what is shipped.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import SourceError
from debstack.process import Runner, base_environment, network_environment

_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_LFS_POINTER = b"version https://git-lfs"
_NEUTRAL_ATTRIBUTES = (
    "* -export-ignore -export-subst -filter -text -ident -eol -working-tree-encoding\n"
)
_SYMLINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True)
class Exported:
    """A commit's whole tree: its digest (see ``tree_digest``) and a tar of it."""

    commit: str
    tree: str
    tar: Path


def resolve_ref(url: str, ref: str, project: Path, runner: Runner) -> str:
    """Return the full SHA that ``ref`` (a branch, a tag or a full SHA) means at ``url`` now.

    Raises SourceError if the repository cannot be reached or has no such ref.
    """
    if _FULL_SHA.fullmatch(ref):
        return ref
    patterns = (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/tags/{ref}^{{}}")
    listing = runner.raising(SourceError).capture(
        ["git", "ls-remote", fetch_url(url, project), *patterns], env=_network_git()
    )
    found = {name: sha for sha, name in (line.split("\t") for line in listing.text.splitlines())}
    # An annotated tag is an object of its own; its peeled form is the commit.
    for pattern in (f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"):
        if pattern in found:
            return found[pattern]
    raise SourceError(
        f"{url} has no branch or tag called {ref!r}",
        hint=f"see what it has with: git ls-remote {url}",
    )


def export(
    url: str,
    commit: str,
    *,
    project: Path,
    cache: Path,
    runner: Runner,
    offline: bool = False,
    expected_tree: str | None = None,
) -> Exported:
    """Return the exported tree of ``commit``, from the cache if it was fetched before.

    Raises SourceError if the commit is not to be had, is damaged, contains submodules or LFS
    pointers, or if its tree is not ``expected_tree``.
    """
    if not _FULL_SHA.fullmatch(commit):
        raise SourceError(f"{commit!r} is not a full commit SHA", hint="run: debstack lock")
    tar = cache / "sources" / f"{commit}.tar"
    if not tar.exists():
        if offline:
            raise SourceError(
                f"commit {commit} of {url} is not in the cache {cache}", hint="run: debstack fetch"
            )
        _fetch(fetch_url(url, project), commit, tar, runner.raising(SourceError))
    tree = tree_digest(tar)
    if expected_tree is not None and tree != expected_tree:
        raise SourceError(
            f"the tree of commit {commit} of {url} is not the one in the lock",
            hint=f"if the lock is right, remove {tar} and build again; otherwise: debstack lock",
            details=[f"in the lock: sha256 {expected_tree}", f"fetched:     sha256 {tree}"],
        )
    return Exported(commit, tree, tar)


def subjects(url: str, old: str, new: str, *, project: Path, runner: Runner) -> list[str] | None:
    """Return "short-SHA subject" of each commit after ``old`` up to ``new``, newest first.

    Returns None where the history is not to be had or ``old`` is not an ancestor of ``new``.
    """
    with _repository() as repository:
        git: list[str | Path] = ["git", "-C", repository]
        remote = fetch_url(url, project)
        fetched = runner.capture(
            [*git, "fetch", "-q", "--no-tags", "--filter=tree:0", remote, new],
            env=_network_git(),
            check=False,
        )
        ancestor = runner.capture(
            [*git, "merge-base", "--is-ancestor", old, new], env=_local_git(), check=False
        )
        if fetched.returncode or ancestor.returncode:
            return None
        log = runner.capture([*git, "log", "--format=%h %s", f"{old}..{new}"], env=_local_git())
        return log.text.splitlines()


def fetch_url(url: str, project: Path) -> str:
    """Return what git is asked to fetch: a relative path means a file:// URL below the project."""
    if "://" in url or re.match(r"[^/]+@[^/]+:", url):
        return url
    return (project / url).resolve().as_uri()


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


def _fetch(url: str, commit: str, tar: Path, runner: Runner) -> None:
    """Fetch ``commit`` into a fresh repository, check it, and write its tree to ``tar``."""
    with _repository() as repository:
        git: list[str | Path] = ["git", "-C", repository]
        shallow = [*git, "fetch", "-q", "--depth", "1", "--no-tags", url, commit]
        if runner.capture(shallow, env=_network_git(), check=False).returncode:
            # Servers that speak only protocol v0 refuse commits that no ref points at.
            everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            fetched = runner.capture(
                [*git, "fetch", "-q", url, *everything], env=_network_git(), check=False
            )
            if fetched.returncode:
                raise SourceError(
                    f"{url} cannot be fetched from",
                    hint=f"see whether it can be reached and read: git ls-remote {url}",
                    details=fetched.stderr.decode("utf-8", "replace").strip().splitlines(),
                )
        _demand_commit(git, url, commit, runner)
        runner.capture([*git, "fsck", "--full", "--no-dangling"], env=_local_git())
        entries = _entries(git, commit, runner)
        _refuse_submodules(entries, url, commit)
        tar.parent.mkdir(parents=True, exist_ok=True)
        partial = tar.with_name(f".{tar.name}.{os.getpid()}")
        try:
            archive = [*git, "-c", "tar.umask=0022", "archive", "--format=tar", "-o", partial]
            runner.capture([*archive, commit], env=_local_git())
            _compare(partial, entries, url, commit)
            partial.replace(tar)
        finally:
            partial.unlink(missing_ok=True)


def _demand_commit(git: Sequence[str | Path], url: str, commit: str, runner: Runner) -> None:
    kind = runner.capture([*git, "cat-file", "-t", commit], env=_local_git(), check=False)
    if kind.text.strip() != "commit":
        raise SourceError(
            f"{url} has no commit {commit}",
            hint="correct the ref in packaging/components and run: debstack lock",
            details=kind.stderr.decode("utf-8", "replace").splitlines(),
        )


def _entries(
    git: Sequence[str | Path], commit: str, runner: Runner
) -> dict[bytes, tuple[str, str]]:
    """Return path -> (mode, object id) of everything in the commit's tree."""
    listing = runner.capture([*git, "ls-tree", "-r", "-z", commit], env=_local_git()).stdout
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


def _compare(tar: Path, entries: Mapping[bytes, tuple[str, str]], url: str, commit: str) -> None:
    """Raise SourceError unless ``tar`` holds exactly the commit's files, bit for bit."""
    exported = {}
    with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            path = member.name.encode("utf-8", "surrogateescape")
            if member.issym():
                content = member.linkname.encode("utf-8", "surrogateescape")
                exported[path] = (_SYMLINK, _blob_id(content))
            elif member.isreg():
                content = _content(archive, member)
                if content.startswith(_LFS_POINTER):
                    raise SourceError(
                        f"{member.name} in commit {commit} of {url} is a Git LFS pointer",
                        hint="commit the file itself; a pointer would be shipped in its place",
                    )
                exported[path] = (_mode(member), _blob_id(content))
    if exported != dict(entries):
        different = sorted(
            path.decode("utf-8", "replace")
            for path in exported.keys() | entries.keys()
            if exported.get(path) != entries.get(path)
        )
        raise SourceError(
            f"the export of commit {commit} of {url} differs from the commit",
            hint="the repository's attributes or the installed git change files; report this",
            details=different[:20],
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


@contextmanager
def _repository() -> Iterator[Path]:
    """Give a fresh bare repository in which no attribute of the author has an effect."""
    with tempfile.TemporaryDirectory(prefix="debstack-git-") as folder:
        repository = Path(folder)
        Runner(error=SourceError).capture(
            ["git", "init", "-q", "--bare", repository], env=_local_git()
        )
        attributes = repository / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(_NEUTRAL_ATTRIBUTES)
        yield repository


def _local_git() -> dict[str, str]:
    """Return an environment in which no configuration of the user or the machine counts."""
    return base_environment() | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def _network_git() -> dict[str, str]:
    """Return an environment with the user's credentials, which never asks for one."""
    return network_environment() | {"GIT_TERMINAL_PROMPT": "0"}
