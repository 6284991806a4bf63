"""The account that a package gives of itself, read from the package: lock, wheels, SBOM.

All of it is checked against the rest of the package by ``checks``; nothing here is trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import compat32
from typing import Any

from packaging.utils import canonicalize_name, canonicalize_version

from debstack.accounting import lock_part, sbom
from debstack.accounting.contents import Contents
from debstack.errors import DebstackError
from debstack.model.lock import Lock, LockedComponent, LockedPackage, parse_lock
from debstack.model.requirements import RequirementsLock, parse_requirements

Distribution = tuple[str, str]
"""Name and version, each in the one form that they are compared in."""


def distribution(name: str, version: str) -> Distribution:
    """Return the distribution ``name`` at ``version``."""
    return canonicalize_name(name), canonicalize_version(version)


@dataclass(frozen=True)
class Account:
    """What a package says of itself. ``mistakes`` say what of it is missing or unreadable.

    ``lock_sha256`` is the digest of the lock in the package. ``licences`` and ``wheels`` are by
    distribution, as the SBOM names them.
    """

    package: str
    version: str
    architecture: str
    commit: str
    lock: Lock | None
    lock_sha256: str
    requirements: RequirementsLock | None
    build_requirements: RequirementsLock | None
    document: Mapping[str, Any]
    mistakes: tuple[str, ...]

    @property
    def locked(self) -> LockedPackage | None:
        """The package in its lock."""
        return self.lock.packages.get(self.package) if self.lock else None

    @property
    def component(self) -> LockedComponent | None:
        """The component in its lock; a package of the stack itself has none."""
        return self.lock.components.get(self.package) if self.lock and self.commit else None

    @property
    def target(self) -> str:
        """The Debian release, "" if the lock names several."""
        targets = list(self.locked.inputs) if self.locked else []
        return targets[0] if len(targets) == 1 else ""

    def components(self) -> Iterator[Mapping[str, Any]]:
        """Yield the distributions that the SBOM names."""
        for each in _tables(self.document.get("components")):
            if str(each.get("purl", "")).startswith("pkg:pypi/"):
                yield each

    def sbom_hashes(self) -> dict[Distribution, str]:
        """Return the sha256 of each distribution's wheel in the SBOM, "" for one that has none."""
        return {
            distribution(str(each.get("name")), str(each.get("version"))): _sha256_of(each)
            for each in self.components()
        }

    def licences(self) -> dict[Distribution, str]:
        """Return what the SBOM says of each distribution's licence."""
        found = {}
        for each in self.components():
            names = []
            for stated in _tables(each.get("licenses")):
                (licence,) = _tables([stated.get("license")]) or [{}]
                names.append(str(stated.get("expression") or licence.get("name")))
            key = distribution(str(each.get("name")), str(each.get("version")))
            found[key] = ", ".join(names)
        return found


def read_account(contents: Contents) -> Account:
    """Return what the package says of itself; what cannot be read is among its mistakes."""
    mistakes: list[str] = []
    fields = contents.fields
    lock = _parsed(contents, lock_part.FILE, parse_lock, mistakes)
    requirements = build_requirements = None
    commit = fields.get("Git-Commit", "")
    if commit:
        requirements = _parsed(contents, lock_part.REQUIREMENTS, parse_requirements, mistakes)
        if contents.doc(lock_part.BUILD_REQUIREMENTS) is not None:
            build_requirements = _parsed(
                contents, lock_part.BUILD_REQUIREMENTS, parse_requirements, mistakes
            )
    return Account(
        package=fields.get("Package", ""),
        version=fields.get("Version", ""),
        architecture=fields.get("Architecture", ""),
        commit=commit,
        lock=lock,
        lock_sha256=hashlib.sha256(contents.doc(lock_part.FILE) or b"").hexdigest(),
        requirements=requirements,
        build_requirements=build_requirements,
        document=_document(contents, mistakes),
        mistakes=tuple(mistakes),
    )


def installed(contents: Contents) -> dict[Distribution, str]:
    """Return the dist-info folder of each distribution that is in the package."""
    found = {}
    for path, text in contents.texts.items():
        folder, _, name = contents.inside(path).partition("/")
        if name == "METADATA" and folder.endswith(".dist-info"):
            metadata = BytesParser(policy=compat32).parsebytes(text, headersonly=True)
            key = distribution(str(metadata["Name"]), str(metadata["Version"]))
            found[key] = folder
    return found


def _parsed(contents: Contents, name: str, parse: Any, mistakes: list[str]) -> Any:
    content = contents.doc(name)
    if content is None:
        mistakes.append(f"{name} is missing")
        return None
    try:
        return parse(content.decode("utf-8"), name)
    except (DebstackError, ValueError, RecursionError) as error:
        mistakes.append(str(error))
        return None


def _document(contents: Contents, mistakes: list[str]) -> Mapping[str, Any]:
    content = contents.doc(sbom.FILE)
    if content is None:
        mistakes.append(f"{sbom.FILE} is missing")
        return {}
    try:
        document = json.loads(content.decode("utf-8"))
        if not isinstance(document, dict) or document.get("specVersion") != sbom.SPEC:
            raise ValueError(f"it is not CycloneDX {sbom.SPEC}")
        if not all(isinstance(document.get(key), list) for key in ("components", "dependencies")):
            raise ValueError("it has no lists of components and dependencies")
    except (ValueError, RecursionError) as error:
        mistakes.append(f"{sbom.FILE}: {error}")
        return {}
    return document


def _sha256_of(component: Mapping[str, Any]) -> str:
    for each in _tables(component.get("hashes")):
        if each.get("alg") == "SHA-256":
            return str(each.get("content"))
    return ""


def _tables(raw: Any) -> list[dict[str, Any]]:
    """Return the tables in a list of another's JSON; nothing if it is no list."""
    return [each for each in raw if isinstance(each, dict)] if isinstance(raw, list) else []
