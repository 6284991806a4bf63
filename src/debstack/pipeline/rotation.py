"""``debstack key``: make keys, and replace one without a server that ever refuses an update.

The order was tried with the apt of every Debian release that is a target: the keyring ships both
keys, both sign, the new one signs alone, the keyring drops the old one. A step changes files under
packaging/keys and nothing else, so that git takes it back; what it means is said by ``advice``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack import gpg
from debstack.errors import SigningError
from debstack.gpg import Key
from debstack.keys import home_of, named_key, variable_of
from debstack.model.places import packaging_folder
from debstack.model.signers import (
    PACKAGE,
    SIGNERS_FILE,
    Role,
    Signers,
    Stage,
    next_role,
    public_key_path,
    read_signers,
    signers_path,
    signers_text,
)
from debstack.pipeline.packages import public_keys
from debstack.process import Runner


@dataclass(frozen=True)
class Bench:
    """Where keys are made and named: the project, and the user's GnuPG home."""

    project: Path
    environ: Mapping[str, str]
    runner: Runner

    @property
    def home(self) -> Path:
        """The user's GnuPG home. Raises SigningError if it is part of the project."""
        home = home_of(self.environ)
        if home.resolve().is_relative_to(self.project.resolve()):
            raise SigningError(
                f"the GnuPG home {home} lies in the project: private keys are never in its tree",
                hint="unset GNUPGHOME, or name a folder elsewhere",
            )
        return home

    def key(self, role: str, fingerprint: str) -> Key:
        """Return a key of a role as it signs. Raises SigningError."""
        return named_key(fingerprint, variable_of(role), self.environ)


def roles_of(bench: Bench) -> Signers:
    """Return the project's roles; keys that were committed without any are taken for them.

    Raises DefinitionError, and SigningError for a file with several keys of which none is known to
    sign.
    """
    named = read_signers(bench.project)
    if named.roles:
        return named
    roles = {}
    for path in public_keys(bench.project):
        found = tuple(gpg.read_public(path, bench.runner))
        if len(found) != 1:
            raise SigningError(
                f"{path} holds {len(found)} keys, and {SIGNERS_FILE} does not say which one signs",
                hint=f"leave one key in {path}",
            )
        roles[path.stem] = Role(found, found)
    return Signers(roles)


def make_key(
    bench: Bench, role: str, user_id: str, passphrase: Sequence[str | Path]
) -> tuple[str, bool]:
    """Make a key for a role; return its fingerprint and whether it signs from now on.

    It does where the role has none yet. ``passphrase`` are gpg's options for it. Raises
    SigningError, DefinitionError.
    """
    roles_of(bench)  # what is refused makes no key
    home = bench.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fingerprint = gpg.new_key(user_id, home, passphrase, bench.runner)
    with _alone(bench):
        signers = roles_of(bench)  # others' keys may have come meanwhile: gpg waits for people
        if role in signers.roles:
            return fingerprint, False
        _write(bench, signers, role, Role((fingerprint,), (fingerprint,)))
    return fingerprint, True


def rotate(bench: Bench, role: str, step: Stage, new: str = "") -> Role:
    """Take the next step in the replacement of a role's key and return what the role is then.

    Nothing but files under packaging/keys is changed. Raises SigningError, DefinitionError.
    """
    with _alone(bench):
        signers = roles_of(bench)
        now = role_of(signers, role)
        for name, each in signers.roles.items():
            if new in each.trust:
                raise SigningError(
                    f"{new} is a key of {name} already", hint=f"debstack key new {role}"
                )
        after = next_role(role, now, step, new)
        if step is not Stage.DROP:
            gpg.require_usable(bench.key(role, after.trust[1]), bench.home, bench.runner)
        _write(bench, signers, role, after)
    return after


def private_half(bench: Bench, role: str, fingerprint: str) -> str:
    """Return in a word or two whether a key can sign from here."""
    try:
        gpg.require_usable(bench.key(role, fingerprint), bench.home, bench.runner)
    except SigningError as error:
        told = error.message.partition(f"the primary key {fingerprint} ")[2]
        return told or f"missing in {bench.home}"
    return "ready"


def role_of(signers: Signers, name: str) -> Role:
    """Return a role; raises SigningError if it has no key yet."""
    if name not in signers.roles:
        raise SigningError(
            f"there is no {name} key of your own to replace", hint=f"debstack key new {name}"
        )
    return signers.roles[name]


@contextmanager
def _alone(bench: Bench) -> Iterator[None]:
    """Let no other command change the roles meanwhile: keys.toml is written with all of them."""
    descriptor = os.open(packaging_folder(bench.project), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(bench: Bench, signers: Signers, role: str, after: Role) -> None:
    """Write the public keys first: what lacks one that signs is refused, what has more is not."""
    path = public_key_path(bench.project, role)
    known = gpg.read_public(path, bench.runner) if path.is_file() else {}
    blocks = []
    for fingerprint in after.trust:
        public = known.get(fingerprint) or gpg.export_public(fingerprint, bench.home, bench.runner)
        if not public:
            raise SigningError(
                f"the public key {fingerprint} is neither in {path} nor in {bench.home}",
                hint=f"gpg --homedir {bench.home} --import KEY-FILE",
            )
        blocks.append(gpg.armor(public, "PUBLIC KEY BLOCK"))
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, b"".join(blocks))
    roles = {**signers.roles, role: after}
    _replace(signers_path(bench.project), signers_text(Signers(roles)).encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(frozen=True)
class Advice:
    """What a stage means: where things are, what to do now, and when to go on, how."""

    where: str
    now: tuple[str, ...]
    when: str
    then: str

    def __str__(self) -> str:
        lines = [self.where, *(f"  now:  {each}" for each in self.now)]
        if self.when:
            lines.append(f"  when: {self.when}")
        return "\n".join([*lines, f"  then: {self.then}"])


def advice(name: str, role: Role, keyring: str, *, dropped: bool = False) -> Advice:
    """Return what to do at a role's present stage; ``keyring`` is the name of the package.

    ``dropped`` says that it has just been reached.
    """
    old, new = role.trust[0], role.trust[-1]
    command = f"debstack key rotate {name} --step"
    everywhere = f"every server has the keyring with both keys: dpkg-query -W {keyring}"
    release = "git commit packaging; debstack lock, build, publish, and promote to every channel"
    resign = "git commit packaging; debstack refresh, which signs every channel anew"
    if role.stage is Stage.TRUST:
        return Advice(
            f"{name}: {old} signs; the keyring introduces {new}",
            (release, f"on each server: apt-get install {keyring}"),
            "at once: a server that knows one of them is content"
            if name != PACKAGE
            else everywhere,
            f"{command} {'new' if name == PACKAGE else 'both'}",
        )
    if role.stage is Stage.BOTH:
        return Advice(
            f"{name}: {old} and {new} sign",
            (resign,),
            f"{everywhere}. A server without it would refuse the archive: there, dpkg -i its file",
            f"{command} new",
        )
    if role.stage is Stage.NEW:
        return Advice(
            f"{name}: {new} signs; servers still trust {old}",
            (release if name == PACKAGE else resign,),
            "no server has to install from the archive what only the old key signed"
            if name == PACKAGE
            else "every channel is signed anew, and copied to where servers look for it",
            f"{command} drop",
        )
    return Advice(
        f"{name}: {old} signs and is the only one that servers trust",
        (release,) if dropped else (),
        "",
        f"to replace it: debstack key new {name}; {command} trust --to FINGERPRINT",
    )
