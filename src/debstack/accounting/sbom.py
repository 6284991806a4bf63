"""A package's software bill of materials, CycloneDX 1.6: the same bytes for the same lock.

Written here because no generator knows both what is installed (licences) and what was locked (the
hashes of the wheels), and because they put random numbers and the time of the day into it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

from debstack.accounting import wheel_sbom
from debstack.accounting.bundled import Bundled
from debstack.accounting.wheel_sbom import Json
from debstack.model.requirements import LockedWheel

FILE = "sbom.cdx.json"
SPEC = "1.6"
# Of a name in the document's own properties.
WHEEL, LICENCE_FILE, TREE, RELEASE = (
    f"debstack:{name}" for name in ("wheel", "licence-file", "tree-sha256", "release")
)
NOT_MERGED = "debstack:sbom-not-merged"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_SCP_LIKE = re.compile(r"([^/:@]+@[^/:]+):(?!//)(.*)")


@dataclass(frozen=True)
class Subject:
    """The package that the document is about.

    ``vendor`` is the namespace of its purl, ``timestamp`` (epoch seconds) that of its lock. A
    component has a ``url``, a ``commit`` and the sha256 of its ``tree``; other packages have "".
    """

    package: str
    version: str
    architecture: str
    distribution: str
    vendor: str
    release: str
    timestamp: int
    summary: str
    url: str = ""
    commit: str = ""
    tree: str = ""

    @property
    def purl(self) -> str:
        """The package URL of the .deb."""
        return deb_purl(
            self.vendor, self.package, self.version, self.architecture, self.distribution
        )


def sbom(
    subject: Subject,
    bundled: Sequence[Bundled],
    wheels: Mapping[str, LockedWheel],
    site_packages: str,
) -> str:
    """Return the document for a component's package.

    ``wheels`` are those of the lock by normalised name; a distribution that is not among them was
    built from the component's commit. ``site_packages`` is where they lie in the package.
    """
    references = {str(canonicalize_name(each.name)): _purl(each) for each in bundled}
    dependencies = [_edge(subject.purl, references.values())]
    components = []
    for one in bundled:
        locked = wheels.get(canonicalize_name(one.name))
        component, edges = _distribution(one, locked, subject, site_packages)
        components.append(component)
        dependencies += [_edge(component["bom-ref"], _required(one, references)), *edges]
    return _document(subject, components, dependencies)


def sbom_of_packages(subject: Subject, packages: Mapping[str, Subject]) -> str:
    """Return the document for a package that bundles nothing, and names other packages exactly."""
    components = [
        {"type": "application", "bom-ref": each.purl, "name": name, "version": each.version,
         "purl": each.purl}
        for name, each in sorted(packages.items())
    ]  # fmt: skip
    dependencies = [_edge(subject.purl, [each["bom-ref"] for each in components])]
    return _document(subject, components, dependencies)


def deb_purl(vendor: str, package: str, version: str, architecture: str, distribution: str) -> str:
    """Return the package URL of a .deb."""
    return (
        f"pkg:deb/{quote(vendor)}/{quote(package)}@{quote(version, safe='~')}"
        f"?arch={quote(architecture)}&distro={quote(distribution)}"
    )


def vcs_uri(url: str) -> str:
    """Return a repository's URL as a URI: what git takes need not be one."""
    match = _SCP_LIKE.fullmatch(url)
    text = f"ssh://{match[1]}/{match[2].removeprefix('/')}" if match else url
    return quote(text, safe="/:?#[]@!$&'()*+,;=%~._-")


def _document(subject: Subject, components: list[Json], dependencies: list[Json]) -> str:
    document: Json = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(subject.timestamp, UTC).isoformat(),
            "tools": {"components": [{"type": "application", "name": "debstack"}]},
            "component": _subject(subject),
        },
        "components": components,
        "dependencies": dependencies,
    }
    # Another document, another number; the same document, the same number.
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document)).urn
    return json.dumps(document, indent=1) + "\n"


def _subject(subject: Subject) -> Json:
    component: Json = {
        "type": "application",
        "bom-ref": subject.purl,
        "name": subject.package,
        "version": subject.version,
        "description": subject.summary,
        "purl": subject.purl,
    }
    properties = {RELEASE: subject.release}
    if subject.commit:
        url = vcs_uri(subject.url)
        component["externalReferences"] = [{"type": "vcs", "url": url}]
        component["pedigree"] = {"commits": [{"uid": subject.commit, "url": url}]}
        properties[TREE] = subject.tree
    component["properties"] = _properties(properties.items())
    return component


def _distribution(
    one: Bundled, locked: LockedWheel | None, subject: Subject, site_packages: str
) -> tuple[Json, list[Json]]:
    reference = _purl(one)
    component: Json = {
        "type": "library",
        "bom-ref": reference,
        "name": one.name,
        "version": one.version,
        "purl": reference,
    }
    if one.author:
        component["author"] = one.author
    properties: list[tuple[str, str]] = []
    if locked:
        component["hashes"] = [{"alg": "SHA-256", "content": locked.sha256}]
        properties.append((WHEEL, locked.filename))
    else:
        url = vcs_uri(subject.url)
        component["pedigree"] = {"commits": [{"uid": subject.commit, "url": url}]}
    if one.expression:
        component["licenses"] = [{"expression": one.expression, "acknowledgement": "declared"}]
    elif one.statement:
        component["licenses"] = [
            {"license": {"name": one.statement, "acknowledgement": "declared"}}
        ]
    properties += [(LICENCE_FILE, f"{each.sha256} {each.path}") for each in one.licences]
    parts, edges, notes = _brought(one, reference)
    if parts:
        component["components"] = parts
    if one.sboms:
        component["externalReferences"] = [
            {"type": "bom", "url": "file:///" + quote(f"{site_packages}/{name}")}
            for name, _ in one.sboms
        ]
    component["properties"] = _properties([*properties, *notes])
    return component, edges


def _brought(one: Bundled, reference: str) -> tuple[list[Json], list[Json], list[tuple[str, str]]]:
    """Return components and dependencies of the SBOMs in the wheel, and which say nothing."""
    parts: list[Json] = []
    edges: list[Json] = []
    notes = []
    for name, content in one.sboms:
        try:
            merged = wheel_sbom.merge(content, f"{reference}#{quote(name.rpartition('/')[2])}")
        except wheel_sbom.NotMergeableError as error:
            notes.append((NOT_MERGED, f"{name}: {error}"))
            continue
        parts += merged.components
        edges += merged.dependencies
    return parts, edges, notes


def _required(one: Bundled, references: Mapping[str, str]) -> list[str]:
    """Return the references of the distributions that ``one`` asks for and that are installed.

    A marker need not be evaluated: what is not for the target is not there. An extra is nobody's
    word that it was wanted.
    """
    found = set()
    for text in one.requires:
        requirement, _, marker = text.partition(";")
        name = _NAME.match(requirement.strip())
        if name and not re.search(r"\bextra\b", marker):
            found.add(references.get(canonicalize_name(name[0]), ""))
    return sorted(found - {"", _purl(one)})


def _purl(one: Bundled) -> str:
    return f"pkg:pypi/{canonicalize_name(one.name)}@{quote(one.version, safe='')}"


def _edge(reference: str, on: Any) -> Json:
    return {"ref": reference, "dependsOn": sorted(set(on))}


def _properties(pairs: Any) -> list[Json]:
    return [{"name": name, "value": value} for name, value in pairs]
