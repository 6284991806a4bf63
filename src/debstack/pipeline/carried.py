"""What a source package carries so that it can be built where debstack is not installed.

``debstack-<target>/`` in it is a small project: debstack's own modules and templates, the
definitions, and the part of the lock that is about this package. ``package.json`` says which
package that is.
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
from debstack.steps.source_package import Member, tree, within

SOURCE = "source"
"""The folder of the commit's files in a source package."""

_RECORD, _TRUSTED = "package.json", "trusted"


def project_folder(target: str) -> str:
    """Return the folder of debstack and the definitions in a source package for ``target``.

    It names its tarball too. Targets share the upstream version, and so the name of a tarball that
    is not called after one of them; an archive has one file of a name.
    """
    return f"debstack-{target}"


def wheelhouse_folder(target: str) -> str:
    """Return the folder of the wheels, and the name of its tarball, for the same reason."""
    return f"wheelhouse-{target}"


@dataclass(frozen=True)
class Record:
    """Which package a source package is of, at which version, for which target."""

    package: str
    version: str
    target: str
    development: bool


def carried(release: Release, parts: Parts) -> list[Member]:
    """Return the files of the project's folder, their paths beginning with its name."""
    members = [
        *_modules(),
        *tree(templates_folder(), "debian-templates/"),
        *_definitions(release),
        *_locked(release, parts.package),
        *_package(release, parts),
    ]
    return within(project_folder(release.target.name), members)


def read_record(project: Path) -> Record:
    """Return which package the source package is of. Raises BuildError."""
    try:
        return Record(**json.loads((project / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(
            f"{project} is not debstack's folder in a source package: {error}",
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
        yield Member(f"src/tradingctl/{relative}", module)
    source = Path(__file__).parents[1]
    for module in sorted(source.rglob("*.py")):
        yield Member(f"src/debstack/{module.relative_to(source).as_posix()}", module)


def _definitions(release: Release) -> Iterator[Member]:
    folder = packaging_folder(release.project)
    defined = release.definition
    files = ["stack.toml", *(f"components/{name}.toml" for name in defined.stack.components)]
    files += sorted({each.source for one in defined.components for each in one.config})
    files += sorted({each for one in defined.components for each in one.source.trust.signers})
    keys = tree(folder / "keys", "keys/") if (folder / "keys").is_dir() else []
    for file in dict.fromkeys([*files, *(each.path for each in keys)]):
        yield Member(f"packaging/{file}", folder / file)


def _locked(release: Release, package: str) -> Iterator[Member]:
    stack = Names.of(release.definition).stack
    part = lock_part.carried(release.lock, package, release.target.name, stack)
    yield Member("packaging/repos.lock", part.encode())
    if package in release.lock.components:
        for lock in dependencies(release, package):
            place = build_requirements_lock if lock.purpose == "build" else requirements_lock
            file = place(release.target.name, package)
            yield Member(f"packaging/locks/{file}", lock.text().encode())


def _package(release: Release, parts: Parts) -> Iterator[Member]:
    record = Record(parts.package, parts.version, release.target.name, parts.development)
    text = json.dumps(vars(record), indent=2, sort_keys=True) + "\n"
    yield Member(_RECORD, text.encode())
    for role, keys in parts.trusted.items():
        for fingerprint, key in keys.items():
            yield Member(f"{_TRUSTED}/{role}/{fingerprint}.pgp", key)
