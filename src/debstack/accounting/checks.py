"""Whether the account that a package gives of itself is true of what is in the package."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from debstack.accounting import copyright as licences
from debstack.accounting import lock_part, sbom
from debstack.accounting.account import Account, Distribution, distribution, installed
from debstack.accounting.bundled import LicenceFile, is_licence_file
from debstack.accounting.contents import DOC, Contents
from debstack.accounting.finding import Finding, judged, not_verified
from debstack.digest import sha256_of
from debstack.model.requirements import LockedWheel

_MD5_LINE = re.compile(r"([0-9a-f]{32})  (.+)")
_DATA = re.compile(r"[^/]+\.data/")


def check_md5sums(contents: Contents) -> Finding:
    """Compare every file with the list that dpkg keeps on the server."""
    listed: dict[str, str] = {}
    mistakes = []
    for line in contents.md5sums.splitlines():
        match = _MD5_LINE.fullmatch(line)
        if match is None or match[2] in listed:
            mistakes.append(f"a line of md5sums is wrong: {line!r}")
        else:
            listed[match[2]] = match[1]
    conffiles = {line.removeprefix("/") for line in contents.conffiles.split("\n")}
    for path in sorted(contents.files.keys() | listed.keys()):
        if path not in contents.files:
            mistakes.append(f"{path} is in md5sums and not in the package")
        elif path in listed and listed[path] != contents.files[path].md5:
            mistakes.append(f"{path} is not the file that md5sums names")
        elif path not in listed and path not in conffiles:
            mistakes.append(f"{path} is not in md5sums")
    return judged("files", mistakes, f"{len(contents.files)} files are those of md5sums")


def check_lock(account: Account, contents: Contents) -> Finding:
    """Compare package, version, commit and dependency locks with the lock in the package."""
    mistakes = [each for each in account.mistakes if not each.startswith(sbom.FILE)]
    lock, locked, component = account.lock, account.locked, account.component
    if lock and locked is None:
        mistakes.append(f"its lock has no package {account.package}")
    if locked:
        code = f"+g{account.commit[:7]}-1~" if account.commit else "~"
        if not account.version.startswith(f"{locked.changed_in}{code}"):
            mistakes.append(f"the version {account.version} is not {locked.changed_in}{code}…")
    if lock and account.commit and (component is None or component.commit != account.commit):
        of_lock = component.commit if component else "none"
        mistakes.append(f"the commit is {account.commit}, that of the lock is {of_lock}")
    if component and account.target:
        for name, digests in (
            (lock_part.REQUIREMENTS, component.requirements),
            (lock_part.BUILD_REQUIREMENTS, component.build_requirements),
        ):
            content = contents.doc(name)
            found = hashlib.sha256(content).hexdigest() if content is not None else None
            if digests.get(account.target) != found:
                mistakes.append(f"{name} is not the one that the lock names")
    what = (
        f"version, commit {account.commit[:12]} and dependencies" if account.commit else "version"
    )
    return judged("lock", mistakes, f"the {what}: as in the lock in the package")


def check_sbom(account: Account, contents: Contents) -> Finding:
    """Compare the SBOM with the package, with its lock, and with what is installed in it."""
    mistakes = [each for each in account.mistakes if each.startswith(sbom.FILE)]
    if mistakes:
        return judged("SBOM", mistakes, "")
    metadata = account.document.get("metadata")
    about = metadata.get("component") if isinstance(metadata, dict) else None
    about = about if isinstance(about, dict) else {}
    if (about.get("name"), about.get("version")) != (account.package, account.version):
        mistakes.append(f"it is about {about.get('name')} {about.get('version')}")
    if account.commit and account.commit not in str(about.get("pedigree")):
        mistakes.append("it names another commit")
    hashes, there = account.sbom_hashes(), installed(contents)
    mistakes += [
        f"{_named(each)} is installed and not in it" for each in there if each not in hashes
    ]
    mistakes += [
        f"{_named(each)} is in it and not installed" for each in hashes if each not in there
    ]
    locked = _locked(account)
    for each in sorted(locked.keys() | hashes.keys()):
        if each in locked and hashes.get(each) != locked[each].sha256:
            mistakes.append(f"{_named(each)} does not have the hash of the lock in it")
        elif each not in locked and hashes[each]:
            mistakes.append(f"{_named(each)} has a hash in it and is not in the lock")
    count = len(hashes)
    detail = f"{count} distributions, each installed, with the hashes of the lock"
    return judged("SBOM", mistakes, detail if count else "it is about this package")


def check_licences(contents: Contents) -> Finding | None:
    """Look for every licence file of the wheels, and its text, in the copyright file."""
    found = [
        LicenceFile(inside, text)
        for path, text in contents.texts.items()
        if (inside := contents.inside(path)) and is_licence_file(inside)
    ]
    if not contents.site_packages:
        return None
    copyright_file = (contents.doc("copyright") or b"").decode("utf-8", "replace")
    lines = set(copyright_file.split("\n"))
    mistakes = [
        f"copyright does not name {each.path}"
        for each in found
        if f" {licences.references([each])[0]}" not in lines
    ]
    mistakes += [
        f"copyright does not have the text {text.name}"
        for text in licences.texts(found)
        if f"\nLicense: {text.name}\n{text.body}\n" not in f"{copyright_file}\n"
    ]
    return judged("licences", mistakes, f"{len(found)} licence files are in {DOC}/…/copyright")


def check_records(contents: Contents) -> Finding | None:
    """Compare the installed files with what the distributions' RECORDs list, and the reverse."""
    if not contents.site_packages:
        return None
    mistakes, listed = [], set()
    for path, text in contents.texts.items():
        folder, _, name = contents.inside(path).partition("/")
        if name != "RECORD":
            continue
        for row in csv.reader(io.StringIO(text.decode("utf-8", "replace"), newline="")):
            if len(row) != 3:
                mistakes.append(f"a line of {folder}/RECORD is wrong")
                continue
            file = posixpath.normpath(f"{contents.site_packages}/{row[0]}")
            listed.add(file)
            if file != path and not _is_recorded(contents, file, row[1]):
                mistakes.append(f"{file} is not the file that {folder}/RECORD names")
    mistakes += [
        f"{file} is in no distribution's RECORD"
        for file in contents.files
        if contents.inside(file) and file not in listed and not file.endswith(".pyc")
    ]
    return judged("installed", mistakes, f"{len(listed)} files are those of the RECORDs")


