"""What lies beside a .deb in a release's folder: whether it is signed, and about this file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debstack import gpg
from debstack.accounting import lock_part, provenance, upload
from debstack.accounting.account import Account
from debstack.accounting.finding import Finding, failed, not_verified, verified
from debstack.digest import sha256_of
from debstack.errors import DebstackError, SigningError
from debstack.model.lock import parse_lock
from debstack.pipeline.attest import PROVENANCE, SIGNATURE
from debstack.process import Runner

_LARGEST = 1 << 26
_SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Beside:
    """The .deb that the files should be about, with what is known of it already."""

    deb: Path
    sha256: str
    unsigned: str
    signer: str
    account: Account

    def file(self, ending: str) -> Path | None:
        """Return the .changes or .buildinfo of the package, whatever architecture it names."""
        stem = f"{self.account.package}_{self.account.version.rpartition(':')[2]}_"
        found = [
            path for path in sorted(self.deb.parent.iterdir())
            if path.name.startswith(stem) and path.name.endswith(ending) and path.is_file()
        ]  # fmt: skip
        return found[0] if found else None


class _Wrong(Exception):  # noqa: N818  (the reason of a FAILED, never an error of the program)
    """A file says something else than the package."""


def check_beside(beside: Beside, keyring: Path | None, runner: Runner) -> Iterator[Finding]:
    """Yield a check for each file that goes with the package; a missing one is not verified.

    Without a ``keyring`` nothing is verified: what they say is compared all the same.
    """
    folder = beside.deb.parent
    statement = folder / f"{beside.deb.stem}{PROVENANCE}"
    every: tuple[tuple[str, Path | None, Callable[[bytes], str], bool], ...] = (
        ("provenance", statement, lambda text: _provenance(beside, text), False),
        ("changes", beside.file(".changes"), lambda text: _changes(beside, text), True),
        ("buildinfo", beside.file(".buildinfo"), lambda text: _buildinfo(beside, text), True),
        (_SUMS, folder / _SUMS, lambda text: _sums(beside, text), False),
    )
    for what, path, compare, clear in every:
        if path is None or not path.is_file():
            yield not_verified(what, "there is none beside the file")
        else:
            yield _check(what, path, compare, keyring, runner, clear=clear)
    yield from _release_lock(beside, folder / lock_part.FILE)


def _check(
    what: str,
    path: Path,
    compare: Callable[[bytes], str],
    keyring: Path | None,
    runner: Runner,
    *,
    clear: bool,
) -> Finding:
    """Verify the signature of ``path``, inside it if ``clear``, and compare what it says."""
    try:
        content = _read(path)
        signers: tuple[str, ...] = ()
        if clear:
            content, signers = _clear(content, keyring, runner)
        elif keyring:
            signature = _read(path.with_name(path.name + SIGNATURE))
            signers = gpg.verify(signature, [content], keyring, runner)
        said = compare(content)
    except SigningError as error:
        return failed(what, f"{path.name}: {error.message}")
    except (_Wrong, OSError) as error:
        return failed(what, f"{path.name}: {error}")
    except (DebstackError, AttributeError, KeyError, TypeError, ValueError, IndexError,
            RecursionError) as error:  # fmt: skip
        return failed(what, f"{path.name} is malformed: {error}")
    if not signers:
        return not_verified(what, f"{said}; there is no key to verify the signature with")
    return verified(what, f"{said}; signed by {', '.join(signers)}")


def _clear(message: bytes, keyring: Path | None, runner: Runner) -> tuple[bytes, tuple[str, ...]]:
    if keyring:
        return gpg.verify_clear(message, keyring, runner)
    # Unproven, so no more than a look at it.
    text = message.partition(b"\n\n")[2].partition(b"\n-----BEGIN PGP SIGNATURE-----")[0]
    return text + b"\n", ()


def _provenance(beside: Beside, content: bytes) -> str:
    document: Any = json.loads(content)
    predicate = document["predicate"]
    build, run = predicate["buildDefinition"], predicate["runDetails"]
    account = beside.account
    _same("statement", document["_type"], provenance.STATEMENT)
    _same("predicate", document["predicateType"], provenance.PREDICATE)
    _same("subject", document["subject"][0]["digest"]["sha256"], beside.sha256)
    _same("unsigned .deb", run["byproducts"][0]["digest"]["sha256"], beside.unsigned)
    parameters = build["externalParameters"]
    _same("package", parameters["package"], account.package)
    _same("version", parameters["version"], account.version)
    builder = run["builder"]["id"]
    if beside.signer:
        _same("builder", builder, f"{provenance.BUILDER}{beside.signer}")
    materials = build["resolvedDependencies"]
    _same("lock", materials[0]["digest"]["sha256"], account.lock_sha256)
    commits = [each["digest"]["gitCommit"] for each in materials if "gitCommit" in each["digest"]]
    _same("commit", commits, [account.commit] if account.commit else [])
    locks = [account.requirements, account.build_requirements]
    wheels = sorted(wheel.sha256 for lock in locks if lock for wheel in lock.wheels)
    stated = [each["digest"]["sha256"] for each in materials[1:] if "sha256" in each["digest"]]
    _same("wheels", sorted(stated), wheels)
    made_of = (
        f"commit, {len(wheels)} wheels, lock and digest" if account.commit else "lock and digest"
    )
    return f"{made_of} are those of this file, built by {builder}"


def _changes(beside: Beside, content: bytes) -> str:
    text = content.decode("utf-8")
    listed = {name: (digest, size) for digest, size, name in
              upload.listed_files(text, "Checksums-Sha256")}  # fmt: skip
    size = beside.deb.stat().st_size
    if not any(found == (beside.sha256, size) for found in listed.values()):
        raise _Wrong("it does not list this file")
    for name, (digest, _) in listed.items():
        if name.endswith(".buildinfo"):
            path = beside.deb.parent / Path(name).name
            if path.is_file():
                _same(name, sha256_of(path), digest)
    return "it lists this file and its .buildinfo"


def _buildinfo(beside: Beside, content: bytes) -> str:
    digests = [each[0] for each in upload.listed_files(content.decode(), "Checksums-Sha256")]
    _same("unsigned .deb", digests, [beside.unsigned])
    return "it is about this file before it was signed"


def _sums(beside: Beside, content: bytes) -> str:
    lines = [line.split("  ", 1) for line in content.decode("utf-8").splitlines()]
    listed = {name: digest for digest, name in lines}
    if beside.deb.name not in listed:
        raise _Wrong(f"it does not name {beside.deb.name}")
    _same(beside.deb.name, beside.sha256, listed[beside.deb.name])
    return "it names this file with its digest"


def _release_lock(beside: Beside, path: Path) -> Iterator[Finding]:
    """Compare the lock that the package carries with that of the release beside it."""
    account = beside.account
    if not path.is_file() or account.lock is None or account.locked is None:
        yield not_verified("release", "there is no lock of a release beside the file")
        return
    try:
        release = parse_lock(_read(path).decode("utf-8"), path.name)
        package = release.packages.get(account.package)
        if package is None or package.changed_in != account.locked.changed_in:
            raise _Wrong(f"release {release.release} has another version of {account.package}")
        part = release
        if account.target and account.lock != release:
            part = lock_part.part_of_lock(release, account.package, account.target)
        if part != account.lock:
            raise _Wrong("the lock in the package is not the part of it that is about the package")
    except (DebstackError, _Wrong, ValueError, OSError) as error:
        yield failed("release", f"{path.name}: {error}")
        return
    yield verified("release", f"the lock in the package is that of release {release.release}")


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise _Wrong(f"its {what} is another: {found}, expected {expected}")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _Wrong("it is too large")
    return content
