"""Whether a package's own code is that of its commit, where the mirror of the commit is at hand."""

from __future__ import annotations

import csv
import hashlib
import io
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from debstack import mirror
from debstack.accounting.account import Account, distribution, installed
from debstack.accounting.contents import Contents
from debstack.accounting.finding import Finding, failed, judged, not_verified
from debstack.describe import TRACKED
from debstack.errors import SourceError
from debstack.git import Git
from debstack.model.trust import FULL_SHA
from debstack.process import Runner

_WRITTEN_BY_THE_BUILD = "RELEASE.json"


def check_source(
    account: Account, contents: Contents, cache: Path, runner: Runner
) -> Finding | None:
    """Compare the component's files with those of the commit that the package names.

    ``cache`` is debstack's cache. What the build of a wheel made, and the commit does not have, is
    not verified. None for a package that comes from no commit.
    """
    component = account.component
    if component is None or not FULL_SHA.fullmatch(account.commit):
        return None
    file = mirror.place(cache, component.url, account.commit)
    if not file.is_file():
        return not_verified("source", f"the mirror of commit {account.commit[:12]} is not at hand")
    try:
        with mirror.opened(file, account.commit, runner) as opened:
            committed = _files_of(opened.git, account.commit)
    except SourceError as error:
        return not_verified("source", error.message)
    mistakes, unknown, compared = [], [], 0
    for path, names in _own(account, contents):
        known = [committed[name] for name in names if name in committed]
        if contents.files[path].sha256 in known:
            compared += 1
        elif known or not contents.inside(path):
            mistakes.append(f"{path} is not a file of commit {account.commit[:12]}")
        else:
            unknown.append(path)
    if unknown and not mistakes:
        return not_verified("source", f"the commit has no {unknown[0]}: the build made it")
    if not compared and not mistakes:
        return failed("source", "it has no file of the commit")
    return judged("source", mistakes, f"{compared} files are those of {account.commit[:12]}")


def about_byte_code(contents: Contents) -> Finding | None:
    """Say of how many files nothing is said: Python runs them in place of the source, unasked."""
    count = sum(path.endswith(".pyc") for path in contents.files)
    if not count:
        return None
    return not_verified(
        "byte code", f"{count} files; a build from the same lock has the same ones, to compare with"
    )


def _own(account: Account, contents: Contents) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the files that come from the commit, each with what it may be called there."""
    tree = f"usr/lib/trading/{account.package}/"
    for path in sorted(contents.files):
        name = path.removeprefix(tree)
        if path.endswith(".pyc") or name in (path, _WRITTEN_BY_THE_BUILD):
            continue
        if not name.startswith(".venv/"):
            yield path, (name.removeprefix(f"{TRACKED}/"),)
    wheels = account.requirements.wheels if account.requirements else ()
    locked = {distribution(each.name, each.version) for each in wheels}
    for each, folder in sorted(installed(contents).items()):
        if each in locked:
            continue
        record = contents.texts.get(f"{contents.site_packages}/{folder}/RECORD", b"")
        for row in csv.reader(io.StringIO(record.decode("utf-8", "replace"), newline="")):
            path = posixpath.normpath(f"{contents.site_packages}/{row[0]}") if row else ""
            name = contents.inside(path)
            made = name.startswith(f"{folder}/") or name.endswith(".pyc")
            if path in contents.files and name and not made:
                yield path, (name, f"src/{name}")


def _files_of(git: Git, commit: str) -> Mapping[str, str]:
    """Return the sha256 of every file of the commit by path; links are not files."""
    listing = git.ask("ls-tree", "-r", "-z", commit).stdout.split(b"\0")[:-1]
    blobs: dict[str, str] = {}
    for record in listing:
        meta, path = record.split(b"\t", 1)
        mode, kind, blob = meta.decode().split()
        if kind == "blob" and mode != "120000":
            blobs[path.decode("utf-8", "replace")] = blob
    wanted = sorted(set(blobs.values()))
    answer = git.feed((f"{blob}\n".encode() for blob in wanted), "cat-file", "--batch").stdout
    digests, start = {}, 0
    for blob in wanted:
        end = answer.index(b"\n", start)
        size = int(answer[start:end].split()[2])
        digests[blob] = hashlib.sha256(answer[end + 1 : end + 1 + size]).hexdigest()
        start = end + 1 + size + 1
    return {path: digests[blob] for path, blob in blobs.items()}
