"""``debstack build``: make the packages of the locked release, and nothing twice.

Everything is planned first: which packages are there already with the same inputs, and which have
to be built and why. Sources and wheels are fetched next, the only part that needs the network.
Nothing appears in dist/ before every package was built, has proved that it starts, and is signed.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import BuildError, LockError
from debstack.isolation import can_isolate
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Definition, Target
from debstack.model.lock import Lock, LockedComponent
from debstack.model.places import packaging_folder
from debstack.model.trust import policy
from debstack.pipeline import keyring
from debstack.pipeline.assemble import Parts
from debstack.pipeline.built import bring_built
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.dependencies import dependencies
from debstack.pipeline.make import Built, finish, recorded
from debstack.pipeline.packages import Names, input_digest, release_packages
from debstack.pipeline.parallel import parallel
from debstack.pipeline.rooted import rooted
from debstack.pipeline.unsigned import Unsigned, kept, unsigned
from debstack.process import Runner
from debstack.steps.fetch import Exported, Places, Wanted, export
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

    def shelf(self, target: Target) -> Path:
        """Return where the packages of a target are kept between builds."""
        return self.build / "packages" / target.name

    def package(self, target: Target, name: str, version: str) -> Path:
        """Return where a built package and its log are kept."""
        return kept(self.shelf(target), name, version)

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
    *,
    in_root: bool,
) -> list[Built]:
    """Build, prove and sign what ``actions`` say; return every package, built or there already.

    What could be made is signed and kept, although another one failed. With ``in_root`` they are
    made in a clean root of the target. Raises BuildError, StartError or SigningError of the first
    package that failed.
    """
    wanted = {action.package: action for action in actions if action.build}
    if not wanted:
        return [_kept(release, folders, action) for action in actions]
    demand_machine(release.target, workshop.runner)
    orders = [parts(release, keys, each, sources, workshop) for each in wanted.values()]
    make = rooted if in_root else unsigned
    outcome = make(
        release, heaviest_first(release, orders), folders.shelf(release.target), workshop
    )

    def one(made: Unsigned) -> Built:
        action = wanted[made.package]
        keep = folders.package(release.target, made.package, made.version)
        key = keys.of_package(keyring=_is_keyring(release, made.package))
        return finish(release, made, action.inputs, key, keep, workshop)

    built = {each.package: each for each in parallel(workshop.jobs, one, outcome.made)}
    if outcome.failure:
        raise outcome.failure
    return [
        built[action.package] if action.build else _kept(release, folders, action)
        for action in actions
    ]


def demand_machine(target: Target, runner: Runner) -> None:
    """Raise BuildError unless this machine can run what is built for ``target``."""
    own = runner.capture(["dpkg", "--print-architecture"]).text.strip()
    if own != target.architecture:
        raise BuildError(
            f"{target.name} is for {target.architecture} and this machine is {own}: what is built"
            " has to run here, to be compiled and to be proved to start",
            hint=f"build on a machine of {target.architecture}",
        )


def parts(
    release: Release,
    keys: Keys,
    action: Action,
    sources: Mapping[str, Exported],
    workshop: Workshop,
) -> Parts:
    """Return what the package of ``action`` is made from."""
    found = sources.get(action.package)
    made = Parts(action.package, action.version, found.tar if found else None)
    if not _is_keyring(release, action.package):
        return made
    trusted = keyring.trusted_keys(release.project, keys, workshop.runner)
    return replace(made, trusted=trusted, development=keys.development)


def heaviest_first(release: Release, orders: Sequence[Parts]) -> list[Parts]:
    """Return ``orders`` so that the small ones fill in beside the one that takes longest."""
    return sorted(orders, key=lambda each: _weight(release, each.package), reverse=True)


def _kept(release: Release, folders: Folders, action: Action) -> Built:
    record = recorded(folders.package(release.target, action.package, action.version))
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
    folder = folders.package(release.target, name, version)
    record = recorded(folder)
    if record is None:
        return Action(name, version, inputs, True, "not built yet")
    if record.inputs != inputs:
        return Action(name, version, inputs, True, "its inputs changed")
    signer = keys.of_package(keyring=_is_keyring(release, name))
    if record.key != signer.fingerprint:
        return Action(name, version, inputs, True, "it is signed with another key")
    deb = folder / record.file
    if not deb.is_file() or sha256_of(deb) != record.sha256:
        return Action(name, version, inputs, True, "the built file is missing or was changed")
    if not all((folder / each).is_file() for each in record.beside):
        return Action(name, version, inputs, True, "what goes with the built file is missing")
    return Action(name, version, inputs, False, "unchanged")


def _is_keyring(release: Release, package: str) -> bool:
    return package == Names.of(release.definition).keyring


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
    source = _source(release, name, release.lock.components[name], workshop)
    for lock in dependencies(release, name):
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
