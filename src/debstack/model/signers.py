"""Who signs, and whom servers trust: packaging/keys/keys.toml, which ``debstack key`` writes.

A role is ``package`` (signs every .deb), ``repository`` (signs the archive) or the name of a
channel that has a repository key of its own. While a key is replaced a role has two, the old one
first; which of them sign says how far the replacement is, so that no stage has to be noted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from os.path import lexists
from pathlib import Path

from debstack.errors import DefinitionError, Problem, SigningError
from debstack.model.places import NO_OWN_FILE, OWN_FILE, is_own_file, packaging_folder

SIGNERS_FILE = "packaging/keys/keys.toml"
PACKAGE = "package"
REPOSITORY = "repository"
FINGERPRINT = re.compile(r"[0-9A-F]{40}")

_HEAD = """\
# Who signs, and whom servers trust; written by `debstack key`. The public keys lie beside this
# file, the private ones in GnuPG, never here.
"""


class Stage(StrEnum):
    """How far the replacement of a role's key is, and the step that leads there."""

    SETTLED = "settled"
    """There is one key."""
    TRUST = "trust"
    """Servers learn to trust the new key; the old one signs."""
    BOTH = "both"
    """Both sign, so that servers which know either are content."""
    NEW = "new"
    """The new key signs; servers still trust the old one."""
    DROP = "drop"
    """The old key is forgotten, which settles it."""


@dataclass(frozen=True)
class Role:
    """The keys of a role by fingerprint (40 upper-case hex digits): who signs, who is trusted."""

    sign: tuple[str, ...]
    trust: tuple[str, ...]

    @property
    def stage(self) -> Stage | None:
        """How far the replacement of the key is; None for what no step leads to."""
        old, new = self.trust[:1], self.trust[1:]
        stages = {
            (old, old): Stage.SETTLED,
            (old, (*old, *new)): Stage.TRUST,
            ((*old, *new), (*old, *new)): Stage.BOTH,
            (new, (*old, *new)): Stage.NEW,
        }
        if len(self.trust) not in (1, 2) or len(set(self.trust)) != len(self.trust):
            return None
        if len(self.trust) == 1:
            return Stage.SETTLED if self.sign == self.trust else None
        return stages.get((self.sign, self.trust))


@dataclass(frozen=True)
class Signers:
    """The roles by name; empty where no keys of the user's are named in the project."""

    roles: Mapping[str, Role] = field(default_factory=dict)

    def require_channels(self, channels: Collection[str]) -> None:
        """Raise DefinitionError if a role is none of these channels, or a channel is a role."""
        known = {PACKAGE, REPOSITORY, *channels}
        unknown = sorted(self.roles.keys() - known)
        if unknown:
            raise DefinitionError(
                [
                    Problem(SIGNERS_FILE, name, "is no channel", f"one of {', '.join(channels)}")
                    for name in unknown
                ]
            )


def signers_path(project: Path) -> Path:
    """Return where the roles of a project are written down."""
    return packaging_folder(project) / "keys" / "keys.toml"


def public_key_path(project: Path, role: str) -> Path:
    """Return where the public keys that servers trust in a role lie."""
    return packaging_folder(project) / "keys" / f"{role}.asc"


def read_signers(project: Path) -> Signers:
    """Return the roles of a project, none if it names no keys. Raises DefinitionError."""
    file = signers_path(project)
    if not lexists(file):
        return Signers()
    if not is_own_file(file, packaging_folder(project)):
        raise DefinitionError([Problem(SIGNERS_FILE, "", NO_OWN_FILE, OWN_FILE)])
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError([Problem(SIGNERS_FILE, "", f"not TOML: {error}")]) from error
    if problems := list(_problems(data)):
        raise DefinitionError(problems)
    return Signers(
        {name: Role(tuple(each["sign"]), tuple(each["trust"])) for name, each in data.items()}
    )


def signers_text(signers: Signers) -> str:
    """Return what the file of these roles holds."""
    parts = [_HEAD]
    for name, role in signers.roles.items():
        parts.append(f"[{name}]\nsign = {_list(role.sign)}\ntrust = {_list(role.trust)}\n")
    return "\n".join(parts)


def next_role(name: str, role: Role, step: Stage, new: str = "") -> Role:
    """Return the role after a step of the replacement; ``new`` is the new key, for the first one.

    Raises SigningError for a step that is not the next.
    """
    order = [Stage.SETTLED, Stage.TRUST, Stage.BOTH, Stage.NEW, Stage.DROP]
    if name == PACKAGE:
        order.remove(Stage.BOTH)  # a package has one signature
    assert role.stage is not None  # noqa: S101  (checked when it was read)
    following = order[order.index(role.stage) + 1]
    if step is not following:
        words = " --to FINGERPRINT" if following is Stage.TRUST else ""
        raise SigningError(
            f"the {name} key is at {role.stage.value!r}: the next step is {following.value!r},"
            f" not {step.value!r}",
            hint=f"debstack key rotate {name} --step {following.value}{words}",
        )
    if step is Stage.TRUST:
        return Role(role.sign, (*role.trust, new))
    if step is Stage.BOTH:
        return Role(role.trust, role.trust)
    if step is Stage.NEW:
        return Role(role.trust[1:], role.trust)
    return Role(role.sign, role.sign)


def _problems(data: Mapping[str, object]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, table in data.items():
        if not isinstance(table, dict) or table.keys() != {"sign", "trust"}:
            yield Problem(SIGNERS_FILE, name, "is not a table with `sign` and `trust`")
            continue
        bad = [
            Problem(SIGNERS_FILE, f"{name}.{key}", "is not a list of full fingerprints")
            for key, value in table.items()
            if not isinstance(value, list)
            or not all(isinstance(each, str) and FINGERPRINT.fullmatch(each) for each in value)
        ]
        yield from bad
        if bad:
            continue
        role = Role(tuple(table["sign"]), tuple(table["trust"]))
        if role.stage is None or (name == PACKAGE and role.stage is Stage.BOTH):
            yield Problem(
                SIGNERS_FILE, name, "is no stage that `debstack key rotate` leads to",
                "restore the file with git",
            )  # fmt: skip
        for fingerprint in role.trust:
            if fingerprint in seen:
                yield Problem(
                    SIGNERS_FILE, name, f"{fingerprint} is a key of {seen[fingerprint]} already",
                    "a key of its own for each role",
                )  # fmt: skip
            seen[fingerprint] = name


def _list(fingerprints: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{each}"' for each in fingerprints) + "]"
