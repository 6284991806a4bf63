"""What a built release offers to the archive, and what has to be true of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from debstack.archive.content import About
from debstack.archive.package import Package, read_package
from debstack.archive.plan import Plan
from debstack.archive.suite import Suite
from debstack.errors import ArchiveError, SigningError
from debstack.model.definition import Channel, Definition, Target
from debstack.model.lock import Lock, read_lock
from debstack.pipeline.keyring import unmarked
from debstack.pipeline.packages import Names, release_packages
from debstack.process import Runner
from debstack.steps import sign


@dataclass(frozen=True)
class BuiltRelease:
    """A folder of dist/, as it was built for one target: the release and its packages."""

    target: Target
    about: About
    debs: tuple[Path, ...]


def suite_of(definition: Definition, target: Target, channel: Channel) -> Suite:
    """Return the apt suite that ``channel`` is on ``target``, as its Release file describes it."""
    archive_definition = definition.stack.archive
    name = f"{target.name}-{channel.name}"
    return Suite(
        name=name,
        codename=name,
        origin=archive_definition.origin,
        label=archive_definition.label,
        description=f"{archive_definition.label}: {channel.name} for {target.name}",
        architectures=(target.architecture,),
        valid_for=timedelta(days=archive_definition.valid_for_days),
        production=channel.production,
    )


def targets_of(folder: Path, definition: Definition) -> tuple[Target, ...]:
    """Return the targets that a release was built for. Raises ArchiveError if it is none."""
    found = tuple(
        target for target in definition.stack.targets if _manifest(folder, target).is_file()
    )
    if not found:
        names = ", ".join(target.name for target in definition.stack.targets)
        raise ArchiveError(
            f"{folder} holds no release built for {names}", hint="run: debstack build"
        )
    return found


def read_built(folder: Path, definition: Definition, target: Target) -> BuiltRelease:
    """Return a built release as it is for ``target``.

    The manifest says which its packages are, so that nothing that merely lies there is published.
    Raises ArchiveError if the release was not built for the target, or only a part of it: servers
    could not install it; and if it names other packages or versions than the lock beside it.
    """
    manifest = _manifest(folder, target)
    if not manifest.is_file():
        raise ArchiveError(
            f"{folder} holds no release built for {target.name}", hint="run: debstack build"
        )
    try:
        document = json.loads(manifest.read_text())
        built = {each["package"]: folder / each["file"] for each in document["packages"]}
        versions = {each["package"]: str(each["version"]) for each in document["packages"]}
        name = str(document["release"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{manifest} is not the manifest of a release, or not all of it: {error}",
            hint="build it again, or copy the release again, whole",
        ) from error
    missing = [name for name in release_packages(definition) if name not in built]
    if missing:
        raise ArchiveError(
            f"{folder} lacks {', '.join(missing)} for {target.name}", hint="run: debstack build"
        )
    lock = read_lock(folder / "repos.lock")
    mistakes = list(_foreign(versions, lock, definition, target))
    if mistakes or name != lock.release:
        raise ArchiveError(
            f"{manifest} of release {name} was not made from {folder / 'repos.lock'}"
            f" ({lock.release})",
            hint=f"with that lock: debstack build --target {target.name}",
            details=mistakes,
        )
    commits = {name: each.commit for name, each in lock.components.items()}
    return BuiltRelease(target, About(name, commits), tuple(built.values()))


def _foreign(
    versions: Mapping[str, str], lock: Lock, definition: Definition, target: Target
) -> Iterator[str]:
    """Yield what of a manifest is not in the lock, or not at that version."""
    keyring = Names.of(definition).keyring
    for package, version in versions.items():
        if package not in lock.packages:
            yield f"{package} {version} is not in the lock"
            continue
        found = unmarked(version) if package == keyring else version
        if found != (wanted := lock.version(package, target)):
            yield f"{package} is {version}, and {wanted} in the lock"


def check_target(planned: Plan, target: Target) -> None:
    """Raise ArchiveError if a package was built for another target than its suite is for."""
    for package, deb in planned.offered:
        if not package.version.endswith(f"~{target.suffix}"):
            raise ArchiveError(
                f"{deb.name} was not built for {target.name}: its version {package.version} does"
                f" not end with ~{target.suffix}",
                hint=f"publish what was built for it: debstack build --target {target.name}",
            )


def check_same_bits(offered: Sequence[tuple[Package, Path]]) -> None:
    """Raise ArchiveError if a file is not the one that the index describes, read anew."""
    for package, path in offered:
        if read_package(path) != package:
            raise ArchiveError(
                f"{path} is not the file that was published",
                hint="see what else is wrong: debstack archive verify; then restore the file from"
                " dist/ or a backup",
            )


def signature_check(public: bytes, runner: Runner) -> Callable[[Sequence[Path]], None]:
    """Return a function that raises SigningError unless a key of ``public`` signed each package.

    ``public`` is a binary keyring with the package keys.
    """

    def check(debs: Sequence[Path]) -> None:
        with tempfile.NamedTemporaryFile(prefix="debstack-", suffix=".gpg") as keyring:
            keyring.write(public)
            keyring.flush()
            for deb in debs:
                try:
                    sign.verify(deb, Path(keyring.name), runner)
                except SigningError as error:
                    raise SigningError(
                        f"{deb.name}: {error.message}", hint=error.hint, details=error.details
                    ) from error

    return check


def _manifest(folder: Path, target: Target) -> Path:
    return folder / f"{target.name}.json"
