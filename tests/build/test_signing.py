"""Keys and signatures with the real gpg, gpgv, dpkg-deb and debsig-verify."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import Keys, load
from debstack.process import SYSTEM_PATH, Runner, base_environment
from debstack.steps.sign import checksums, payload_digest, sign, verify

pytestmark = pytest.mark.build
RUNNER = Runner()
for _program in ("gpg", "gpgv", "dpkg-deb", "ar"):
    if shutil.which(_program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return load(tmp_path_factory.mktemp("build"), {}, RUNNER)


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a user's GnuPG home with keys that have a passphrase: "secret"."""
    with gpg.throwaway_home(RUNNER) as path:
        yield path


def make_deb(folder: Path, compression: str = "zstd", version: str = "1.0") -> Path:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: hello\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Example <ops@example.org>\nDescription: example\n"
    )
    (tree / "hello.txt").write_text("hello\n")
    deb = folder / f"hello_{version}_{compression}.deb"
    environment = base_environment() | {"SOURCE_DATE_EPOCH": "1700000000"}
    command: list[str | Path] = [
        "dpkg-deb",
        "--root-owner-group",
        f"-Z{compression}",
        "--build",
        tree,
        deb,
    ]
    RUNNER.capture(command, env=environment)
    return deb


def keyring(folder: Path, *keys: Key) -> Path:
    path = folder / "keyring.gpg"
    with gpg.signing(keys, RUNNER) as ring:
        path.write_bytes(ring.public)
    return path


def user_key(
    home: Path,
    *,
    passphrase: str = "",
    expiry: str = "never",
    name: str = "Ops <ops@example.org>",
) -> str:
    command: list[str | Path] = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--status-fd",
        "1",
        "--pinentry-mode",
        "loopback",
    ]
    command += ["--passphrase", passphrase, "--quick-gen-key", name]
    made = RUNNER.capture([*command, "ed25519", "sign", expiry]).text
    return next(line.split()[3] for line in made.splitlines() if "KEY_CREATED" in line)


def past_key(home: Path, expiry: str) -> str:
    """Make a key of the year 2020: gpg's own clock is moved, nobody waits."""
    command: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--status-fd", "1"]
    command += ["--faked-system-time", "20200101T000000", "--passphrase", ""]
    command += ["--quick-gen-key", "Old <old@example.org>", "ed25519", "sign", expiry]
    made = RUNNER.capture(command).text
    return next(line.split()[3] for line in made.splitlines() if "KEY_CREATED" in line)


@pytest.mark.parametrize("compression", ["zstd", "xz", "gzip", "none"])
def test_signed_package_verifies_and_keeps_its_content(
    tmp_path: Path, keys: Keys, compression: str
) -> None:
    deb, signed = make_deb(tmp_path, compression), tmp_path / "signed.deb"
    sign(deb, signed, keys.package, RUNNER)
    trusted = keyring(tmp_path, keys.package)
    assert verify(signed, trusted, RUNNER) == keys.package.fingerprint
    assert signed.read_bytes().startswith(deb.read_bytes())
    assert payload_digest(signed) == payload_digest(deb)
    listing = RUNNER.capture(["ar", "t", signed]).text.split()
    assert listing[0] == "debian-binary"
    assert listing[3:] == ["_gpgorigin"]
    assert RUNNER.capture(["dpkg-deb", "--field", signed, "Package"]).text == "hello\n"


def test_signing_again_gives_the_same_file(tmp_path: Path, keys: Keys) -> None:
    deb, once, twice = make_deb(tmp_path), tmp_path / "once.deb", tmp_path / "twice.deb"
    sign(deb, once, keys.package, RUNNER)
    sign(once, twice, keys.package, RUNNER)
    assert once.read_bytes() == twice.read_bytes()
    sign(once, once, keys.repository, RUNNER)
    trusted = keyring(tmp_path, keys.repository)
    assert verify(once, trusted, RUNNER) == keys.repository.fingerprint


def test_signature_claims_the_time_of_the_build(tmp_path: Path, home: Path) -> None:
    old = Key(past_key(home, "never"), home, None, None, development=False)
    signed = tmp_path / "signed.deb"
    sign(make_deb(tmp_path), signed, old, RUNNER)
    RUNNER.capture(["ar", "x", signed, "_gpgorigin"], cwd=tmp_path)
    packets = RUNNER.capture(["gpg", "--list-packets", tmp_path / "_gpgorigin"]).text
    assert "created 1700000000" in packets


def test_unsigned_foreign_and_changed_packages_are_refused(tmp_path: Path, keys: Keys) -> None:
    deb, signed = make_deb(tmp_path), tmp_path / "signed.deb"
    sign(deb, signed, keys.package, RUNNER)
    trusted = keyring(tmp_path, keys.package)
    with pytest.raises(SigningError, match="is not signed"):
        verify(deb, trusted, RUNNER)
    with pytest.raises(SigningError, match="does not verify"):
        verify(signed, keyring(tmp_path / "..", keys.repository), RUNNER)
    content = bytearray(signed.read_bytes())
    content[deb.stat().st_size - 3] ^= 1
    signed.write_bytes(content)
    with pytest.raises(SigningError, match="BADSIG"):
        verify(signed, trusted, RUNNER)


