"""Mirrors: a commit with its files, its whole history, and the refs that the server had for it.

A mirror is one file, a partial git bundle: refs as text, then a pack with the objects of one tree
and the commits of the whole history. It is only ever read by `git index-pack` into a fresh
repository, which computes the name of every object anew: what somebody changed in the file is not
found under its name any more. A repository would be read in place, where git believes the names
of loose objects and obeys the configuration beside them.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from debstack.errors import SourceError
from debstack.git import Git, fresh_repository
from debstack.process import Runner

_HEADER = b"# v3 git bundle\n@object-format=sha1\n@filter=tree:0\n"
_REF = re.compile(rb"([0-9a-f]{40}) (\S+)\n")
_CHUNK = 1 << 20
_EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True)
class Opened:
    """A mirror's objects in a repository, and the ``refs`` that the server had, by full name."""

    git: Git
    refs: Mapping[str, str]
    file: Path


def place(cache: Path, url: str, commit: str) -> Path:
    """Return where the mirror of ``commit`` of ``url`` lies below ``cache``."""
    return cache / "mirrors" / hashlib.sha256(url.encode()).hexdigest()[:16] / f"{commit}.bundle"


def matching(refs: Collection[str], patterns: Collection[str]) -> list[str]:
    """Return those of ``refs`` that a pattern names, in the order of the patterns."""
    found = [
        name
        for pattern in patterns
        for name in sorted(refs)
        if fnmatch.fnmatchcase(name, pattern) and not name.endswith("^{}")
    ]
    return list(dict.fromkeys(found))


def make(
    url: str, address: str, commit: str, refs: Collection[str], file: Path, runner: Runner
) -> None:
    """Fetch ``commit`` with its files, its history and ``refs`` from ``address`` into ``file``.

    ``refs`` are full names that the server has. Raises SourceError if it cannot be had.
    """
    with fresh_repository(runner) as files, fresh_repository(runner) as history:
        _fetch_files(files, url, address, commit)
        _fetch_history(history, url, address, commit, refs)
        kept = _refs_of(history)
        objects = _objects(files, history, commit)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=file.parent) as folder:
            pack = _pack(files, history, objects)
            whole = Path(folder) / file.name
            with whole.open("wb") as bundle, pack.open("rb") as source:
                bundle.write(_HEADER)
                for name, object_id in sorted(kept.items()):
                    if name in refs:
                        bundle.write(f"{object_id} {name}\n".encode())
                bundle.write(b"\n")
                shutil.copyfileobj(source, bundle, _CHUNK)
                bundle.flush()
                os.fsync(bundle.fileno())
            whole.chmod(0o644)
            whole.replace(file)


@contextmanager
def opened(file: Path, commit: str, runner: Runner) -> Iterator[Opened]:
    """Give the mirror's objects in a fresh repository, each of them hashed anew.

    Raises SourceError if the file is no mirror of ``commit``, or was changed.
    """
    with fresh_repository(runner) as git, file.open("rb") as stream:
        refs = _read_header(stream, file)
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        indexed = git.feed(chunks, "index-pack", "--stdin")
        if indexed.returncode:
            raise _changed(file, indexed.stderr.decode("utf-8", "replace").splitlines())
        kind = git.ask("cat-file", "-t", commit, check=False)
        whole = git.ask("rev-list", "--objects", "--no-walk", commit, check=False)
        broken = git.ask("rev-list", "--count", commit, check=False)
        if kind.text.strip() != "commit" or whole.returncode or broken.returncode:
            said = kind.stderr + whole.stderr + broken.stderr
            raise _changed(file, said.decode("utf-8", "replace").splitlines())
        yield Opened(git, refs, file)


def subjects(file: Path, old: str, new: str, runner: Runner) -> list[str] | None:
    """Return "short-SHA subject" of each commit after ``old`` up to ``new``, newest first.

    ``file`` is the mirror of ``new``. It has the whole history, so the answer is the same on every
    machine, with a network and without. None if ``old`` is not in the history of ``new``. Raises
    SourceError.
    """
    with opened(file, new, runner) as mirror:
        if not mirror.git.reaches(old, new):
            return None
        return mirror.git.ask("log", "--format=%h %s", f"{old}..{new}").text.splitlines()


