"""What gpgv says is believed only when it says all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from tests.unit.tradingctl.deploy.debfile import COVERED, SIGNATURE, SIGNED, ar
from tests.unit.tradingctl.fakes import FakeSystem

from tradingctl.deploy.openpgp import fingerprints
from tradingctl.deploy.signature import PackageKeys, installed_keys, keys_in, signer
from tradingctl.errors import UntrustedError
from tradingctl.paths import Paths
from tradingctl.process import NOT_FOUND, Outcome

BODY = b"\x04\x5f\x00\x00\x00\x16" + b"a public key"
OTHER = b"\x04\x5f\x00\x00\x01\x16" + b"another one"


def fingerprint(body: bytes) -> str:
    """Return what RFC 4880, 12.2 says that it is."""
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324


ONE, TWO = fingerprint(BODY), fingerprint(OTHER)
KEYS = PackageKeys((Path("/keys/one.pgp"),), frozenset({ONE}))


def packet(tag: int, body: bytes) -> bytes:
    """Return a packet of the old format, as gpg exports them."""
    return bytes([0x80 | tag << 2, len(body)]) + body


class Gpgv(FakeSystem):
    """gpgv, which says what it is told to."""

    def __init__(self, output: str, code: int = 0) -> None:
        super().__init__()
        self.output, self.code = output, code
        self.signature = b""

    def feed(self, command: Sequence[str], chunks: Iterable[bytes]) -> Outcome:
        """Say it, and keep what was asked."""
        self.fed = b"".join(chunks)
        self.commands.append(list(command))
        self.signature = Path(command[-2]).read_bytes()
        return Outcome(tuple(command), self.code, self.output)


def status(word: str, primary: str = ONE, by: str = "", kind: str = "00") -> str:
    """Return what gpgv says of one signature."""
    lines = ["NEWSIG", f"{word} {primary[-16:]} Ops"]
    if word in ("GOODSIG", "EXPKEYSIG", "REVKEYSIG", "EXPSIG"):
        lines.append(f"VALIDSIG {by or primary} 2026-11-23 1 0 4 0 22 10 {kind} {primary}")
    return "".join(f"[GNUPG:] {line}\n" for line in lines)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    path = tmp_path / "x.deb"
    path.write_bytes(ar(*SIGNED))
    return path


def test_gpgv_gets_the_signature_what_it_covers_and_the_trusted_keys_alone(deb: Path) -> None:
    gpgv = Gpgv(status("GOODSIG"))
    assert signer(gpgv, deb, KEYS) == ONE
    (command,) = gpgv.commands
    assert (gpgv.signature, gpgv.fed) == (SIGNATURE[1], COVERED)
    assert [command[n + 1] for n, word in enumerate(command) if word == "--keyring"] == [
        "/keys/one.pgp"
    ]
    assert command[:3] == ["gpgv", "--homedir", "/nonexistent"]
    assert command[command.index("--weak-digest") + 1] == "SHA1"
    assert command[-1] == "-"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("", 0),
        ("gpgv: Good signature\n", 0),
        (status("GOODSIG"), 1),
        (status("GOODSIG").replace("[GNUPG:] ", "gpgv: "), 0),
        ("".join(status("GOODSIG").splitlines(keepends=True)[:2]), 0),
        ("".join(status("GOODSIG").splitlines(keepends=True)[1:]), 0),
        (status("BADSIG"), 1),
        (status("BADSIG"), 0),
        (status("EXPKEYSIG"), 0),
        (status("EXPSIG"), 0),
        (status("REVKEYSIG"), 0),
        # Several: the member is to be one signature.
        (status("GOODSIG") * 2, 0),
        (status("GOODSIG") + status("BADSIG"), 0),
        (status("GOODSIG") + "[GNUPG:] ERRSIG 0123456789ABCDEF 22 10 00 1 9\n", 0),
        # A message of its own, which was good, and not the package.
        ("[GNUPG:] PLAINTEXT 62 0 \n" + status("GOODSIG"), 0),
        # Over text: the ends of lines are not signed.
        (status("GOODSIG", kind="01"), 0),
        # By a subkey.
        (status("GOODSIG", by=TWO), 0),
        # By a key that is none of ours though a keyring has it.
        (status("GOODSIG", primary=TWO), 0),
    ],
)
def test_anything_else_than_one_good_signature_is_refused(
    deb: Path, output: str, code: int
) -> None:
    with pytest.raises(UntrustedError) as raised:
        signer(Gpgv(output, code), deb, KEYS)
    assert raised.value.message.startswith(f"{deb}")


def test_an_unknown_key_is_named_beside_those_that_are_trusted(deb: Path) -> None:
    said = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG AAAABBBBCCCCDDDD 22 10 00 1 9\n"
    with pytest.raises(UntrustedError) as raised:
        signer(Gpgv(said + "[GNUPG:] NO_PUBKEY AAAABBBBCCCCDDDD\n", 2), deb, KEYS)
    assert raised.value.message == (
        f"{deb} is signed by the key AAAABBBBCCCCDDDD, and the packages of this server have to be"
        f" signed by {ONE}"
    )


def test_without_gpgv_nothing_is_believed(deb: Path) -> None:
    with pytest.raises(UntrustedError) as raised:
        signer(Gpgv("", NOT_FOUND), deb, KEYS)
    assert raised.value.next_command == "apt-get install gpgv"


def test_the_installed_keys_are_those_of_the_keyring_package(tmp_path: Path) -> None:
    for name, body in (("one/traderunner", BODY), ("two/traderunner", OTHER), ("x/vendor", b"?")):
        path = tmp_path / "usr/share/debsig/keyrings" / f"{name}.pgp"
        path.parent.mkdir(parents=True)
        path.write_bytes(packet(6, body) + packet(13, b"Ops"))
    found = installed_keys(Paths(tmp_path))
    assert found.fingerprints == {ONE, TWO}
    assert [each.parent.name for each in found.files] == ["one", "two"]
    assert installed_keys(Paths(tmp_path / "nothing")) == PackageKeys()


def test_a_keyring_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "traderunner.pgp"
    path.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    with pytest.raises(UntrustedError, match=str(path)) as raised:
        keys_in([path])
    assert raised.value.next_command.startswith("dpkg -V traderunner-archive-keyring")


# What is in a keyring.


def test_fingerprints_are_those_of_primary_keys_in_either_format() -> None:
    subkey = packet(14, OTHER)
    assert fingerprints(packet(6, BODY) + packet(13, b"Ops") + subkey) == [ONE]
    new = b"\xc6" + bytes([len(BODY)]) + BODY
    two_octets = b"\xcd" + bytes([193, 8]) + b"x" * 456
    five_octets = b"\xc6\xff" + len(OTHER).to_bytes(4, "big") + OTHER
    assert fingerprints(new + two_octets + five_octets) == [ONE, TWO]
    long = bytes([0x80 | 6 << 2 | 1]) + len(BODY).to_bytes(2, "big") + BODY
    assert fingerprints(long) == [ONE]


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        packet(6, b"\x06" + BODY),
        packet(6, BODY)[:-1],
        bytes([0x80 | 6 << 2 | 3]) + BODY,
        b"\xc6\xe1" + BODY,
        b"\xc6",
    ],
)
def test_what_is_no_keyring_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        fingerprints(data)
