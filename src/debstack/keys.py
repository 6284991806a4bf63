"""Which keys sign: the package key signs every .deb, the repository key signs the archive.

They are named by environment variables and lie in the user's GnuPG home. Where none is named, two
development keys are made once under the build folder, so that the whole chain can be tried.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.process import Runner

PACKAGE_VARIABLE = "DEBSTACK_PACKAGE_KEY"
REPOSITORY_VARIABLE = "DEBSTACK_REPO_KEY"
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")


@dataclass(frozen=True)
class Keys:
    """The two keys of a build; always different ones, so that losing one is not losing both."""

    package: Key
    repository: Key

    @property
    def development(self) -> bool:
        """Whether either of them is a development key."""
        return self.package.development or self.repository.development


def load(build_dir: Path, environ: Mapping[str, str], runner: Runner) -> Keys:
    """Return the keys that ``environ`` names, or the development keys under ``build_dir``/keys.

    Raises SigningError if only one is named, both are the same, or a fingerprint is not 40 hex
    digits. Whether a named key can sign is found out when it signs.
    """
    given = [name for name in (PACKAGE_VARIABLE, REPOSITORY_VARIABLE) if environ.get(name)]
    if not given:
        return _development_keys(build_dir / "keys", runner)
    if len(given) == 1:
        missing = REPOSITORY_VARIABLE if given[0] == PACKAGE_VARIABLE else PACKAGE_VARIABLE
        raise SigningError(
            f"{given[0]} is set and {missing} is not",
            hint=f"export {missing}=FINGERPRINT, or unset both to use development keys",
        )
    keys = Keys(_named_key(PACKAGE_VARIABLE, environ), _named_key(REPOSITORY_VARIABLE, environ))
    if keys.package.fingerprint == keys.repository.fingerprint:
        raise SigningError(
            f"{PACKAGE_VARIABLE} and {REPOSITORY_VARIABLE} name the same key",
            hint="gpg --quick-gen-key 'NAME <ADDRESS>' ed25519 sign never  # a key of its own",
        )
    return keys


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the user's GnuPG home as gpg itself finds it: GNUPGHOME, else ~/.gnupg."""
    if environ.get("GNUPGHOME"):
        return Path(environ["GNUPGHOME"]).absolute()
    return Path(environ["HOME"], ".gnupg") if environ.get("HOME") else Path.home() / ".gnupg"


def _named_key(variable: str, environ: Mapping[str, str]) -> Key:
    fingerprint = environ[variable].replace(" ", "").upper()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise SigningError(
            f"{variable} is not a full fingerprint (40 hex digits): {environ[variable]!r}",
            hint="gpg --list-secret-keys --with-fingerprint",
        )
    file = environ.get(f"{variable}_PASSPHRASE_FILE")
    if file and not Path(file).is_file():
        raise SigningError(
            f"{variable}_PASSPHRASE_FILE names no file: {file}",
            hint=f"unset {variable}_PASSPHRASE_FILE if the key has no passphrase",
        )
    passphrase = Path(file).absolute() if file else None
    return Key(fingerprint, home_of(environ), None, passphrase, development=False)


def _development_keys(folder: Path, runner: Runner) -> Keys:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        return Keys(
            _development_key(folder, "package", runner),
            _development_key(folder, "repository", runner),
        )


def _development_key(folder: Path, role: str, runner: Runner) -> Key:
    """Return the key in ``folder``/development-<role>-<fingerprint>.key, made if there is none.

    The fingerprint is in the name so that one rename makes key and name valid together.
    """
    found = sorted(folder.glob(f"development-{role}-*.key"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise SigningError(f"{folder} holds several {role} keys: {names}", hint="keep one of them")
    path = found[0] if found else _generate(folder, role, runner)
    return Key(path.stem.rpartition("-")[2], None, path.absolute(), None, development=True)


def _generate(folder: Path, role: str, runner: Runner) -> Path:
    with gpg.throwaway_home(runner) as home:
        user_id = f"debstack DEVELOPMENT {role} key (do not trust)"
        fingerprint, secret = gpg.generate(user_id, home, runner)
    temporary = folder / f".tmp-{role}"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return temporary.rename(folder / f"development-{role}-{fingerprint}.key")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(
            file, fcntl.LOCK_EX
        )  # two builds at once: the second finds the first one's keys
        yield
