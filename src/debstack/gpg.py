"""Signing with gpg and verifying with gpgv.

No exit code is believed: every signature is checked by gpgv against the one key that was to make
it before it is handed out. Several keys sign one after the other and their signatures are put into
one armor here, because one gpg call takes one home and one passphrase only.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import SigningError
from debstack.process import Runner

_BEGIN = b"-----BEGIN PGP SIGNATURE-----"
_END = b"-----END PGP SIGNATURE-----"
_LINE = 64
_JUDGEMENTS = {"GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG"}


@dataclass(frozen=True)
class Key:
    """A signing key: a primary key, named by its full fingerprint (40 upper-case hex digits).

    It lies either in the GnuPG ``home`` of the user, or in ``secret_file`` (an exported secret key
    without passphrase). ``development`` marks keys that nobody outside this build should trust.
    """

    fingerprint: str
    home: Path | None
    secret_file: Path | None
    passphrase_file: Path | None
    development: bool


@dataclass(frozen=True)
class Ready:
    """A usable key: the home gpg finds it in, when it was made (epoch seconds), its public half."""

    key: Key
    home: Path
    created: int
    public: bytes


@dataclass(frozen=True)
class Ring:
    """Keys that are ready to sign together; ``keyring`` is a file with their public halves."""

    ready: tuple[Ready, ...]
    keyring: Path
    runner: Runner

    @property
    def public(self) -> bytes:
        """The public keys as a binary keyring, the form of /usr/share/keyrings."""
        return b"".join(each.public for each in self.ready)

    def detached(self, read: Callable[[], Iterable[bytes]], *, at: int | None = None) -> bytes:
        """Return a binary signature by the only key over what ``read()`` yields, twice the same.

        ``at`` (epoch seconds) is the time the signature claims, not before the key was made: with
        it, equal data give an equal signature. Raises SigningError.
        """
        (ready,) = self.ready
        signature = self._sign(ready, "--detach-sign", read(), at)
        self._expect(verify(signature, read(), self.keyring, self.runner))
        return signature

    def armored(self, data: bytes) -> bytes:
        """Return an armored detached signature over ``data`` by every key. Raises SigningError."""
        parts = [self._sign(ready, "--detach-sign", [data], None) for ready in self.ready]
        signature = b"".join(parts)
        self._expect(verify(signature, [data], self.keyring, self.runner))
        return armor(signature)

    def clear(self, text: bytes) -> bytes:
        """Return ``text`` clearsigned by every key. Raises SigningError."""
        parts = [self._sign(ready, "--clear-sign", [text], None) for ready in self.ready]
        message = merge_clearsigned(parts)
        signed, fingerprints = verify_clear(message, self.keyring, self.runner)
        self._expect(fingerprints)
        if signed != text:
            raise SigningError(
                "the clearsigned text is not the text that was to be signed",
                hint="see whether this gpg is Debian's: gpg --version",
            )
        return message

    def _sign(self, ready: Ready, mode: str, chunks: Iterable[bytes], at: int | None) -> bytes:
        moment = None if at is None else max(at, ready.created)
        command = sign_command(ready.key, ready.home, mode, moment)
        result = self.runner.feed(command, chunks, check=False)
        if result.returncode != 0 or b"[GNUPG:] SIG_CREATED " not in result.stderr:
            raise _signing_failed(ready, result.stderr.decode("utf-8", "replace"))
        return result.stdout

    def _expect(self, fingerprints: Sequence[str]) -> None:
        wanted = sorted(ready.key.fingerprint for ready in self.ready)
        if sorted(fingerprints) != wanted:
            message = f"signed by {', '.join(fingerprints)} instead of {', '.join(wanted)}"
            raise SigningError(message, hint="name the primary key's fingerprint, not a subkey's")


@contextmanager
def signing(keys: Sequence[Key], runner: Runner) -> Iterator[Ring]:
    """Make ``keys`` ready to sign for the duration.

    Raises SigningError for a key that is unknown, has no secret half, cannot sign or is expired.
    """
    runner = runner.raising(SigningError)
    with throwaway_home(runner) as scratch:
        for key in keys:
            if key.secret_file:
                runner.capture([*_gpg(scratch), "--import", key.secret_file])
        ready = tuple(_ready(key, key.home or scratch, runner) for key in keys)
        ring = Ring(ready, scratch / "signers.gpg", runner)
        ring.keyring.write_bytes(ring.public)
        yield ring


@contextmanager
def throwaway_home(runner: Runner) -> Iterator[Path]:
    """Give an empty GnuPG home that is gone afterwards, agent included.

    It lies in /tmp whatever TMPDIR says: the path of the agent's socket may have 107 bytes at most.
    """
    home = Path(tempfile.mkdtemp(prefix="debstack-", dir="/tmp"))
    try:
        yield home
    finally:
        runner.capture(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        runner.capture(["gpgconf", "--homedir", home, "--remove-socketdir"], check=False)
        shutil.rmtree(home, onerror=_unless_gone)


def generate(user_id: str, home: Path, runner: Runner) -> tuple[str, bytes]:
    """Make a key without passphrase; return fingerprint and secret key. Raises SigningError."""
    fingerprint = new_key(user_id, home, ["--passphrase", ""], runner)
    exported = runner.raising(SigningError).capture(
        [*_gpg(home), "--export-secret-keys", fingerprint]
    )
    return fingerprint, exported.stdout


def new_key(user_id: str, home: Path, passphrase: Sequence[str | Path], runner: Runner) -> str:
    """Make an ed25519 key without expiry in a GnuPG home; return its fingerprint.

    ``passphrase`` are gpg's options for it; without any the agent asks. A primary key that signs
    itself: debsig-verify finds its policy by the primary key only. Raises SigningError.
    """
    command = [*_gpg(home), *passphrase, "--status-fd", "1"]
    # --yes: a new key of a role may be called as the one before it.
    make = ["--yes", "--quick-gen-key", user_id, "ed25519", "sign", "never"]
    made = runner.capture([*command, *make], check=False)
    created = [line.split() for line in made.text.splitlines() if " KEY_CREATED " in line]
    if not created:
        raise SigningError(
            f"gpg made no key for {user_id}",
            hint="" if passphrase else "name --passphrase-file FILE, or --no-passphrase",
            details=made.stderr.decode("utf-8", "replace").splitlines(),
        )
    return created[0][3]


def read_public(path: Path, runner: Runner) -> dict[str, bytes]:
    """Return the public keys in a file in their binary form, by fingerprint.

    Raises SigningError if it holds none, or a secret key.
    """
    runner = runner.raising(SigningError)
    with throwaway_home(runner) as home:
        runner.capture([*_gpg(home), "--import", path])
        listing = [*_gpg(home), "--with-colons"]
        if runner.capture([*listing, "--list-secret-keys"]).text:
            raise SigningError(
                f"{path} holds a SECRET key",
                hint="take it out of the repository and its history, and replace the key",
            )
        listed = runner.capture([*listing, "--list-keys"]).text
        lines = [line.split(":") for line in listed.split("\n")]
        # The first fingerprint after a primary key is its own, later ones its subkeys'.
        primary = [n for n, line in enumerate(lines) if line[0] == "pub"]
        fingerprints = [next(line[9] for line in lines[n:] if line[0] == "fpr") for n in primary]
        return {each: export_public(each, home, runner) for each in fingerprints}


def export_public(fingerprint: str, home: Path, runner: Runner) -> bytes:
    """Return the public half of a key in a GnuPG home, binary; empty if it has none."""
    return runner.capture([*_gpg(home), "--export", fingerprint], check=False).stdout


def require_usable(key: Key, home: Path, runner: Runner) -> None:
    """Raise SigningError unless a GnuPG home holds the key's private half and it may sign."""
    _ready(key, home, runner)


