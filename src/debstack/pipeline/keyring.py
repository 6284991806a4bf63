"""The public keys that the keyring package ships, and what they do to its version."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import Keys
from debstack.model.signers import (
    PACKAGE,
    REPOSITORY,
    SIGNERS_FILE,
    public_key_path,
    read_signers,
)
from debstack.pipeline.packages import public_keys
from debstack.process import Runner

_MARK = re.compile("~(dev|key)[0-9a-f]{8}(?=~)")


def public_halves(project: Path, keys: Keys, runner: Runner) -> dict[str, bytes]:
    """Return the binary public keys by role: ``repository``, ``package``, channels of their own.

    Raises as ``trusted_keys`` does.
    """
    trusted = trusted_keys(project, keys, runner)
    return {role: b"".join(halves.values()) for role, halves in trusted.items()}


def trusted_keys(project: Path, keys: Keys, runner: Runner) -> dict[str, dict[str, bytes]]:
    """Return the public keys that servers are to trust: by role, then by fingerprint.

    They are those committed under packaging/keys, which may hold more than the keys that sign now;
    without such, those of the keys that sign. Raises SigningError if a committed file lacks a key
    that signs, or is not what keys.toml says: servers would refuse everything.
    """
    signing = {REPOSITORY: [keys.repository], PACKAGE: [keys.package], **keys.channels}
    if not public_keys(project):
        return {role: _public(each, runner) for role, each in signing.items()}
    roles = read_signers(project).roles
    found = {}
    for role, signers in signing.items():
        committed = _committed(public_key_path(project, role), signers, runner)
        if role in roles and set(committed) != set(roles[role].trust):
            raise SigningError(
                f"{public_key_path(project, role)} does not hold the keys that {SIGNERS_FILE} names"
                f" for {role}",
                hint="restore both with git, or repeat the last step of debstack key rotate",
                details=[f"it holds {each}" for each in committed],
            )
        found[role] = committed
    return found


def version_mark(project: Path, keys: Keys) -> str:
    """Return what the keyring's version has to say of keys that the lock does not know.

    Nothing, where the keys are committed: the lock pins them.
    """
    if public_keys(project):
        return ""
    return f"~{'dev' if keys.development else 'key'}{key_digest(keys)[:8]}"


def unmarked(version: str) -> str:
    """Return the version of a keyring as the lock has it, without what ``version_mark`` says."""
    return _MARK.sub("", version)


def key_digest(keys: Keys) -> str:
    """Return a digest of which keys sign."""
    both = f"{keys.package.fingerprint} {keys.repository.fingerprint}"
    return hashlib.sha256(both.encode()).hexdigest()


def _public(keys: Sequence[Key], runner: Runner) -> dict[str, bytes]:
    with gpg.signing(keys, runner) as ring:
        return {each.key.fingerprint: each.public for each in ring.ready}


def _committed(path: Path, keys: Sequence[Key], runner: Runner) -> dict[str, bytes]:
    first = keys[0].fingerprint
    if not path.is_file():
        raise SigningError(
            f"{path} is missing, though other keys are committed beside it",
            hint=f"gpg --armor --export {first} > {path}",
        )
    found = gpg.read_public(path, runner)
    for key in keys:
        if key.fingerprint not in found:
            raise SigningError(
                f"{path} does not hold the key that signs, {key.fingerprint}",
                hint=f"gpg --armor --export {key.fingerprint} >> {path}; then: debstack lock",
                details=[f"it holds {each}" for each in found],
            )
    return found
