"""Whether the package key signed a package: what a stolen archive key alone cannot bring about.

The trusted keys are those that the keyring package installs for debsig-verify. The signature is
checked by gpgv over the members that dpkg will use, of which :mod:`tradingctl.deploy.layout` makes
sure that there are no others. gpgv's exit code is not believed: it is 0 for an expired key too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl.deploy.layout import SignedDeb, signed_deb
from tradingctl.deploy.openpgp import fingerprints
from tradingctl.errors import UntrustedError
from tradingctl.paths import Paths
from tradingctl.process import NOT_FOUND, Outcome, Runner

KEYRING = "traderunner-archive-keyring"
_JUDGEMENTS = ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG")
_BINARY = "00"
"""The class of a signature over bytes; one over text leaves the ends of lines open."""


@dataclass(frozen=True)
class PackageKeys:
    """The keys that may have signed a package: files of gpgv's, and whose they are."""

    files: tuple[Path, ...] = ()
    fingerprints: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return ", ".join(sorted(self.fingerprints)) or "none"


def installed_keys(paths: Paths) -> PackageKeys:
    """Return the keys that the installed keyring package trusts. Raises UntrustedError."""
    return keys_in(sorted(paths.package_keyrings.glob("*/traderunner.pgp")))


def keys_in(files: Iterable[Path]) -> PackageKeys:
    """Return the keys in some keyrings; raises UntrustedError if one cannot be read."""
    kept, found = [], set[str]()
    for file in files:
        try:
            found |= set(fingerprints(file.read_bytes()))
        except (OSError, ValueError) as error:
            raise UntrustedError(
                f"{file}: the keys of the packages cannot be read: {error}",
                f"dpkg -V {KEYRING}; then install it anew: dpkg -i {KEYRING}_VERSION_all.deb",
            ) from error
        kept.append(file)
    return PackageKeys(tuple(kept), frozenset(found))


def signer(runner: Runner, path: Path, keys: PackageKeys) -> str:
    """Return the fingerprint of the key, one of ``keys``, that signed the package file.

    Raises UntrustedError, saying what is wrong with it; OSError.
    """
    with signed_deb(path) as deb, tempfile.NamedTemporaryFile(prefix="tradingctl-") as file:
        file.write(deb.signature)
        file.flush()
        outcome = runner.feed(_command(keys, file.name), deb.signed())
        return _judge(deb, outcome, keys)


def _command(keys: PackageKeys, signature: str) -> list[str]:
    rings = [word for file in keys.files for word in ("--keyring", str(file.absolute()))]
    weak = ["--weak-digest", "SHA1", "--weak-digest", "RIPEMD160"]
    return ["gpgv", "--homedir", "/nonexistent", *weak, "--status-fd", "1", *rings, signature, "-"]


def _judge(deb: SignedDeb, outcome: Outcome, keys: PackageKeys) -> str:
    lines = [line.split()[1:] for line in outcome.output.splitlines() if _is_status(line)]
    said = {line[0]: line[1:] for line in lines if line}
    words = [line[0] for line in lines if line]
    if outcome.code == NOT_FOUND:
        raise UntrustedError(
            f"{deb.path} cannot be verified: gpgv is not installed", "apt-get install gpgv"
        )
    judged = [word for word in words if word in _JUDGEMENTS]
    if judged == ["ERRSIG"] and "NO_PUBKEY" in said:
        raise UntrustedError(
            f"{deb.path} is signed by the key {said['NO_PUBKEY'][0]}, and the packages of this"
            f" server have to be signed by {keys}"
        )
    valid = said.get("VALIDSIG", [])
    if (
        outcome.code != 0
        or judged != ["GOODSIG"]
        or words.count("NEWSIG") != 1
        or "PLAINTEXT" in words
        or not _is_plain(valid)
    ):
        verdict = ", ".join(judged) or outcome.said
        raise UntrustedError(f"{deb.path}: what is in it is not what was signed ({verdict})")
    if valid[-1] not in keys.fingerprints:
        raise UntrustedError(f"{deb.path} is signed by {valid[-1]} instead of {keys}")
    return valid[-1]


def _is_status(line: str) -> bool:
    return line.startswith("[GNUPG:] ")


def _is_plain(valid: Sequence[str]) -> bool:
    """Return whether a primary key itself signed bytes, as VALIDSIG's fields say."""
    return len(valid) == 10 and valid[8] == _BINARY and valid[0] == valid[9]
