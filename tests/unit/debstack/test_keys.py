"""Which keys a build takes from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import Keys, load
from debstack.model.signers import Role, Signers
from debstack.process import Runner

ONE, TWO, THREE, FOUR = "A" * 40, "B" * 40, "C" * 40, "D" * 40


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


def roles(**changed: Role) -> Signers:
    """Return roles of a project whose package and repository keys are settled."""
    settled = {"package": Role((ONE,), (ONE,)), "repository": Role((TWO,), (TWO,))}
    return Signers({**settled, **changed})


def test_the_project_names_the_keys_of_each_channel(tmp_path: Path) -> None:
    prod = Role((THREE, FOUR), (THREE, FOUR))
    keys = load(tmp_path, {"GNUPGHOME": "/g"}, Runner(), roles(prod=prod))
    assert (keys.package.fingerprint, keys.repository.fingerprint) == (ONE, TWO)
    assert [key.fingerprint for key in keys.signers("staging")] == [TWO]
    assert [key.fingerprint for key in keys.signers("prod")] == [THREE, FOUR]
    assert {key.home for key in keys.signers("prod")} == {Path("/g")}
    assert not keys.development


def test_all_servers_know_the_key_of_the_keyring_package(tmp_path: Path) -> None:
    package = Role((THREE,), (ONE, THREE))
    keys = load(tmp_path, {"HOME": "/x"}, Runner(), roles(package=package))
    assert keys.of_package(keyring=False).fingerprint == THREE
    assert keys.of_package(keyring=True).fingerprint == ONE


def test_the_environment_may_only_agree_with_the_project(tmp_path: Path) -> None:
    environ = {"HOME": "/x", "DEBSTACK_PACKAGE_KEY": ONE, "DEBSTACK_REPO_KEY": TWO}
    assert load(tmp_path, environ, Runner(), roles()).package.fingerprint == ONE
    environ["DEBSTACK_REPO_KEY"] = THREE
    with pytest.raises(SigningError, match="names another key than packaging/keys") as raised:
        load(tmp_path, environ, Runner(), roles())
    assert raised.value.hint == "unset DEBSTACK_REPO_KEY"


@pytest.mark.parametrize("role", ["package", "repository"])
def test_a_project_names_both_keys(tmp_path: Path, role: str) -> None:
    other = {name: each for name, each in roles().roles.items() if name != role}
    with pytest.raises(SigningError, match=f"names no {role} key") as raised:
        load(tmp_path, {"HOME": "/x"}, Runner(), Signers(other))
    assert raised.value.hint == f"debstack key new {role}"


def test_each_key_may_have_a_passphrase_of_its_own(tmp_path: Path) -> None:
    (tmp_path / THREE).write_text("x")
    (tmp_path / "all").write_text("y")
    environ = {
        "HOME": "/x",
        "DEBSTACK_PASSPHRASES": str(tmp_path),
        "DEBSTACK_REPO_KEY_PASSPHRASE_FILE": str(tmp_path / "all"),
    }
    both = Role((TWO, THREE), (TWO, THREE))
    keys = load(tmp_path, environ, Runner(), roles(repository=both))
    assert [key.passphrase_file for key in keys.signers("staging")] == [
        tmp_path / "all", tmp_path / THREE]  # fmt: skip
    assert keys.package.passphrase_file is None


def test_without_roles_all_channels_have_one_key(tmp_path: Path) -> None:
    environ = {"HOME": "/x", "DEBSTACK_PACKAGE_KEY": ONE, "DEBSTACK_REPO_KEY": TWO}
    keys = load(tmp_path, environ, Runner(), Signers())
    assert keys.signers("prod") == (keys.repository,)
    assert keys.of_package(keyring=True) == keys.package
