"""``debstack build``: make the packages of the locked release, and nothing twice.

Everything is planned first: which packages are there already with the same inputs, and which have
to be built and why. Sources and wheels are fetched next, the only part that needs the network.
Nothing appears in dist/ before every package was built, has proved that it starts, and is signed.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import BuildError, LockError
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Definition, Target
from debstack.model.lock import Lock, LockedComponent
from debstack.model.places import packaging_folder
from debstack.model.trust import policy
from debstack.pipeline import keyring
from debstack.pipeline.built import bring_built
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.make import Built, Order, make, recorded
from debstack.pipeline.packages import Names, input_digest, release_packages
from debstack.process import require
from debstack.steps.fetch import Exported, Places, Wanted, export
from debstack.steps.prove import can_isolate
from debstack.steps.wheels import collect


@dataclass(frozen=True)
class Action:
    """One package of the release: whether it is to be built, and why or why not."""

    package: str
    version: str
    inputs: str
    build: bool
    reason: str


@dataclass(frozen=True)
class Folders:
    """Where a build keeps its things: work and logs in ``build``, results in ``dist``."""

    build: Path
    dist: Path

    def package(self, target: str, name: str, version: str) -> Path:
        """Return where a built package and its log are kept between builds."""
        return self.build / "packages" / target / f"{name}_{version}"

    def release(self, release: str) -> Path:
        """Return where a release's signed packages are."""
        return self.dist / release


