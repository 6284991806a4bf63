"""gpg's command lines, what gpgv's status lines mean, and the armor."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack.errors import SigningError
from debstack.gpg import (
    Key,
    armor,
    check_usable,
    dearmor,
    fingerprints_of,
    merge_clearsigned,
    sign_command,
)

ONE, TWO = "A" * 40, "B" * 40
KEY = Key(ONE, Path("/h"), None, Path("/pass"), development=False)


def status(judgement: str, fingerprint: str = ONE) -> str:
    valid = f"[GNUPG:] VALIDSIG {'C' * 40} 2026-11-23 1 0 4 0 22 10 00 {fingerprint}"
    return f"[GNUPG:] NEWSIG\n[GNUPG:] {judgement} 0123 x\n{valid}\n"


def test_command_names_exactly_one_key_and_reads_no_options() -> None:
    assert sign_command(KEY, Path("/h"), "--detach-sign", 5) == [
        *("gpg", "--homedir", "/h", "--no-options", "--batch", "--no-tty", "--status-fd", "2"),
        *("--digest-algo", "SHA256", "--faked-system-time", "5!"),
        *("--pinentry-mode", "loopback", "--passphrase-file", "/pass"),
        *("--local-user", f"{ONE}!", "--output", "-", "--detach-sign"),
    ]


def test_the_primary_key_is_the_signer() -> None:
    assert fingerprints_of(0, status("GOODSIG")) == (ONE,)
    assert fingerprints_of(0, status("GOODSIG") + status("GOODSIG", TWO)) == (ONE, TWO)


@pytest.mark.parametrize(
    ("returncode", "text"),
    [
        (0, ""),
        (0, "gpgv: Good signature\n"),
        (1, status("GOODSIG")),
        (0, status("EXPKEYSIG")),
        (0, status("REVKEYSIG")),
        (0, status("GOODSIG") + "[GNUPG:] BADSIG 0123 x\n"),
        (0, status("GOODSIG") + "[GNUPG:] ERRSIG 0123 22 10 00 1 9\n"),
    ],
)
def test_anything_but_good_signatures_is_refused(returncode: int, text: str) -> None:
    with pytest.raises(SigningError, match="does not verify"):
        fingerprints_of(returncode, text)


@pytest.mark.parametrize(
    ("validity", "capabilities", "message"),
    [("e", "sc", "expired"), ("r", "sc", "revoked"), ("u", "cS", "cannot sign")],
)
def test_unusable_keys(validity: str, capabilities: str, message: str) -> None:
    with pytest.raises(SigningError, match=message) as caught:
        check_usable(KEY, Path("/h"), validity=validity, capabilities=capabilities)
    assert caught.value.hint.startswith("gpg --homedir /h --quick-")
    # The keyring that servers have says of an expired key when it expired.
    shipped = "file in packaging/keys again" in caught.value.hint
    assert shipped == caught.value.hint.endswith("debstack lock") == (validity == "e")


def test_armor_has_the_checksum_of_the_standard() -> None:
    # RFC 4880, 6.1: the CRC of nothing is its initial value.
    assert b"\n=twTO\n" in armor(b"")
    for size in (0, 1, 47, 48, 49, 500):
        data = bytes(range(256)) * 2
        assert dearmor(armor(data[:size])) == data[:size]


def test_signatures_of_one_text_are_merged() -> None:
    text = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n"
    merged = merge_clearsigned([text + armor(b"one"), text + armor(b"two")])
    assert merged == text + armor(b"onetwo")
    with pytest.raises(SigningError, match="different texts"):
        merge_clearsigned([text + armor(b"one"), text + b"more\n" + armor(b"two")])
