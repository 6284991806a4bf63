"""Which keys sign: the package key signs every .deb, the repository key signs the archive.

They are named by packaging/keys/keys.toml or by environment variables, and lie in the user's GnuPG
home. Where none is named, two development keys are made once under the build folder, so that the
whole chain can be tried.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.model.signers import (
    FINGERPRINT,
    PACKAGE,
    REPOSITORY,
    SIGNERS_FILE,
    Role,
    Signers,
)
from debstack.process import Runner

PACKAGE_VARIABLE = "DEBSTACK_PACKAGE_KEY"
REPOSITORY_VARIABLE = "DEBSTACK_REPO_KEY"
PASSPHRASES_VARIABLE = "DEBSTACK_PASSPHRASES"
"""Names a folder of files with a passphrase each, called as the fingerprint of its key."""

_VARIABLES = (PACKAGE_VARIABLE, REPOSITORY_VARIABLE)


@dataclass(frozen=True)
class Keys:
    """The keys of a build; always different ones, so that losing one is not losing all.

    ``keyring`` signs the keyring package while the package key is replaced: the key that all
    servers know. ``channels`` are the repository keys by role, all of which sign together; see
    :meth:`signers`.
    """

    package: Key
    repository: Key
    keyring: Key | None = None
    channels: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)

    def signers(self, channel: str) -> tuple[Key, ...]:
        """Return the repository keys that sign a channel, all of them together."""
        return self.channels.get(channel) or self.channels.get(REPOSITORY) or (self.repository,)

    def of_package(self, *, keyring: bool) -> Key:
        """Return the key that signs a package, or the keyring package."""
        return self.keyring if keyring and self.keyring else self.package

    @property
    def development(self) -> bool:
        """Whether either of them is a development key."""
        return self.package.development or self.repository.development


def load(
    build_dir: Path, environ: Mapping[str, str], runner: Runner, signers: Signers | None = None
) -> Keys:
    """Return the keys that ``signers`` or ``environ`` name, else the development keys.

    Those lie under ``build_dir``/keys. Raises SigningError if a role has no key, two have the same,
    a fingerprint is not 40 hex digits, or both places name keys and not the same. Whether a named
    key can sign is found out when it signs.
    """
    given = [name for name in (PACKAGE_VARIABLE, REPOSITORY_VARIABLE) if environ.get(name)]
    if signers and signers.roles:
        return _keys_of_roles(signers.roles, environ)
    if not given:
        return _development_keys(build_dir / "keys", runner)
    if len(given) == 1:
        missing = REPOSITORY_VARIABLE if given[0] == PACKAGE_VARIABLE else PACKAGE_VARIABLE
        raise SigningError(
            f"{given[0]} is set and {missing} is not",
            hint=f"export {missing}=FINGERPRINT, or unset both to use development keys",
        )
    package, repository = (
        named_key(_fingerprint(name, environ), name, environ) for name in _VARIABLES
    )
    keys = Keys(package, repository)
    if keys.package.fingerprint == keys.repository.fingerprint:
        raise SigningError(
            f"{PACKAGE_VARIABLE} and {REPOSITORY_VARIABLE} name the same key",
            hint="debstack key new package; debstack key new repository",
        )
    return keys


def _keys_of_roles(roles: Mapping[str, Role], environ: Mapping[str, str]) -> Keys:
    for role, variable in zip((PACKAGE, REPOSITORY), _VARIABLES, strict=True):
        if role not in roles:
            raise SigningError(
                f"{SIGNERS_FILE} names no {role} key", hint=f"debstack key new {role}"
            )
        if environ.get(variable) and _fingerprint(variable, environ) not in roles[role].sign:
            raise SigningError(
                f"{variable} names another key than {SIGNERS_FILE}, where"
                f" {', '.join(roles[role].sign)} signs",
                hint=f"unset {variable}",
            )
    signing = {
        role: tuple(named_key(each, variable_of(role), environ) for each in roles[role].sign)
        for role in roles
    }
    known = named_key(roles[PACKAGE].trust[0], PACKAGE_VARIABLE, environ)
    package = signing.pop(PACKAGE)[0]
    return Keys(package, signing[REPOSITORY][0], known, signing)


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the user's GnuPG home as gpg itself finds it: GNUPGHOME, else ~/.gnupg."""
    if environ.get("GNUPGHOME"):
        return Path(environ["GNUPGHOME"]).absolute()
    return Path(environ["HOME"], ".gnupg") if environ.get("HOME") else Path.home() / ".gnupg"


def secrets(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return what leads to the user's keys: GnuPG homes, passphrases, sockets of agents."""
    named = [PASSPHRASES_VARIABLE, *(f"{each}_PASSPHRASE_FILE" for each in _VARIABLES),
             "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"]  # fmt: skip
    homes = {Path.home() / ".gnupg", home_of(environ)}
    given = (Path(environ[name]).absolute() for name in named if environ.get(name))
    return (*sorted(homes), *given)


def variable_of(role: str) -> str:
    """Return the variable that the names of a role's other variables begin with."""
    return PACKAGE_VARIABLE if role == PACKAGE else REPOSITORY_VARIABLE


def named_key(fingerprint: str, variable: str, environ: Mapping[str, str]) -> Key:
    """Return a key of the user's GnuPG home with the file of its passphrase, if one is named.

    Raises SigningError if a file is named and not there.
    """
    folder = environ.get(PASSPHRASES_VARIABLE)
    if folder and Path(folder, fingerprint).is_file():
        passphrase = Path(folder, fingerprint).absolute()
        return Key(fingerprint, home_of(environ), None, passphrase, development=False)
    file = environ.get(f"{variable}_PASSPHRASE_FILE")
    if file and not Path(file).is_file():
        raise SigningError(
            f"{variable}_PASSPHRASE_FILE names no file: {file}",
            hint=f"unset {variable}_PASSPHRASE_FILE if the key has no passphrase",
        )
    named = Path(file).absolute() if file else None
    return Key(fingerprint, home_of(environ), None, named, development=False)


def fingerprint_of(what: str, text: str) -> str:
    """Return a fingerprint as a person may write it; raises SigningError if it is none."""
    fingerprint = text.replace(" ", "").upper()
    if not FINGERPRINT.fullmatch(fingerprint):
        raise SigningError(
            f"{what} is not a full fingerprint (40 hex digits): {text!r}",
            hint="gpg --list-secret-keys --with-fingerprint",
        )
    return fingerprint


def _fingerprint(variable: str, environ: Mapping[str, str]) -> str:
    return fingerprint_of(variable, environ[variable])


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
