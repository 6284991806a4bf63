"""Which public keys the keyring ships, and what they do to its version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import DEVELOPMENT, KEYS

from debstack.errors import SigningError
from debstack.pipeline.keyring import key_digest, public_halves, unmarked, version_mark
from debstack.process import Runner


def commit_keys(project: Path, *roles: str) -> None:
    folder = project / "packaging/keys"
    folder.mkdir(parents=True)
    for role in roles:
        (folder / f"{role}.asc").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")


def test_keys_that_the_lock_does_not_know_mark_the_version(tmp_path: Path) -> None:
    assert version_mark(tmp_path, DEVELOPMENT) == f"~dev{key_digest(DEVELOPMENT)[:8]}"
    assert version_mark(tmp_path, KEYS) == f"~key{key_digest(KEYS)[:8]}"
    commit_keys(tmp_path, "package", "repository")
    assert version_mark(tmp_path, KEYS) == ""


def test_a_mark_can_be_taken_from_the_version(tmp_path: Path) -> None:
    for keys in (DEVELOPMENT, KEYS):
        assert unmarked(f"2026.11.23.1{version_mark(tmp_path, keys)}~deb12") == "2026.11.23.1~deb12"
    assert unmarked("2026.11.23.1~deb12") == "2026.11.23.1~deb12"


def test_the_digest_tells_either_key_and_their_roles_apart() -> None:
    other = replace(KEYS, repository=replace(KEYS.repository, fingerprint="E" * 40))
    swapped = replace(KEYS, package=KEYS.repository, repository=KEYS.package)
    assert len({key_digest(each) for each in (KEYS, DEVELOPMENT, other, swapped)}) == 4


def test_one_committed_key_needs_the_other(tmp_path: Path) -> None:
    commit_keys(tmp_path, "package")
    with pytest.raises(SigningError, match=r"repository\.asc is missing") as caught:
        public_halves(tmp_path, KEYS, Runner())
    assert caught.value.hint.startswith(f"gpg --armor --export {KEYS.repository.fingerprint} > ")
