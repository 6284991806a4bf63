"""A locked release of the demo project, for tests that do not build it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tests.unit.debstack.pipeline.world import World, world

from debstack.gpg import Key
from debstack.keys import Keys
from debstack.model.lock import Lock
from debstack.pipeline.build import Folders
from debstack.pipeline.contents import Release
from debstack.pipeline.make import Built
from debstack.pipeline.packages import input_digest, release_packages

KEYS = Keys(
    Key("A" * 40, Path("/home"), None, None, development=False),
    Key("B" * 40, Path("/home"), None, None, development=False),
)
DEVELOPMENT = Keys(
    Key("C" * 40, None, Path("/c"), None, development=True),
    Key("D" * 40, None, Path("/d"), None, development=True),
)


def release(folder: Path) -> Release:
    """Lock the demo project in ``folder``, with the digests of what really enters packages."""
    made: World = world(folder)
    made.lock()
    definition, locked = made.definition(), made.previous()
    assert locked is not None
    target = definition.stack.targets[0]
    sample = next(iter(locked.packages.values()))
    packages = {
        name: replace(
            locked.packages.get(name, sample),
            inputs={
                target.name: input_digest(
                    folder, name, definition, locked.components.get(name), target
                )
            },
        )
        for name in release_packages(definition)
    }
    lock: Lock = replace(locked, packages=packages)
    lock.write(folder / "packaging/repos.lock")
    return Release(folder, definition, lock, target)


def folders(release: Release) -> Folders:
    """Return where the release is built."""
    return Folders(release.project / "build", release.project / "dist")


def record(release: Release, name: str, *, content: bytes = b"deb", key: str = "A" * 40) -> Built:
    """Pretend that ``name`` was built: leave its file and return its record."""
    version = release.version(name)
    keep = folders(release).package(release.target, name, version)
    keep.mkdir(parents=True, exist_ok=True)
    file = f"{name}_{version}_amd64.deb"
    (keep / file).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    inputs = release.lock.packages[name].inputs[release.target.name]
    return Built(
        package=name, version=version, file=file, size=len(content), installed_size=1024,
        sha256=digest, payload=digest, inputs=inputs, key=key, seconds=1.5, built=True,
    )  # fmt: skip