@contextmanager
def locked(folders: Folders, log: Log) -> Iterator[None]:
    """Keep a second build of the same project waiting: they share folders."""
    folders.build.mkdir(parents=True, exist_ok=True)
    with (folders.build / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.say("build", "another build of this project is at work, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_release(project: Path, definition: Definition, lock: Lock, target: Target) -> Release:
    """Return the release after checking that the lock describes what would be built.

    Raises LockError naming every package whose inputs are not those in the lock.
    """
    stale = []
    for name in release_packages(definition):
        locked = lock.packages.get(name)
        digest = input_digest(project, name, definition, lock.components.get(name), target)
        if locked is None or locked.inputs.get(target.name) != digest:
            stale.append(name)
    if stale:
        raise LockError(
            f"packaging/repos.lock was made from other inputs: {', '.join(stale)}",
            hint="see what differs with `debstack lock --check`, then run: debstack lock",
        )
    return Release(project, definition, lock, target)


def plan(release: Release, folders: Folders, keys: Keys, only: Collection[str]) -> list[Action]:
    """Return what there is to do for each package, or each in ``only``, without doing any of it."""
    names = release_packages(release.definition)
    for name in only:
        if name not in names:
            raise BuildError(
                f"the release has no package {name}", hint=f"it has {', '.join(names)}"
            )
    return [_action(release, folders, keys, name) for name in names if not only or name in only]


def fetch(release: Release, packages: Collection[str], workshop: Workshop) -> dict[str, Exported]:
    """Bring the sources and wheels of the components among ``packages`` into the cache.

    Raises SourceError or DependencyError if something is not to be had or not what is locked.
    """
    sources = {}
    workshop = replace(workshop, isolate=can_isolate(workshop.runner))
    for component in release.definition.components:
        if component.name in packages:
            with workshop.log.step(component.name, "sources and wheels"):
                sources[component.name] = _fetch(release, component.name, workshop)
    return sources


def build(
    release: Release,
    folders: Folders,
    keys: Keys,
    actions: Sequence[Action],
    sources: Mapping[str, Exported],
    workshop: Workshop,
) -> list[Built]:
    """Build, prove and sign what ``actions`` say; return every package, built or there already.

    Raises BuildError, StartError or SigningError of the first package that failed.
    """
    if not any(action.build for action in actions):
        return [_kept(release, folders, action) for action in actions]
    require("dpkg-buildpackage", "dh", "dh_python3", "lintian")
    isolate = can_isolate(workshop.runner)
    workshop = replace(workshop, isolate=isolate)
    if not isolate and sources:
        workshop.log.warn(
            "bubblewrap is missing or may not make namespaces here: services are proved to start"
            " from a copy of the tree, on free ports, and not at their real paths"
        )

    def one(action: Action) -> Built:
        if not action.build:
            return _kept(release, folders, action)
        source = sources.get(action.package)
        order = Order(action.package, action.version, action.inputs, source.tar if source else None)
        keep = folders.package(release.target.name, action.package, action.version)
        return make(release, keys, order, keep, workshop)

    # The heaviest first, so that the small ones fill in beside it.
    ordered = sorted(actions, key=lambda action: _weight(release, action.package), reverse=True)
    with ThreadPoolExecutor(workshop.jobs) as pool:
        results = {action.package: pool.submit(one, action) for action in ordered}
        try:
            done, _ = wait(results.values(), return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
        # What has not begun when one fails does not begin any more.
        pool.shutdown(cancel_futures=any(each.exception() for each in done))
        for each in done:
            each.result()
        return [results[action.package].result() for action in actions]


def _kept(release: Release, folders: Folders, action: Action) -> Built:
    record = recorded(folders.package(release.target.name, action.package, action.version))
    if record is None:
        raise BuildError(
            f"{action.package} {action.version} vanished while the release was built",
            hint="build again",
        )
    return replace(record, built=False)


def _weight(release: Release, package: str) -> int:
    """Return how many bytes of wheels a package has to install."""
    if package not in release.lock.components:
        return 0
    return sum(wheel.size for wheel in release.requirements(package).wheels)


def _action(release: Release, folders: Folders, keys: Keys, name: str) -> Action:
    version, inputs = _identity(release, keys, name)
    folder = folders.package(release.target.name, name, version)
    record = recorded(folder)
    if record is None:
        return Action(name, version, inputs, True, "not built yet")
    if record.inputs != inputs:
        return Action(name, version, inputs, True, "its inputs changed")
    signer = keys.of_package(keyring=name == Names.of(release.definition).keyring)
    if record.key != signer.fingerprint:
        return Action(name, version, inputs, True, "it is signed with another key")
    deb = folder / record.file
    if not deb.is_file() or sha256_of(deb) != record.sha256:
        return Action(name, version, inputs, True, "the built file is missing or was changed")
    if not all((folder / each).is_file() for each in record.beside):
        return Action(name, version, inputs, True, "what goes with the built file is missing")
    return Action(name, version, inputs, False, "unchanged")


def _identity(release: Release, keys: Keys, name: str) -> tuple[str, str]:
    """Return the version and the digest of the inputs of a package."""
    version = release.version(name)
    locked = release.lock.packages[name]
    inputs = locked.inputs[release.target.name]
    if locked.before:
        # The changelog says so.
        inputs = _combined(inputs, locked.before, *locked.changes)
    names = Names.of(release.definition)
    if name == names.stack:
        # It names the versions of the others, which two locks of one release id may not share.
        return version, _combined(
            inputs,
            *map(release.version, release_packages(release.definition)),
            release.lock.text(),
        )
    if name != names.keyring:
        return version, inputs
    stem, _, suffix = version.rpartition("~")
    marked = f"{stem}{keyring.version_mark(release.project, keys)}~{suffix}"
    return marked, _combined(inputs, keyring.key_digest(keys))


def _combined(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _fetch(release: Release, name: str, workshop: Workshop) -> Exported:
    locked = release.lock.components[name]
    source = _source(release, name, locked, workshop)
    target = release.target.name
    locks = [(release.requirements(name), locked.requirements.get(target))]
    if release.definition.component(name).python.install == "wheel":
        locks.append((release.build_requirements(name), locked.build_requirements.get(target)))
    for lock, digest in locks:
        if lock.digest() != digest:
            raise LockError(
                f"packaging/locks/{target}: the dependencies of {name} ({lock.purpose}) are not"
                " those in repos.lock",
                hint="restore the file with git, or run: debstack lock",
                details=[
                    f"in repos.lock: sha256 {digest}",
                    f"in the file:   sha256 {lock.digest()}",
                ],
            )
        bring_built(lock, release.target, workshop)
        collect(
            lock, workshop.cache, release.target, workshop.runner,
            offline=workshop.offline, vendor=workshop.vendor,
        )  # fmt: skip
    return source


def _source(release: Release, name: str, locked: LockedComponent, workshop: Workshop) -> Exported:
    """Return the files of the locked commit, if its policy still accepts it."""
    trusted = policy(release.definition.component(name).source, packaging_folder(release.project))
    wanted = Wanted(locked.url, locked.commit, trusted, locked.refs, locked.tree)
    places = Places(release.project, workshop.cache, workshop.vendor)
    source = export(wanted, places, workshop.runner, offline=workshop.offline)
    if source.vouched.signer != locked.signer:
        raise LockError(
            f"packaging/repos.lock names another signer of {name}",
            hint="restore the file with git, or run: debstack lock",
            details=[f"in the lock: {locked.signer or 'none'}",
                     f"found:       {source.vouched.signer or 'none'}"],
        )  # fmt: skip
    return source
