"""``debstack inspect``: what a .deb says of itself, and what of that is true.

The file may be anybody's. Nothing in it is looked at before its layout is the one that dpkg-deb
writes, and everything that it says is compared with something else.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack import gpg
from debstack.accounting import checks
from debstack.accounting.account import Account, read_account
from debstack.accounting.contents import Contents, read_contents
from debstack.accounting.finding import Finding, failed, not_verified, verified
from debstack.digest import sha256_of
from debstack.errors import DebstackError, SigningError
from debstack.pipeline.inspect_beside import Beside, check_beside
from debstack.pipeline.inspect_source import about_byte_code, check_source
from debstack.process import Runner
from debstack.steps import sign

# What code that reads another's JSON, CSV or ZIP may raise.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError, csv.Error,
              zipfile.BadZipFile, NotImplementedError)  # fmt: skip


@dataclass(frozen=True)
class Trusted:
    """The keys that may have signed: a binary ``keyring``, and what to call it in a report."""

    keyring: Path
    name: str


@dataclass(frozen=True)
class Inspection:
    """A .deb: its digest, size in bytes, what it says of itself, and each check that was made.

    ``account`` is None for a file that is no .deb. ``signer`` is the fingerprint of the key that
    signed it, or that it names without proof; ``unsigned`` the sha256 before it was signed.
    """

    deb: Path
    sha256: str
    size: int
    unsigned: str
    signer: str
    account: Account | None
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> list[Finding]:
        """The checks that found something wrong."""
        return [each for each in self.findings if each.state == "FAILED"]

    @property
    def signature_verified(self) -> bool:
        """Whether a trusted key is known to have signed the file."""
        return any(each.what == "signature" and each.state == "verified" for each in self.findings)


def inspect(deb: Path, trusted: Trusted | None, cache: Path, runner: Runner) -> Inspection:
    """Return what ``deb`` says and what of it is true; files beside it are looked at as well.

    ``cache`` is debstack's cache: what happens to be in it, wheels and the mirror of the commit, is
    compared. Raises OSError.
    """
    sha256, size = sha256_of(deb), deb.stat().st_size
    try:
        layout, unsigned = sign.read_layout(deb), sign.payload_digest(deb)
    except SigningError as error:
        finding = failed("layout", error.message)
        return Inspection(deb, sha256, size, "", "", None, (finding,))
    findings = [verified("layout", "the members are those that dpkg-deb writes, and no others")]
    signer, signature = _signature(deb, layout, trusted, runner)
    findings.append(signature)
    try:
        contents = _contents(deb, runner)
        account = read_account(contents)
    except (DebstackError, *_MALFORMED) as error:
        findings.append(failed("contents", f"they cannot be read: {error}"))
        return Inspection(deb, sha256, size, unsigned, signer, None, tuple(findings))
    findings += _checks(account, contents, cache, runner)
    beside = Beside(deb, sha256, unsigned, signer, account)
    keyring = trusted.keyring if trusted else None
    findings += check_beside(beside, keyring, runner)
    return Inspection(deb, sha256, size, unsigned, signer, account, tuple(findings))


@contextmanager
def keyring_of(files: list[Path], name: str, runner: Runner) -> Iterator[Trusted]:
    """Give the public keys in ``files``, armored or binary, as one keyring. Raises SigningError."""
    with tempfile.TemporaryDirectory(prefix="debstack-keyring-") as folder:
        keyring = Path(folder) / "trusted.gpg"
        halves = [half for file in files for half in gpg.read_public(file, runner).values()]
        keyring.write_bytes(b"".join(halves))
        yield Trusted(keyring, name)


def _contents(deb: Path, runner: Runner) -> Contents:
    control, data = (
        ["dpkg-deb", option, str(deb)] for option in ("--ctrl-tarfile", "--fsys-tarfile")
    )
    with runner.stream(control) as of_control, runner.stream(data) as of_data:
        return read_contents(of_control, of_data)


def _signature(
    deb: Path, layout: sign.Layout, trusted: Trusted | None, runner: Runner
) -> tuple[str, Finding]:
    """Return who signed, as far as that is known, and the check of it."""
    if layout.signature is None:
        return "", failed("signature", "it is not signed")
    if trusted is None:
        with tempfile.NamedTemporaryFile() as nobody:
            named = _named_signer(deb, Path(nobody.name), runner)
        reason = f"there is no key to compare with; it names {named or 'no key'}"
        return named, not_verified("signature", reason)
    try:
        signer = sign.verify(deb, trusted.keyring, runner)
    except SigningError as error:
        return "", failed("signature", f"{error.message}; trusted is {trusted.name}")
    return signer, verified("signature", f"{signer}, of {trusted.name}")


def _named_signer(deb: Path, nobody: Path, runner: Runner) -> str:
    """Return the fingerprint that a signature names, which proves nothing."""
    layout = sign.read_layout(deb)
    if layout.signature is None:
        return ""
    with deb.open("rb") as file, tempfile.NamedTemporaryFile(suffix=".sig") as signature:
        file.seek(layout.signature.start)
        signature.write(file.read(min(layout.signature.size, 1 << 16)))
        signature.flush()
        command = ["gpgv", "--status-fd", "2", "--keyring", str(nobody), signature.name, "-"]
        status = runner.feed(command, [b""], check=False).stderr.decode("utf-8", "replace")
    for line in status.splitlines():
        words = line.split()
        if words[:2] == ["[GNUPG:]", "ERRSIG"] and len(words) > 8:
            return words[8]
    return ""


def _checks(account: Account, contents: Contents, cache: Path, runner: Runner) -> Iterator[Finding]:
    """Yield every check of the package against itself, its commit and its wheels."""
    every: tuple[tuple[str, Callable[[], Finding | None]], ...] = (
        ("files", lambda: checks.check_md5sums(contents)),
        ("lock", lambda: checks.check_lock(account, contents)),
        ("SBOM", lambda: checks.check_sbom(account, contents)),
        ("licences", lambda: checks.check_licences(contents)),
        ("installed", lambda: checks.check_records(contents)),
        ("source", lambda: check_source(account, contents, cache, runner)),
        ("wheels", lambda: checks.check_wheels(account, contents, cache / "wheels")),
        ("byte code", lambda: about_byte_code(contents)),
    )
    for what, check in every:
        try:
            finding = check()
        except _MALFORMED as error:
            finding = failed(what, f"something in it is malformed: {error}")
        if finding:
            yield finding
