"""Making a package from its unpacked source package, where debstack itself comes out of that.

Whoever unpacked it may have changed it: the code, templates and definitions have to be those of the
digest in the lock, the commit's files those of its tree, and every wheel has its hash.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from debstack.errors import LockError, SourceError
from debstack.model.lock import read_lock
from debstack.model.places import lock_file
from debstack.model.reading import load
from debstack.model.uv import uv_lock
from debstack.pipeline.assemble import Parts, assemble
from debstack.pipeline.carried import (
    SOURCE,
    Record,
    read_record,
    read_trusted,
    wheelhouse_folder,
)
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.dependencies import dependencies
from debstack.pipeline.packages import input_digest
from debstack.steps.fetch import tree_digest
from debstack.steps.source_package import tarball, tree
from debstack.steps.wheels import collect
from debstack.uv_program import unpack_uv


def assemble_unpacked(root: Path, project: Path, folder: Path, workshop: Workshop) -> None:
    """Write payload and debian/ of the source package unpacked at ``root`` into ``folder``.

    ``project`` is debstack's folder in it. Raises LockError, SourceError or
    DependencyError naming what is not what the lock says; ``folder`` is not complete then.
    """
    record = read_record(project)
    release = _release(project, record)
    parts = Parts(
        record.package, record.version,
        trusted=read_trusted(project), development=record.development,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="debstack-") as name:
        if record.package in release.lock.components:
            parts = replace(parts, tar=_tar(release, record.package, root, Path(name)))
            workshop = _with_wheelhouse(release, record.package, root, Path(name), workshop)
        assemble(release, parts, folder, workshop)


def _release(project: Path, record: Record) -> Release:
    definition, lock = load(project), read_lock(lock_file(project))
    name = record.package
    targets = {each.name: each for each in definition.stack.targets}
    if record.target not in targets or name not in lock.packages:
        raise LockError(
            f"{lock_file(project)} and stack.toml do not know {name} for {record.target}",
            hint="unpack the source package anew: dpkg-source --extract",
        )
    target = targets[record.target]
    digest = input_digest(project, name, definition, lock.components.get(name), target)
    if lock.packages[name].inputs.get(target.name) != digest:
        raise LockError(
            f"{project.name}/ of {name} was changed: its code, templates and definitions are not"
            " those that the lock names",
            hint="unpack the source package anew, or make another one: debstack lock, then"
            " debstack source",
        )
    return Release(project, definition, lock, target)


def _tar(release: Release, component: str, root: Path, folder: Path) -> Path:
    """Return a tar of the commit's files, after comparing them with the lock."""
    tar = tarball(folder / "commit.tar", tree(root / SOURCE), 0)
    wanted, found = release.lock.components[component].tree, tree_digest(tar)
    if found != wanted:
        raise SourceError(
            f"the files in {SOURCE}/ are not those of commit"
            f" {release.lock.components[component].commit}",
            hint="unpack the source package anew: dpkg-source --extract",
            details=[f"in the lock: sha256 {wanted}", f"unpacked:    sha256 {found}"],
        )
    return tar


def _with_wheelhouse(
    release: Release, component: str, root: Path, folder: Path, workshop: Workshop
) -> Workshop:
    """Return a workshop that has the wheels and the uv of the source package, and no network."""
    wheelhouse = root / wheelhouse_folder(release.target.name)
    own = replace(workshop, cache=wheelhouse, offline=True, vendor=None, confined=True)
    for lock in dependencies(release, component):
        collect(lock, own.cache, release.target, own.runner, offline=True)
    (wheel,) = collect(
        uv_lock(release.target), own.cache, release.target, own.runner, offline=True
    )  # fmt: skip
    return replace(own, uv=unpack_uv(wheel, folder))
