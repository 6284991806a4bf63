"""What lies beside a .deb in dist/: .buildinfo and .changes, and its provenance, all signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from debstack import gpg
from debstack.accounting import lock_part, provenance, upload
from debstack.accounting.provenance import Artifact
from debstack.digest import sha256_of
from debstack.gpg import Key
from debstack.pipeline.contents import Release
from debstack.pipeline.packages import Names
from debstack.process import Runner
from debstack.steps.package import Package

PROVENANCE = ".provenance.json"
SIGNATURE = ".asc"


@dataclass(frozen=True)
class Attested:
    """A package that was built: what dpkg-buildpackage left, and the .deb that was signed.

    ``unsigned`` is the sha256 of the .deb before that.
    """

    package: str
    version: str
    built: Package
    deb: Path
    unsigned: str


def attest(
    release: Release, attested: Attested, key: Key, folder: Path, runner: Runner
) -> tuple[str, ...]:
    """Write what goes with a .deb into ``folder`` and return the names of the files.

    The provenance has a detached signature, like SHA256SUMS: gpgv verifies it. Raises SigningError.
    """
    built = attested.built
    buildinfo, changes = folder / built.buildinfo.name, folder / built.changes.name
    statement = folder / f"{attested.deb.stem}{PROVENANCE}"
    signature = statement.with_name(statement.name + SIGNATURE)
    with gpg.signing([key], runner) as ring:
        buildinfo.write_bytes(ring.clear(built.buildinfo.read_bytes()))
        text = upload.changes_of(built.changes.read_text("utf-8"), [attested.deb, buildinfo])
        changes.write_bytes(ring.clear(text.encode()))
        content = provenance.statement(_build(release, attested, key, buildinfo)).encode()
        statement.write_bytes(content)
        signature.write_bytes(ring.armored(content))
    return tuple(path.name for path in (buildinfo, changes, statement, signature))


def _build(release: Release, attested: Attested, key: Key, buildinfo: Path) -> provenance.Build:
    name, target = attested.package, release.target
    component = release.lock.components.get(name)
    wheel = component and release.definition.component(name).python.install == "wheel"
    carried = lock_part.carried(release.lock, name, target.name, Names.of(release.definition).stack)
    locked = release.lock.packages[name]
    return provenance.Build(
        deb=Artifact(attested.deb.name, sha256_of(attested.deb)),
        unsigned=Artifact(attested.deb.name, attested.unsigned),
        buildinfo=Artifact(buildinfo.name, sha256_of(buildinfo)),
        lock=Artifact(lock_part.FILE, hashlib.sha256(carried.encode()).hexdigest()),
        parameters={
            "package": name,
            "version": attested.version,
            "release": locked.changed_in,
            "target": target.name,
            "architecture": target.architecture,
        },
        inputs=locked.inputs[target.name],
        component=component,
        wheels=release.requirements(name).wheels if component else (),
        build_wheels=release.build_requirements(name).wheels if wheel else (),
        key=key.fingerprint,
        development=key.development,
    )
