"""What a source package carries so that it can be built where debstack is not installed.

``debstack/`` in it is a small project: debstack's own modules and templates, the definitions, and
the part of the lock that is about this package. ``package.json`` says which package that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from debstack.accounting import lock_part
from debstack.errors import BuildError
from debstack.model.places import build_requirements_lock, packaging_folder, requirements_lock
from debstack.pipeline.assemble import Parts
from debstack.pipeline.contents import Release
from debstack.pipeline.dependencies import dependencies
from debstack.pipeline.packages import Names, tradingctl_files
from debstack.render import templates_folder
from debstack.steps.source_package import Member, tree

FOLDER, SOURCE, WHEELHOUSE = "debstack", "source", "wheelhouse"
"""The folders of a source package beside debian/: this one, the commit's files, the wheels."""

_RECORD, _TRUSTED = "package.json", "trusted"


@dataclass(frozen=True)
class Record:
    """Which package a source package is of, at which version, for which target."""

    package: str
    version: str
    target: str
    development: bool


def carried(release: Release, parts: Parts) -> list[Member]:
    """Return the files of ``debstack/``, their paths beginning with that."""
    return [
        *_modules(),
        *tree(templates_folder(), f"{FOLDER}/debian-templates/"),
        *_definitions(release),
        *_locked(release, parts.package),
        *_package(release, parts),
    ]


def read_record(project: Path) -> Record:
    """Return which package the source package is of. Raises BuildError."""
    try:
        return Record(**json.loads((project / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(
            f"{project} is not the debstack/ of a source package: {error}",
            hint="debian/rules of a source package calls this; to build: debstack build",
        ) from error


def read_trusted(project: Path) -> Mapping[str, Mapping[str, bytes]]:
    """Return the public keys that a keyring ships, by role, then by fingerprint."""
    return {
        role.name: {key.stem: key.read_bytes() for key in sorted(role.iterdir())}
        for role in sorted((project / _TRUSTED).glob("*"))
    }


def _modules() -> Iterator[Member]:
    for relative, module in tradingctl_files().items():
        yield Member(f"{FOLDER}/src/tradingctl/{relative}", module)
    source = Path(__file__).parents[1]
    for module in sorted(source.rglob("*.py")):
        yield Member(f"{FOLDER}/src/debstack/{module.relative_to(source).as_posix()}", module)


def _definitions(release: Release) -> Iterator[Member]:
    folder = packaging_folder(release.project)
    defined = release.definition
    files = ["stack.toml", *(f"components/{name}.toml" for name in defined.stack.components)]
    files += sorted({each.source for one in defined.components for each in one.config})
    files += sorted({each for one in defined.components for each in one.source.trust.signers})
    keys = tree(folder / "keys", "keys/") if (folder / "keys").is_dir() else []
    for file in dict.fromkeys([*files, *(each.path for each in keys)]):
        yield Member(f"{FOLDER}/packaging/{file}", folder / file)


def _locked(release: Release, package: str) -> Iterator[Member]:
    stack = Names.of(release.definition).stack
    part = lock_part.carried(release.lock, package, release.target.name, stack)
    yield Member(f"{FOLDER}/packaging/repos.lock", part.encode())
    if package in release.lock.components:
        for lock in dependencies(release, package):
            place = build_requirements_lock if lock.purpose == "build" else requirements_lock
            file = place(release.target.name, package)
            yield Member(f"{FOLDER}/packaging/locks/{file}", lock.text().encode())


def _package(release: Release, parts: Parts) -> Iterator[Member]:
    record = Record(parts.package, parts.version, release.target.name, parts.development)
    text = json.dumps(vars(record), indent=2, sort_keys=True) + "\n"
    yield Member(f"{FOLDER}/{_RECORD}", text.encode())
    for role, keys in parts.trusted.items():
        for fingerprint, key in keys.items():
            yield Member(f"{FOLDER}/{_TRUSTED}/{role}/{fingerprint}.pgp", key)