def _fetch_files(git: Git, url: str, address: str, commit: str) -> None:
    """Fetch the commit's tree, and demand that everything that came is sound."""
    if git.fetch("--depth", "1", "--no-tags", address, commit).returncode:
        _fetch_everything(git, url, address)
    kind = git.ask("cat-file", "-t", commit, check=False)
    if kind.text.strip() != "commit":
        raise SourceError(
            f"{url} has no commit {commit}",
            hint="correct the ref in packaging/components and run: debstack lock",
            details=kind.stderr.decode("utf-8", "replace").splitlines(),
        )
    git.ask("fsck", "--full", "--no-dangling")


def _fetch_history(git: Git, url: str, address: str, commit: str, refs: Collection[str]) -> None:
    """Fetch the commits, without their files where the server knows how to leave them out."""
    wanted = [f"+{name}:{name}" for name in sorted(refs)]
    fetched = git.fetch("--no-tags", "--filter=tree:0", address, commit, *wanted)
    if fetched.returncode:
        _fetch_everything(git, url, address)


def _fetch_everything(git: Git, url: str, address: str) -> None:
    # Servers that speak only protocol v0 refuse commits that no ref points at.
    fetched = git.fetch(address, *_EVERYTHING)
    if fetched.returncode:
        raise SourceError(
            f"{url} cannot be fetched from",
            hint=f"see whether it can be reached and read: git ls-remote {address}",
            details=fetched.stderr.decode("utf-8", "replace").strip().splitlines(),
        )


def _refs_of(git: Git) -> dict[str, str]:
    listing = git.ask("for-each-ref", "--format=%(objectname) %(refname)").text
    # Not splitlines, which takes for ends of lines what may be in a name.
    lines = (line.split(" ", 1) for line in listing.split("\n") if line)
    return {name: sha for sha, name in lines}


def _objects(files: Git, history: Git, commit: str) -> list[str]:
    """Return the ids of all objects of the mirror: one tree, all commits, the tags."""
    listing = ("rev-list", "--objects", "--no-object-names")
    tree = files.ask(*listing, "--no-walk", commit).text.split()
    commits = history.ask(*listing, "--filter=tree:0", commit, "--all").text.split()
    return sorted({*tree, *commits})


def _pack(files: Git, history: Git, objects: Collection[str]) -> Path:
    """Write the objects of both repositories as one pack, beside those of the first.

    git renames it to where it is wanted, which has to be on the repository's file system.
    """
    # Promised objects that nobody asked for are not fetched by the way.
    env = {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(history.root / "objects"),
        "GIT_NO_LAZY_FETCH": "1",
    }
    lines = (f"{each}\n".encode() for each in objects)
    packed = files.feed(lines, "pack-objects", "-q", files.root / "mirror", env=env)
    found = list(files.root.glob("mirror-*.pack"))
    if packed.returncode or len(found) != 1:
        raise SourceError(
            "what was fetched cannot be packed",
            hint="see whether the disk is full",
            details=packed.stderr.decode("utf-8", "replace").splitlines(),
        )
    return found[0]


def _read_header(stream: BinaryIO, file: Path) -> dict[str, str]:
    header = b"".join(stream.readline() for _ in _HEADER.splitlines())
    if header != _HEADER:
        raise _changed(file, ["it does not begin as a mirror does"])
    refs = {}
    while (line := stream.readline()) != b"\n":
        match = _REF.fullmatch(line)
        if match is None:
            raise _changed(file, [f"not a ref: {line[:80]!r}"])
        refs[match.group(2).decode("utf-8", "replace")] = match.group(1).decode()
    return refs


def _changed(file: Path, details: list[str]) -> SourceError:
    return SourceError(
        f"the mirror {file} is damaged, or was changed: it does not hold what its name says",
        hint="find out who changed it; then remove the file and run: debstack fetch",
        details=details[:10],
    )
