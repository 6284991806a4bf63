"""What the server makes of packages as debstack signs them, with the real gpg, gpgv and ar."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.build.test_signing import keyring, make_deb, past_key, user_key
from tests.unit.tradingctl.deploy.debfile import ar

from debstack import gpg
from debstack.gpg import Key
from debstack.keys import Keys, load
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps.sign import sign
from tradingctl.deploy.openpgp import fingerprints
from tradingctl.deploy.signature import PackageKeys, keys_in, signer
from tradingctl.errors import UntrustedError
from tradingctl.process import Programs

pytestmark = pytest.mark.build
RUNNER = Runner()
for _program in ("gpg", "gpgv", "dpkg-deb", "ar"):
    if shutil.which(_program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return load(tmp_path_factory.mktemp("build"), {}, RUNNER)


@pytest.fixture
def trusted(tmp_path: Path, keys: Keys) -> PackageKeys:
    """Give the package key as the server has it."""
    return keys_in([keyring(tmp_path, keys.package)])


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a user's GnuPG home."""
    with gpg.throwaway_home(RUNNER) as path:
        yield path


@pytest.mark.parametrize("compression", ["zstd", "xz", "gzip", "none"])
def test_a_package_that_debstack_signed_is_good(
    tmp_path: Path, keys: Keys, trusted: PackageKeys, compression: str
) -> None:
    signed = tmp_path / "signed.deb"
    sign(make_deb(tmp_path, compression), signed, keys.package, RUNNER)
    assert trusted.fingerprints == {keys.package.fingerprint}
    assert signer(Programs(), signed, trusted) == keys.package.fingerprint


