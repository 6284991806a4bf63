"""The public keys that the keyring package ships, and what they do to its version."""

from __future__ import annotations

import hashlib
from pathlib import Path

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import Keys
from debstack.model.places import packaging_folder
from debstack.pipeline.packages import public_keys
from debstack.process import Runner


def public_halves(project: Path, keys: Keys, runner: Runner) -> dict[str, bytes]:
    """Return the binary public keys by role: ``repository`` and ``package``.

    They are those committed under packaging/keys, which may hold more than the keys that sign now;
    without such, those of the keys that sign. Raises SigningError if a committed file lacks the
    key that signs: servers would refuse everything.
    """
    halves = {}
    for role, key in (("repository", keys.repository), ("package", keys.package)):
        committed = packaging_folder(project) / "keys" / f"{role}.asc"
        halves[role] = (
            _committed(committed, key, runner) if public_keys(project) else _public(key, runner)
        )
    return halves


def version_mark(project: Path, keys: Keys) -> str:
    """Return what the keyring's version has to say of keys that the lock does not know.

    Nothing, where the keys are committed: the lock pins them.
    """
    if public_keys(project):
        return ""
    return f"~{'dev' if keys.development else 'key'}{key_digest(keys)[:8]}"


def key_digest(keys: Keys) -> str:
    """Return a digest of which keys sign."""
    both = f"{keys.package.fingerprint} {keys.repository.fingerprint}"
    return hashlib.sha256(both.encode()).hexdigest()


def _public(key: Key, runner: Runner) -> bytes:
    with gpg.signing([key], runner) as ring:
        return ring.public


def _committed(path: Path, key: Key, runner: Runner) -> bytes:
    if not path.is_file():
        raise SigningError(
            f"{path} is missing, though other keys are committed beside it",
            hint=f"gpg --armor --export {key.fingerprint} > {path}",
        )
    fingerprints, binary = gpg.read_public(path, runner)
    if key.fingerprint not in fingerprints:
        raise SigningError(
            f"{path} does not hold the key that signs, {key.fingerprint}",
            hint=f"gpg --armor --export {key.fingerprint} >> {path}; then: debstack lock",
            details=[f"it holds {each}" for each in fingerprints],
        )
    return binary