def test_repacked_package_with_the_old_signature_is_refused(tmp_path: Path, keys: Keys) -> None:
    deb, signed = make_deb(tmp_path), tmp_path / "signed.deb"
    sign(deb, signed, keys.package, RUNNER)
    repacked = make_deb(tmp_path, version="2.0")
    repacked.write_bytes(repacked.read_bytes() + signed.read_bytes()[deb.stat().st_size :])
    with pytest.raises(SigningError, match="BADSIG"):
        verify(repacked, keyring(tmp_path, keys.package), RUNNER)


def confuse(folder: Path, good: Path, evil: Path) -> Path:
    """Put the control member of ``evil`` in front of that of ``good``, whose signature stays."""
    for deb in (good, evil):
        (folder / deb.stem).mkdir()
        RUNNER.capture(["ar", "x", deb], cwd=folder / deb.stem)
    parts = [folder / good.stem / "debian-binary", folder / evil.stem / "control.tar.zst"]
    parts += [folder / good.stem / name for name in ("data.tar.xz", "control.tar.xz", "_gpgorigin")]
    mixed = folder / "mixed.deb"
    RUNNER.capture(["ar", "rcD", mixed, *parts])
    # As dpkg-deb writes them, without the slash that ar ends names with.
    mixed.write_bytes(mixed.read_bytes().replace(b"/ ", b"  "))
    return mixed


def test_a_second_control_member_is_refused(tmp_path: Path, keys: Keys) -> None:
    good = tmp_path / "good.deb"
    sign(make_deb(tmp_path, "xz"), good, keys.package, RUNNER)
    mixed = confuse(tmp_path, good, make_deb(tmp_path, "zstd", "6.6"))
    assert RUNNER.capture(["dpkg-deb", "--field", mixed, "Version"]).text == "6.6\n"
    with pytest.raises(SigningError, match="layout"):
        verify(mixed, keyring(tmp_path, keys.package), RUNNER)


POLICY = """<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="example" id="{id}" Description="Example"/>
  <Selection><Required Type="origin" File="origin.gpg" id="{id}"/></Selection>
  <Verification MinOptional="0"><Required Type="origin" File="origin.gpg" id="{id}"/></Verification>
</Policy>
"""


def test_debsig_verify_accepts_the_signature(tmp_path: Path, keys: Keys) -> None:
    if shutil.which("debsig-verify", path=SYSTEM_PATH) is None:
        pytest.skip("debsig-verify is not installed")
    identity = keys.package.fingerprint[-16:]
    policies, keyrings = tmp_path / "policies", tmp_path / "keyrings"
    for folder in (policies, keyrings):
        (folder / identity).mkdir(parents=True)
    (policies / identity / "origin.pol").write_text(POLICY.format(id=identity))
    keyring(tmp_path, keys.package).rename(keyrings / identity / "origin.gpg")
    command: list[str | Path] = [
        "debsig-verify",
        "--policies-dir",
        policies,
        "--keyrings-dir",
        keyrings,
    ]
    deb, signed = make_deb(tmp_path), tmp_path / "signed.deb"
    sign(deb, signed, keys.package, RUNNER)
    assert "Verified package from 'Example'" in RUNNER.capture([*command, signed]).text
    assert RUNNER.capture([*command, deb], check=False).returncode != 0
    foreign = tmp_path / "foreign.deb"
    sign(deb, foreign, keys.repository, RUNNER)
    assert RUNNER.capture([*command, foreign], check=False).returncode != 0


def test_a_failed_signature_leaves_the_destination_alone(tmp_path: Path, home: Path) -> None:
    deb, destination = make_deb(tmp_path), tmp_path / "out.deb"
    destination.write_bytes(b"before")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SigningError, match="no key"):
        sign(deb, destination, Key("A" * 40, home, None, None, development=False), RUNNER)
    assert destination.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == before


def test_checksums_are_signed(tmp_path: Path, keys: Keys) -> None:
    deb = make_deb(tmp_path)
    checksums(tmp_path, [deb], keys.package, RUNNER)
    RUNNER.capture(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path)
    signature, sums = (tmp_path / name for name in ("SHA256SUMS.asc", "SHA256SUMS"))
    trusted = keyring(tmp_path, keys.package)
    RUNNER.capture(["gpgv", "--keyring", trusted, signature, sums])
    sums.write_text(sums.read_text().replace("hello", "other"))
    result = RUNNER.capture(["gpgv", "--keyring", trusted, signature, sums], check=False)
    assert result.returncode != 0


