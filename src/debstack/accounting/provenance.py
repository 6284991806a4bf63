"""How a .deb came about: an in-toto statement with a SLSA provenance, without times and numbers.

Everything in it follows from the lock, the package and who built it. When it was built, and with
which versions of Debian's tools, is in the .buildinfo that it names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from debstack.accounting.sbom import vcs_uri
from debstack.model.lock import LockedComponent
from debstack.model.requirements import LockedWheel

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:debstack:build:v1"
BUILDER = "openpgp4fpr:"

Json = dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A file by its name and its sha256."""

    name: str
    sha256: str

    def descriptor(self) -> Json:
        """Return it as in-toto's ResourceDescriptor."""
        return {"name": self.name, "digest": {"sha256": self.sha256}}


@dataclass(frozen=True)
class Build:
    """What was built from what, by whom.

    ``unsigned`` is the .deb before the signature was added: what a rebuild gives. ``parameters``
    name the package; ``inputs`` is the lock's digest of everything that shapes it.
    """

    deb: Artifact
    unsigned: Artifact
    buildinfo: Artifact
    lock: Artifact
    parameters: Mapping[str, str]
    inputs: str
    component: LockedComponent | None
    wheels: Sequence[LockedWheel]
    build_wheels: Sequence[LockedWheel]
    key: str
    development: bool


def statement(build: Build) -> str:
    """Return the statement about ``build`` as JSON."""
    builder: Json = {"id": f"{BUILDER}{build.key}"}
    if build.development:
        builder["version"] = {"debstack": "signed with a DEVELOPMENT key: do not trust"}
    document = {
        "_type": STATEMENT,
        "subject": [build.deb.descriptor()],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(build.parameters),
                "internalParameters": {"inputs": build.inputs},
                "resolvedDependencies": _dependencies(build),
            },
            "runDetails": {
                "builder": builder,
                "byproducts": [
                    {**build.unsigned.descriptor(), "annotations": {"signed": False}},
                    build.buildinfo.descriptor(),
                ],
            },
        },
    }
    return json.dumps(document, indent=1) + "\n"


def _dependencies(build: Build) -> list[Json]:
    found = [build.lock.descriptor()]
    if build.component:
        found.append(
            {
                "uri": f"git+{vcs_uri(build.component.url)}@{build.component.commit}",
                "digest": {"gitCommit": build.component.commit},
                "annotations": {"treeSha256": build.component.tree},
            }
        )
    found += [_wheel(each, "run") for each in build.wheels]
    found += [_wheel(each, "build") for each in build.build_wheels]
    return found


def _wheel(wheel: LockedWheel, purpose: str) -> Json:
    return {
        "name": wheel.filename,
        "uri": f"pkg:pypi/{wheel.name}@{quote(wheel.version, safe='')}",
        "digest": {"sha256": wheel.sha256},
        "annotations": {"purpose": purpose},
    }