def check_wheels(account: Account, contents: Contents, cache: Path) -> Finding | None:
    """Compare the installed files with those in the wheels themselves, where these are at hand.

    ``cache`` is a folder with a folder for each sha256.
    """
    locked = _locked(account)
    if not locked:
        return None
    missing, mistakes, compared = [], [], 0
    for each, wheel in sorted(locked.items()):
        file = cache / wheel.sha256 / wheel.filename
        if not file.is_file() or sha256_of(file) != wheel.sha256:
            missing.append(_named(each))
            continue
        for name, sha256 in _files_of(file):
            compared += 1
            path = f"{contents.site_packages}/{name}"
            if path not in contents.files:
                mistakes.append(f"{path} of {wheel.filename} is not in the package")
            elif contents.files[path].sha256 != sha256:
                mistakes.append(f"{path} is not the file in {wheel.filename}")
    if missing and not mistakes:
        return not_verified(
            "wheels", f"{len(missing)} of {len(locked)} are not at hand ({missing[0]}, …)"
        )
    return judged("wheels", mistakes, f"{compared} files are those in {len(locked)} locked wheels")


def _is_recorded(contents: Contents, file: str, recorded: str) -> bool:
    algorithm, _, digest = recorded.partition("=")
    if file not in contents.files or algorithm != "sha256":
        return False
    try:
        expected = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    except (binascii.Error, ValueError):
        return False
    return contents.files[file].sha256 == expected


def _files_of(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield name and sha256 of each file that a wheel has installed as it is."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            # Scripts and data are put elsewhere, and RECORD lists the files of the installer too.
            if info.is_dir() or _DATA.match(info.filename):
                continue
            if re.fullmatch(r"[^/]+\.dist-info/RECORD", info.filename):
                continue
            with archive.open(info) as file:
                yield info.filename, hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _locked(account: Account) -> dict[Distribution, LockedWheel]:
    wheels = account.requirements.wheels if account.requirements else ()
    return {distribution(each.name, each.version): each for each in wheels}


def _named(one: Distribution) -> str:
    return " ".join(one)
