"""Put a built release into dist/<release>, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from debstack.archive.tree import sync_all
from debstack.digest import sha256_of
from debstack.errors import BuildError, LockError
from debstack.keys import Keys
from debstack.model.lock import Lock, read_lock
from debstack.model.places import locks_folder
from debstack.pipeline.attest import PROVENANCE
from debstack.pipeline.build import Folders
from debstack.pipeline.contents import Release
from debstack.pipeline.dependencies import dependencies
from debstack.pipeline.diff import read_requirements
from debstack.pipeline.make import Built
from debstack.process import Runner
from debstack.steps import sign

_LOCK, _LOCKS = "repos.lock", "locks"


def collect_release(
    release: Release, folders: Folders, keys: Keys, built: Sequence[Built], runner: Runner
) -> Path:
    """Put the packages and what goes with them, the lock and a manifest into dist/<release>.

    SHA256SUMS names every file, and is signed; the dependency locks are named by the lock, which is
    the one that was built, whatever the project has by now. A folder that has exactly these already
    is left alone, so that a second build leaves identical files. Packages of the release that were
    built earlier stay, unless they were made from another lock with its id. Returns the folder.
    Raises SigningError, LockError if the dependencies are no longer those of the lock, and
    BuildError for what was built earlier and cannot be read.
    """
    folder = folders.release(release.lock.release)
    _recover(folder)
    wanted = {
        name: folders.package(release.target, each.package, each.version) / name
        for each in built
        for name in (each.file, *each.beside)
    }
    earlier = folder if _has_lock(folder, release.lock) else None
    manifest = _manifest(release, earlier, built)
    manifest_name = f"{release.target.name}.json"
    lock, locks = release.lock.text().encode(), _locks(release, folder)
    if _is_complete(folder, wanted, manifest_name, manifest, lock, locks):
        return folder
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    before = _earlier(earlier, manifest_name, manifest) if earlier else {}
    for name, source in {**before, **wanted}.items():
        _link_or_copy(source, temporary / name)
    (temporary / manifest_name).write_text(manifest, encoding="utf-8")
    (temporary / _LOCK).write_bytes(lock)
    for name, text in locks.items():
        path = temporary / _LOCKS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    files = sorted(path for path in temporary.iterdir() if path.is_file())
    sign.checksums(temporary, files, keys.package, runner)
    # A name may reach the disk before the content: what has the release's name is whole.
    sync_all([temporary, *temporary.rglob("*")])
    _swap(temporary, folder)
    return folder


def _has_lock(folder: Path, lock: Lock) -> bool:
    """Whether what ``folder`` has was made from ``lock``.

    Another one may have the release id too: where the lock was put back with git, and locked again.
    """
    try:
        return read_lock(folder / _LOCK) == lock
    except LockError:
        return False


def _manifest(release: Release, earlier: Path | None, built: Sequence[Built]) -> str:
    """Return what is in the release, for machines; a part that is in ``earlier`` stays.

    What a manifest said that cannot be read is built again with the next complete build.
    """
    named = _named(earlier / f"{release.target.name}.json") if earlier else None
    packages = {
        each["package"]: each for each in named or () if each["package"] in release.lock.packages
    }
    for each in built:
        entry = asdict(each)
        # How long it took and whether it was cached differ from run to run.
        packages[each.package] = {k: v for k, v in entry.items() if k not in ("seconds", "built")}
    document = {
        "release": release.lock.release,
        "target": release.target.name,
        "packages": [packages[name] for name in sorted(packages)],
    }
    return json.dumps(document, indent=2) + "\n"


def _locks(release: Release, folder: Path) -> dict[str, bytes]:
    """Return the dependency locks that the lock names, by path.

    Those of other targets are taken from ``folder`` where the project has others by now.
    """
    for component in release.definition.components:
        dependencies(release, component.name)
    found = read_requirements(release.lock, folder / _LOCKS)
    found |= read_requirements(release.lock, locks_folder(release.project))
    return {name: each.text().encode() for name, each in found.items()}


def _is_complete(
    folder: Path,
    wanted: dict[str, Path],
    manifest_name: str,
    manifest: str,
    lock: bytes,
    locks: dict[str, bytes],
) -> bool:
    if not (folder / "SHA256SUMS.asc").is_file():
        return False
    same = all(
        (folder / name).is_file()
        # One file where both folders are on one disk; else it has to be read.
        and ((folder / name).samefile(source) or sha256_of(folder / name) == sha256_of(source))
        for name, source in wanted.items()
    )
    return (
        same
        and (folder / manifest_name).is_file()
        and (folder / manifest_name).read_bytes() == manifest.encode()
        and (folder / _LOCK).is_file()
        and (folder / _LOCK).read_bytes() == lock
        and all(
            (folder / _LOCKS / name).is_file() and (folder / _LOCKS / name).read_bytes() == text
            for name, text in locks.items()
        )
    )


def _earlier(folder: Path, manifest_name: str, manifest: str) -> dict[str, Path]:
    """Return what ``folder`` has of the release already: its other packages and targets.

    Raises BuildError if another target's manifest cannot be read: its packages would be lost.
    """
    packages = json.loads(manifest)["packages"]
    others = [path for path in _manifests(folder) if path.name != manifest_name]
    for path in others:
        named = _named(path)
        if named is None:
            raise BuildError(
                f"{path} is not the manifest of a release, or not all of it",
                hint=f"rm {path}; then for that target again: debstack build --target {path.stem}",
            )
        packages += named
    names = [name for each in packages for name in (each["file"], *each.get("beside", ()))]
    found = [*others, *(folder / name for name in names if (folder / name).is_file())]
    return {path.name: path for path in found}


def _named(manifest: Path) -> list[dict[str, Any]] | None:
    """Return the packages that a manifest names, None if there is none, or not all of it."""
    try:
        named = json.loads(manifest.read_bytes())["packages"]
        whole = all(isinstance(each["package"] + each["file"], str) for each in named)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return list(named) if whole else None


def _manifests(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.json") if not path.name.endswith(PROVENANCE)]


def _recover(folder: Path) -> None:
    """Put the folder back that a build killed between the two renames of ``_swap`` left aside."""
    old = _old(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _swap(new: Path, folder: Path) -> None:
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