def test_the_words_of_a_user_id_are_no_key(tmp_path: Path, home: Path) -> None:
    fingerprint = user_key(home, name="Acme pub\u2028pub: signing <pub@example.org>")
    file = tmp_path / "key.asc"
    file.write_bytes(gpg.armor(gpg.export_public(fingerprint, home, RUNNER), "PUBLIC KEY BLOCK"))
    assert list(gpg.read_public(file, RUNNER)) == [fingerprint]


def test_two_keys_sign_one_text(tmp_path: Path, keys: Keys, home: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("secret\n")
    own = Key(user_key(home, passphrase="secret"), home, None, file, development=False)
    with gpg.signing([keys.repository, own], RUNNER) as ring:
        text = b"Origin: example\n- dash\nlast: line\n"
        message, detached = ring.clear(text), ring.armored(text)
        armored = gpg.armor(ring.public, "PUBLIC KEY BLOCK")
    expected = {keys.repository.fingerprint, own.fingerprint}
    trusted = keyring(tmp_path, keys.repository, own)
    signed, signers = gpg.verify_clear(message, trusted, RUNNER)
    assert (signed, set(signers)) == (text, expected)
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "text.asc").write_bytes(detached)
    RUNNER.capture(["gpgv", "--keyring", trusted, tmp_path / "text.asc", tmp_path / "text"])
    (tmp_path / "public.asc").write_bytes(armored)
    shown = RUNNER.capture(["gpg", "--show-keys", "--with-colons", tmp_path / "public.asc"]).text
    assert {line.split(":")[9] for line in shown.splitlines() if line[:4] == "fpr:"} == expected


def attempt(key: Key) -> SigningError:
    with pytest.raises(SigningError) as caught, gpg.signing([key], RUNNER) as ring:
        ring.armored(b"text")
    return caught.value


def test_wrong_and_missing_passphrase(tmp_path: Path, home: Path) -> None:
    fingerprint = user_key(home, passphrase="secret")
    RUNNER.capture(["gpgconf", "--homedir", home, "--kill", "all"])
    file = tmp_path / "passphrase"
    file.write_text("wrong\n")
    error = attempt(Key(fingerprint, home, None, file, development=False))
    assert str(file) in error.message
    assert "echo test | gpg --homedir" in error.hint
    error = attempt(Key(fingerprint, home, None, None, development=False))
    assert "nobody can be asked" in error.message
    assert "PASSPHRASE_FILE" in error.hint


def test_expired_unknown_and_public_only_keys(home: Path, keys: Keys, tmp_path: Path) -> None:
    expired = past_key(home, "1d")
    error = attempt(Key(expired, home, None, None, development=False))
    assert "is expired" in error.message
    assert error.hint.startswith(f"gpg --homedir {home} --quick-set-expire {expired} 2y; ")
    error = attempt(Key("A" * 40, home, None, None, development=False))
    assert error.message.startswith("no key")
    public = keyring(tmp_path, keys.package)
    RUNNER.capture(["gpg", "--homedir", home, "--batch", "--import", public])
    error = attempt(Key(keys.package.fingerprint, home, None, None, development=False))
    assert error.message.startswith("only the public half")
    assert error.hint == f"gpg --homedir {home} --import SECRET-KEY-FILE"


def test_a_signing_subkey_is_not_used(home: Path) -> None:
    fingerprint = user_key(home)
    add: list[str | Path] = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--passphrase",
        "",
        "--quick-add-key",
        fingerprint,
    ]
    RUNNER.capture([*add, "ed25519", "sign", "never"])
    with gpg.signing([Key(fingerprint, home, None, None, development=False)], RUNNER) as ring:
        ring.armored(b"text")
    listing: list[str | Path] = [
        "gpg",
        "--homedir",
        home,
        "--list-keys",
        "--with-colons",
        fingerprint,
    ]
    shown = [line.split(":") for line in RUNNER.capture(listing).text.splitlines()]
    subkey = next(line[9] for line in reversed(shown) if line[0] == "fpr")
    assert subkey != fingerprint
    assert "instead of" in attempt(Key(subkey, home, None, None, development=False)).message


def test_development_keys_are_made_once_even_by_two_builds_at_once(tmp_path: Path) -> None:
    found: list[Keys] = []
    builds = [
        threading.Thread(target=lambda: found.append(load(tmp_path, {}, RUNNER))) for _ in range(2)
    ]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert len(found) == 2
    assert found[0] == found[1] == load(tmp_path, {}, RUNNER)
    assert found[0].development
    assert found[0].package != found[0].repository
    files = sorted((tmp_path / "keys").glob("*.key"))
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    shown = RUNNER.capture(["gpg", "--show-keys", files[0]]).text
    assert "debstack DEVELOPMENT package key (do not trust)" in shown


def test_nothing_is_left_of_a_throwaway_home(keys: Keys) -> None:
    with gpg.signing([keys.package], RUNNER) as ring:
        home = ring.keyring.parent
        assert ring.armored(b"text")
        assert len(os.fsencode(home)) < 40
    assert not home.exists()