def test_a_big_package_is_read_piece_by_piece(
    tmp_path: Path, keys: Keys, trusted: PackageKeys
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/noise").write_bytes(bytes(range(251)) * 20_001)
    signed = tmp_path / "signed.deb"
    sign(make_deb(tmp_path, "none"), signed, keys.package, RUNNER)
    assert signer(Programs(), signed, trusted) == keys.package.fingerprint
    with pytest.raises(UntrustedError):
        changed = bytearray(signed.read_bytes())
        changed[3_000_000] ^= 1
        signed.write_bytes(changed)
        signer(Programs(), signed, trusted)


def members(deb: Path) -> list[tuple[str, bytes]]:
    """Return name and content of each member."""
    names = RUNNER.capture(["ar", "t", deb]).text.split()
    return [(name, RUNNER.capture(["ar", "p", deb, name]).stdout) for name in names]


def refused(path: Path, keys: PackageKeys) -> str:
    with pytest.raises(UntrustedError) as raised:
        signer(Programs(), path, keys)
    return raised.value.message


def test_attacks_on_a_signed_package_are_refused(
    tmp_path: Path, keys: Keys, trusted: PackageKeys
) -> None:
    deb, signed = make_deb(tmp_path, "xz"), tmp_path / "signed.deb"
    sign(deb, signed, keys.package, RUNNER)
    signature = signed.read_bytes()[deb.stat().st_size :]
    assert refused(deb, trusted) == f"{deb} is not signed"

    repacked = make_deb(tmp_path, "xz", version="2.0")
    repacked.write_bytes(repacked.read_bytes() + signature)
    assert "what is in it is not what was signed (BADSIG)" in refused(repacked, trusted)

    parts = members(signed)
    evil = ("control.tar.gz", b"\x1f\x8bx")
    for attack in (
        [parts[0], evil, *parts[1:]],
        [*parts[:2], evil, *parts[2:]],
        [*parts[:3], evil, parts[3]],
        [*parts, evil],
        [*parts, ("_extra", b"")],
        [parts[0], parts[2], parts[1], parts[3]],
        [parts[0], (f"{parts[1][0]}/", parts[1][1]), *parts[2:]],
    ):
        signed.write_bytes(ar(*attack))
        assert "does not have the layout" in refused(signed, trusted)
    signed.write_bytes(ar(*parts))
    assert signer(Programs(), signed, trusted) == keys.package.fingerprint, "the parts are whole"


def test_other_keys_are_refused_whatever_gpgv_thinks_of_them(
    tmp_path: Path, keys: Keys, trusted: PackageKeys, home: Path
) -> None:
    deb, signed = make_deb(tmp_path), tmp_path / "signed.deb"
    sign(deb, signed, keys.repository, RUNNER)
    assert f"signed by the key {keys.repository.fingerprint[-16:]}" in refused(signed, trusted)
    # A keyring with one key more than are trusted.
    both = PackageKeys((keyring(tmp_path, keys.repository, keys.package),), trusted.fingerprints)
    assert f"signed by {keys.repository.fingerprint} instead" in refused(signed, both)

    # Good when it signed, expired by now: gpgv ends with 0.
    old = Key(past_key(home, "never"), home, None, None, development=False)
    sign(deb, signed, old, RUNNER)
    assert signer(Programs(), signed, keys_in([keyring(tmp_path, old)])) == old.fingerprint
    expire: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--faked-system-time"]
    expire += ["20200102T000000", "--quick-set-expire", old.fingerprint, "1d"]
    RUNNER.capture(expire)
    exported = tmp_path / "expired.pgp"
    exported.write_bytes(RUNNER.capture(["gpg", "--homedir", home, "--export"]).stdout)
    assert "EXPKEYSIG" in refused(signed, keys_in([exported]))


def sign_by_hand(deb: Path, key: str, home: Path, *options: str) -> Path:
    """Append what gpg says with some options as the signature."""
    signed = deb.with_name("by-hand.deb")
    parts = members(deb)
    command: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--local-user", key]
    content = b"".join(content for _, content in parts)
    signature = RUNNER.feed([*command, *options, "--output", "-"], [content]).stdout
    signed.write_bytes(ar(*parts, ("_gpgorigin", signature)))
    return signed


def test_other_kinds_of_signatures_are_refused(tmp_path: Path, home: Path) -> None:
    fingerprint = user_key(home)
    trusted = keys_in([keyring(tmp_path, Key(fingerprint, home, None, None, development=False))])
    deb = make_deb(tmp_path)
    good = sign_by_hand(deb, fingerprint, home, "--openpgp", "--detach-sign")
    assert signer(Programs(), good, trusted) == fingerprint
    text = sign_by_hand(deb, fingerprint, home, "--textmode", "--detach-sign")
    assert "not what was signed" in refused(text, trusted)
    inline = sign_by_hand(deb, fingerprint, home, "--sign")
    assert "not what was signed" in refused(inline, trusted)
    weak = sign_by_hand(deb, fingerprint, home, "--digest-algo", "SHA1", "--detach-sign")
    assert "not what was signed" in refused(weak, trusted)
    parts = members(good)
    good.write_bytes(ar(*parts[:3], ("_gpgorigin", parts[3][1] * 2)))
    assert "not what was signed" in refused(good, trusted)


def test_a_subkey_does_not_sign_packages(tmp_path: Path, home: Path) -> None:
    fingerprint = user_key(home)
    add: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--passphrase", ""]
    RUNNER.capture([*add, "--quick-add-key", fingerprint, "ed25519", "sign", "never"])
    listing = RUNNER.capture(["gpg", "--homedir", home, "--with-colons", "-k"]).text
    subkey = [line.split(":")[9] for line in listing.split() if line.startswith("fpr")][1]
    key = Key(fingerprint, home, None, None, development=False)
    ring = keyring(tmp_path, key)
    assert fingerprints(ring.read_bytes()) == [fingerprint]
    signed = sign_by_hand(make_deb(tmp_path), f"{subkey}!", home, "--detach-sign")
    assert "not what was signed" in refused(signed, keys_in([ring]))
