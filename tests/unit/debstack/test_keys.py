"""Which keys a build takes from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import Keys, load
from debstack.process import Runner

ONE, TWO = "A" * 40, "B" * 40


def test_two_named_keys_and_their_passphrases(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("x")
    environ = {
        "GNUPGHOME": str(tmp_path),
        "DEBSTACK_PACKAGE_KEY": ONE.lower(),
        "DEBSTACK_REPO_KEY": TWO,
        "DEBSTACK_REPO_KEY_PASSPHRASE_FILE": str(secret),
    }
    assert load(tmp_path / "build", environ, Runner()) == Keys(
        Key(ONE, tmp_path, None, None, development=False),
        Key(TWO, tmp_path, None, secret, development=False),
    )


def test_home_is_that_of_gpg(tmp_path: Path) -> None:
    environ = {"HOME": "/home/x", "DEBSTACK_PACKAGE_KEY": ONE, "DEBSTACK_REPO_KEY": TWO}
    keys = load(tmp_path, environ, Runner())
    assert keys.package.home == Path("/home/x/.gnupg")
    assert not keys.development


@pytest.mark.parametrize(
    ("package", "repository", "message"),
    [
        (ONE, "", "DEBSTACK_REPO_KEY is not"),
        ("", TWO, "DEBSTACK_PACKAGE_KEY is not"),
        (ONE, ONE.lower(), "the same key"),
        (ONE[:-1], TWO, "40 hex digits"),
        (ONE, TWO + "0", "40 hex digits"),
        (ONE, "0x" + TWO, "40 hex digits"),
        ("ops@example.org", TWO, "40 hex digits"),
    ],
)
def test_wrong_settings(tmp_path: Path, package: str, repository: str, message: str) -> None:
    environ = {"HOME": "/x", "DEBSTACK_PACKAGE_KEY": package, "DEBSTACK_REPO_KEY": repository}
    with pytest.raises(SigningError, match=message) as caught:
        load(tmp_path, environ, Runner())
    assert caught.value.hint


def test_missing_passphrase_file(tmp_path: Path) -> None:
    environ = {
        "HOME": "/x",
        "DEBSTACK_PACKAGE_KEY": ONE,
        "DEBSTACK_REPO_KEY": TWO,
        "DEBSTACK_PACKAGE_KEY_PASSPHRASE_FILE": str(tmp_path / "none"),
    }
    with pytest.raises(SigningError, match="names no file"):
        load(tmp_path, environ, Runner())
