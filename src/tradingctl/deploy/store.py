"""The packages of the releases that were verified, kept on the server: going back needs no network.

A release is a directory of its own, complete by itself: its .debs, hard links where the file system
allows, the descriptions of its components, and a manifest with checksums. ``dpkg -i`` of its .debs
is all it takes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tradingctl import tree
from tradingctl.deploy.debs import read_deb
from tradingctl.deploy.keptkeys import keep_signers
from tradingctl.description import Component, Stack, Unit
from tradingctl.errors import ProgramFailedError, StoreError, TradingError
from tradingctl.files import sha256, sync_directory, sync_file, write_whole
from tradingctl.inventory import (
    STACK,
    Inventory,
    installed_versions,
    read_inventory,
    read_inventory_at,
    service,
)
from tradingctl.paths import Paths
from tradingctl.server import Server

KEPT_RELEASES = 3
MANIFEST = "manifest.json"
COMPONENTS = "components"
"""The name under which components that were verified without the stack are kept, the last alone."""
INCOMING = ".incoming"
NEW = ".new"


@dataclass(frozen=True)
class KeptPackage:
    """One package of a kept release; ``size`` in bytes."""

    version: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Kept:
    """A release that was verified and is kept; ``version`` is the one of the stack's package.

    It is empty for components that were verified without that package. ``verified_at`` orders the
    kept releases, and is later than the others had when this one was verified, whatever the clock
    said.
    """

    release: str
    stack: str
    version: str
    packages: Mapping[str, KeptPackage]
    verified_at: str

    @property
    def versions(self) -> dict[str, str]:
        """The version of every package of the release."""
        return {name: package.version for name, package in self.packages.items()}


@dataclass(frozen=True)
class Removal:
    """A kept release that may go, and why."""

    release: str
    reason: str


def folder_of(paths: Paths, release: str) -> Path:
    """Return where a release is kept."""
    return paths.releases / release


def kept_releases(paths: Paths) -> list[Kept]:
    """Return the kept releases, the one that was verified last first.

    One whose manifest cannot be read is left out.
    """
    found = []
    for manifest in paths.releases.glob(f"[!.]*/{MANIFEST}"):
        try:
            found.append(_read(manifest))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return sorted(found, key=lambda each: each.verified_at, reverse=True)


def kept_release(paths: Paths, release: str) -> Kept:
    """Return a kept release; raises StoreError naming those there are."""
    known = kept_releases(paths)
    for kept in known:
        if kept.release == release:
            return kept
    names = ", ".join(each.release for each in known) or "none"
    raise StoreError(
        f"release {release} is not kept in {paths.shown(paths.releases)}; kept: {names}",
        "tradingctl history",
    )


def _read(manifest: Path) -> Kept:
    data = json.loads(manifest.read_text(encoding="utf-8"))
    packages = {name: KeptPackage(**each) for name, each in data["packages"].items()}
    return Kept(**{**data, "packages": packages})


def _text(kept: Kept) -> str:
    return json.dumps(asdict(kept), indent=2, sort_keys=True) + "\n"


def inventory_of(paths: Paths, kept: Kept) -> Inventory:
    """Return the components of a kept release, or of a part of it. Raises StoreError."""
    folder = folder_of(paths, kept.release) / "descriptions"
    try:
        found = read_inventory_at(folder / "components", folder / "stack.json")
    except TradingError as error:
        raise StoreError(error.message, "tradingctl rollback --dry-run") from error
    wanted = [each for each in found.components if each.package in kept.packages]
    return replace(found, components=tuple(wanted))


def declared(server: Server) -> Inventory:
    """Return what is installed, by its own descriptions or those of the last verified release.

    For what must happen although a description cannot be read, such as the backup before what mends
    it. Raises TradingError when there is none.
    """
    try:
        return read_inventory(server.paths)
    except TradingError as error:
        for kept in kept_releases(server.paths):
            with contextlib.suppress(TradingError):
                inventory = inventory_of(server.paths, kept)
                server.warn(
                    f"warning: {error.message}; what release {kept.release} has of services and"
                    " databases is gone by"
                )
                return inventory
        raise


def dropped_units(paths: Paths, component: Component) -> list[Unit]:
    """Return the units that a kept release has of a component, and its present version has not."""
    present = {service(unit.name) for unit in component.units}
    dropped: dict[str, Unit] = {}
    for kept in kept_releases(paths):
        with contextlib.suppress(TradingError):
            for owner, unit in inventory_of(paths, kept).units():
                if owner.package == component.package and service(unit.name) not in present:
                    dropped[service(unit.name)] = unit
    return list(dropped.values())


def damage(paths: Paths, kept: Kept) -> str:
    """Return what is wrong with the files of a kept release, empty when they are whole."""
    folder = folder_of(paths, kept.release)
    return next(filter(None, (_damage(folder, each) for each in kept.packages.values())), "")


def _damage(folder: Path, package: KeptPackage) -> str:
    path = folder / package.file
    try:
        if path.stat().st_size != package.size or sha256(path) != package.sha256:
            return f"{path} is not the file that was verified"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def debs_of(paths: Paths, kept: Kept, packages: Sequence[str]) -> list[Path]:
    """Return the files of some packages of a kept release."""
    return [folder_of(paths, kept.release) / kept.packages[name].file for name in packages]


def keep_incoming(paths: Paths, debs: Mapping[str, Path]) -> None:
    """Keep package files, by the names they are to have, until the gate decides on their release.

    Raises OSError; nothing of an earlier try is left then.
    """
    discard_incoming(paths)
    incoming = paths.releases / INCOMING
    incoming.mkdir(mode=0o700, parents=True)
    try:
        for name, path in debs.items():
            _link_or_copy(path, incoming / name)
    except OSError:
        discard_incoming(paths)
        raise


def discard_incoming(paths: Paths) -> None:
    """Forget what was kept of a release that is not to be had."""
    tree.remove(paths.releases / INCOMING)


def is_linked(paths: Paths, path: Path) -> bool:
    """Return whether a file is kept by a link, which needs no room. Raises OSError."""
    existing = next(each for each in (paths.releases, *paths.releases.parents) if each.exists())
    return _is_ours(path) and path.stat().st_dev == existing.stat().st_dev


def _is_ours(path: Path) -> bool:
    # What belongs to somebody else can be altered by them.
    return path.stat().st_uid == os.geteuid()


def seal(server: Server, stack: Stack, verified_at: str) -> Kept:
    """Keep the installed release, which was verified, and return what is kept.

    Raises StoreError naming a package of which no file can be found, OSError.
    """
    versions = {**stack.packages, stack.package: stack.version}
    kept = _seal(
        server, Kept(stack.release, stack.package, stack.version, {}, verified_at), versions
    )
    tree.remove(folder_of(server.paths, COMPONENTS))
    return kept


def seal_components(server: Server, verified_at: str) -> None:
    """Keep what is installed of the last release, whose stack was removed; it was verified.

    Not where there never was a release. Raises as ``seal`` does, ProgramFailedError.
    """
    names = {name for kept in kept_releases(server.paths) for name in kept.packages}
    if names:
        versions = installed_versions(server.runner, sorted(names - {STACK}))
        _seal(server, Kept(COMPONENTS, STACK, "", {}, verified_at), versions)


def _seal(server: Server, wanted: Kept, versions: Mapping[str, str]) -> Kept:
    paths = server.paths
    wanted = replace(wanted, verified_at=_after(kept_releases(paths), wanted.verified_at))
    for kept in kept_releases(paths):
        if kept.release == wanted.release and kept.versions == versions and not damage(paths, kept):
            again = replace(kept, verified_at=wanted.verified_at)
            write_whole(folder_of(paths, kept.release) / MANIFEST, _text(again), 0o600)
            discard_incoming(paths)
            return again
    new = paths.releases / NEW
    tree.remove(new)
    new.mkdir(mode=0o700, parents=True)
    try:
        packages = {}
        for name, version in versions.items():
            file = _find(server, name, version, new)
            sync_file(file)  # what was downloaded just now may be in memory alone
            packages[name] = KeptPackage(version, file.name, sha256(file), file.stat().st_size)
        _keep_descriptions(paths, versions, new / "descriptions")
        keep_signers(server, new, {name: each.file for name, each in packages.items()})
        kept = replace(wanted, packages=packages)
        write_whole(new / MANIFEST, _text(kept), 0o600)
        final = folder_of(paths, kept.release)
        aside = paths.releases / ".old"
        tree.remove(aside)
        if final.exists():
            final.rename(aside)
        new.rename(final)
        sync_directory(paths.releases)
        tree.remove(aside)
    finally:
        tree.remove(new)
    discard_incoming(paths)
    return kept


def _after(kept: Sequence[Kept], verified_at: str) -> str:
    """Return a time that is later than those of all kept releases, the given one if it is.

    With a clock that went back, the release that was verified just now would be the one that goes.
    """
    newest = kept[0].verified_at if kept else ""
    if verified_at > newest:
        return verified_at
    try:
        return (datetime.fromisoformat(newest) + timedelta(seconds=1)).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return verified_at  # somebody wrote it by hand


def surplus(kept: Sequence[Kept], keep: int = KEPT_RELEASES) -> list[Removal]:
    """Return the releases that may go, of ``kept`` as ``kept_releases`` has it."""
    reason = f"verified before the last {keep}"
    return [Removal(each.release, reason) for each in kept[keep:]]


def collect(server: Server) -> list[Removal]:
    """Remove the surplus releases and return them; raises OSError."""
    removals = surplus(kept_releases(server.paths))
    for removal in removals:
        tree.remove(folder_of(server.paths, removal.release))
    return removals


def _keep_descriptions(paths: Paths, packages: Iterable[str], folder: Path) -> None:
    (folder / "components").mkdir(parents=True)
    if paths.stack.is_file():
        shutil.copy(paths.stack, folder / "stack.json")
    for package in packages:
        description = paths.components / f"{package}.json"
        if description.is_file():  # the package of tradingctl itself has none
            shutil.copy(description, folder / "components")
    for each in (*folder.glob("*.json"), *folder.glob("components/*.json")):
        sync_file(each)
    sync_directory(folder / "components")
    sync_directory(folder)


def _find(server: Server, package: str, version: str, new: Path) -> Path:
    """Put the file of a package into ``new`` and return it there."""
    for path in _places(server.paths, package, version):
        try:
            deb = read_deb(server.runner, path)
        except ProgramFailedError:
            continue  # there may be a whole one elsewhere
        if (deb.package, deb.version) == (package, version):
            _link_or_copy(path, new / deb.name)
            return new / deb.name
    # The hook that keeps what apt installs is not there before its own installation.
    command = ["env", "-C", str(new), "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"]
    outcome = server.runner.run([*command, f"{package}={version}"], timeout=600.0)
    for path in new.glob(f"{package}_*.deb"):
        deb = read_deb(server.runner, path)
        if (deb.package, deb.version) == (package, version):
            return path.rename(new / deb.name)
    raise StoreError(
        f"the file of {package} {version} is nowhere to be found: {outcome.said}",
        "apt-get update && dpkg-reconfigure traderunner-stack",
    )


def _places(paths: Paths, package: str, version: str) -> Iterator[Path]:
    """Give the files that may be the package's, those that cost no space first."""
    pattern = f"{package}_{version.partition(':')[2] or version}_*.deb"
    yield from (paths.releases / INCOMING).glob(pattern)
    for kept in kept_releases(paths):
        # A damaged file must not become, with a new checksum, one that was verified.
        folder, known = folder_of(paths, kept.release), kept.packages.get(package)
        if known and known.version == version and not _damage(folder, known):
            yield folder / known.file
    yield from (paths.root / "var/cache/apt/archives").glob(pattern)


def _link_or_copy(source: Path, target: Path) -> None:
    if _is_ours(source):
        try:
            target.hardlink_to(source)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    shutil.copy(source, target)
    sync_file(target)