def verify(
    signature: bytes, chunks: Iterable[bytes], keyring: Path, runner: Runner
) -> tuple[str, ...]:
    """Return the fingerprints of the primary keys that signed ``chunks``.

    Raises SigningError unless every signature is good and by a key of ``keyring`` (binary).
    """
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(signature)
        file.flush()
        command = ["gpgv", "--status-fd", "2", "--keyring", str(keyring.resolve()), file.name, "-"]
        result = runner.feed(command, chunks, check=False)
    return fingerprints_of(result.returncode, result.stderr.decode("utf-8", "replace"))


def verify_clear(message: bytes, keyring: Path, runner: Runner) -> tuple[bytes, tuple[str, ...]]:
    """Return the text inside a clearsigned ``message``, and who signed it as ``verify`` does."""
    command = ["gpgv", "--status-fd", "2", "--keyring", str(keyring.resolve()), "--output", "-"]
    result = runner.feed(command, [message], check=False)
    signers = fingerprints_of(result.returncode, result.stderr.decode("utf-8", "replace"))
    return result.stdout, signers


def fingerprints_of(returncode: int, status: str) -> tuple[str, ...]:
    """Return the primary keys that gpgv's status lines call valid; SigningError unless all are.

    VALIDSIG alone is not enough: gpgv prints it for an expired key too, with exit code 0.
    """
    lines = [line.split()[1:] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    judged = [line[0] for line in lines if line[0] in _JUDGEMENTS]
    valid = tuple(line[-1] for line in lines if line[0] == "VALIDSIG")
    if returncode != 0 or not valid or judged != ["GOODSIG"] * len(valid):
        verdict = ", ".join(judged) or "no signature found"
        raise SigningError(
            f"the signature does not verify ({verdict})",
            hint="compare the signer with the keys of the keyring: gpg --show-keys KEYRING",
            details=[line for line in status.splitlines() if not line.startswith("[GNUPG:] ")],
        )
    return valid


def sign_command(key: Key, home: Path, mode: str, at: int | None) -> list[str]:
    """Return the gpg call that signs standard input; ``!`` keeps gpg from picking a subkey."""
    command = [*map(str, _gpg(home)), "--status-fd", "2", "--digest-algo", "SHA256"]
    if at is not None:
        command += ["--faked-system-time", f"{at}!"]
    if key.passphrase_file:
        command += ["--pinentry-mode", "loopback", "--passphrase-file", str(key.passphrase_file)]
    return [*command, "--local-user", f"{key.fingerprint}!", "--output", "-", mode]


def armor(data: bytes, label: str = "SIGNATURE") -> bytes:
    """Return ``data`` in ASCII armor (RFC 4880, 6.2), which apt demands of Release.gpg."""
    text = base64.b64encode(data)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    crc = b"=" + base64.b64encode(_crc24(data).to_bytes(3, "big"))
    begin, end = (f"-----{word} PGP {label}-----".encode() for word in ("BEGIN", "END"))
    return b"\n".join([begin, b"", *lines, crc, end, b""])


def dearmor(text: bytes) -> bytes:
    """Return the bytes inside one armored signature; armor headers and checksum are skipped."""
    body = text.partition(_BEGIN)[2].partition(_END)[0].strip().splitlines()
    return base64.b64decode(
        b"".join(line for line in body if not line.startswith(b"=") and b":" not in line)
    )


def merge_clearsigned(messages: Sequence[bytes]) -> bytes:
    """Return one clearsigned message with the signatures of all ``messages`` (of equal text)."""
    texts = {message.partition(_BEGIN)[0] for message in messages}
    if len(texts) != 1:
        raise SigningError("the keys signed different texts; sign again")
    return texts.pop() + armor(b"".join(map(dearmor, messages)))


def _gpg(home: Path) -> list[str | Path]:
    # --no-options: what a user's gpg.conf adds (armor, comments, a default key) is not wanted here.
    return ["gpg", "--homedir", home, "--no-options", "--batch", "--no-tty"]


def _ready(key: Key, home: Path, runner: Runner) -> Ready:
    listing = [*_gpg(home), "--with-colons", "--fixed-list-mode"]
    listed = runner.capture([*listing, "--list-secret-keys", key.fingerprint], check=False)
    public = runner.capture([*_gpg(home), "--export", key.fingerprint], check=False).stdout
    secrets = [line.split(":") for line in listed.text.splitlines() if line.startswith("sec:")]
    if not secrets or secrets[0][14] == "#":
        raise _no_secret(key, home, known=bool(public))
    fields = secrets[0]
    check_usable(key, home, validity=fields[1], capabilities=fields[11])
    return Ready(key, home, int(fields[5]), public)


def check_usable(key: Key, home: Path, *, validity: str, capabilities: str) -> None:
    """Raise SigningError if gpg lists the key as expired, revoked or unable to sign."""
    command = f"gpg --homedir {home}"
    prolong = (
        f"{command} --quick-set-expire {key.fingerprint} 2y; if it is committed, put it into its"
        f" file in packaging/keys again ({command} --armor --export {key.fingerprint}), and run:"
        " debstack lock"
    )
    replace = f"{command} --quick-gen-key 'NAME <ADDRESS>' ed25519 sign never"
    faults = {"e": ("is expired", prolong), "r": ("is revoked", replace)}
    if "s" not in capabilities:
        faults.setdefault(validity, ("cannot sign (a signing subkey is not enough)", replace))
    if validity in faults:
        fault, remedy = faults[validity]
        message = f"the primary key {key.fingerprint} {fault}"
        raise SigningError(message, hint=remedy)


def _no_secret(key: Key, home: Path, *, known: bool) -> SigningError:
    what = "only the public half of" if known else "no key"
    message = f"{what} {key.fingerprint} is in the keyring {home}"
    return SigningError(message, hint=f"gpg --homedir {home} --import SECRET-KEY-FILE")


def _signing_failed(ready: Ready, stderr: str) -> SigningError:
    key, file = ready.key, ready.key.passphrase_file
    message = f"gpg did not sign with {key.fingerprint}"
    hint = f"try: echo test | {' '.join(sign_command(key, ready.home, '--clear-sign', None))}"
    if file and "Bad passphrase" in stderr:
        message = f"{file} does not hold the passphrase of {key.fingerprint}"
        hint = f"correct the file, then {hint}"
    elif file is None and any(word in stderr for word in ("ioctl", "pinentry", "passphrase")):
        message = f"the key {key.fingerprint} has a passphrase and nobody can be asked for it"
        hint = "name a file (mode 0600) that holds it: DEBSTACK_{PACKAGE,REPO}_KEY_PASSPHRASE_FILE"
    details = [line for line in stderr.splitlines() if not line.startswith("[GNUPG:] ")]
    return SigningError(message, hint=hint, details=details)


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc & 0xFFFFFF


def _unless_gone(_call: object, _path: str, error: tuple[object, BaseException, object]) -> None:
    # The agent removes its own sockets while it ends.
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
