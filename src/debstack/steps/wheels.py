"""The wheels of a dependency lock: fetched into a cache named by hash, verified on every use."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import DependencyError
from debstack.model.definition import Target
from debstack.model.requirements import LockedWheel, RequirementsLock
from debstack.model.wheel import pip_platforms
from debstack.process import Runner, network_environment

_YANKED = re.compile(
    r"is a yanked version: '([^']+)' candidate \(version (\S+) at [^\n]*\n"
    r"Reason for being yanked: ([^\n]*)"
)
_GONE = re.compile(r"HTTP error (404|410)|\(from versions: (?!none\b)")


def cached(cache: Path, wheel: LockedWheel) -> Path:
    """Return where the cache keeps ``wheel``."""
    return cache / "wheels" / wheel.sha256 / wheel.filename


def command(requirements: Path, target: Target, folder: Path) -> list[str]:
    """Return the command line that downloads hashed requirements into ``folder``."""
    platforms = [f"--platform={platform}" for platform in pip_platforms(target)]
    # fmt: off
    return [
        sys.executable, "-I", "-m", "pip", "download",
        "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
        "--no-deps", "--require-hashes",
        "--only-binary", ":all:",
        "--implementation", "cp",
        "--python-version", target.python,
        *platforms,
        "--dest", str(folder),
        "--requirement", str(requirements),
    ]
    # fmt: on


def collect(
    lock: RequirementsLock,
    cache: Path,
    target: Target,
    runner: Runner,
    *,
    offline: bool,
    vendor: Path | None = None,
) -> tuple[Path, ...]:
    """Return the files of all wheels of ``lock``, in its order, each with its hash just verified.

    What the cache lacks is taken from the folder ``vendor``, or downloaded, all at once, unless
    ``offline``. Raises DependencyError naming the distribution if a wheel cannot be had or is not
    the locked one.
    """
    if vendor:
        take(lock.wheels, vendor, cache)
    missing = [wheel for wheel in lock.wheels if not cached(cache, wheel).is_file()]
    if missing and offline:
        raise DependencyError(
            f"{lock.component}: {len(missing)} of {len(lock.wheels)} wheels are not in {cache}",
            hint=f"where the index can be reached: debstack fetch --target {target.name}",
            details=[f"{each.name} {each.version}: {each.filename}" for each in missing],
        )
    if missing:
        _download(lock, missing, cache, target, runner)
    return verify(lock.wheels, cache)


def take(wheels: Sequence[LockedWheel], vendor: Path, cache: Path) -> None:
    """Copy those of ``wheels`` that the cache lacks and ``vendor`` has, proven, to the cache.

    Raises DependencyError naming every file that is not the locked one.
    """
    wanted = [each for each in wheels if not cached(cache, each).is_file()]
    wanted = [each for each in wanted if cached(vendor, each).is_file()]
    for wheel, file in zip(wanted, verify(wanted, vendor), strict=True):
        place = cached(cache, wheel)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=place.parent, prefix=".incoming-", delete=False
        ) as new:
            temporary = Path(new.name)
        try:
            shutil.copyfile(file, temporary)
            temporary.chmod(0o644)
            _demand(wheel, temporary)
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


def _demand(wheel: LockedWheel, file: Path) -> None:
    """Raise DependencyError unless ``file`` has the content of ``wheel``."""
    got = sha256_of(file)
    if got != wheel.sha256:
        raise DependencyError(
            f"{wheel.name} {wheel.version}: expected sha256 {wheel.sha256}, got {got}",
            hint="it changed while it was copied; find out who writes there",
        )


def verify(wheels: Sequence[LockedWheel], cache: Path) -> tuple[Path, ...]:
    """Return the cached files of ``wheels`` after comparing their hashes.

    Raises DependencyError naming every file that differs; it stays where it is, as evidence.
    """
    files = tuple(cached(cache, wheel) for wheel in wheels)
    # hashlib lets go of the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(sha256_of, files))
    mistakes = [
        f"{wheel.name} {wheel.version}: expected sha256 {wheel.sha256}, got {got}: {file}"
        for wheel, file, got in zip(wheels, files, found, strict=True)
        if got != wheel.sha256
    ]
    if mistakes:
        raise DependencyError(
            f"{len(mistakes)} wheel(s) in {cache} are not the locked ones",
            hint="find out who changed them; then remove the files named above and fetch again",
            details=mistakes,
        )
    return files


def _download(
    lock: RequirementsLock,
    missing: Sequence[LockedWheel],
    cache: Path,
    target: Target,
    runner: Runner,
) -> None:
    """Download ``missing`` beside the cache and move each into it once it is proven."""
    cache.mkdir(parents=True, exist_ok=True)
    # On the cache's own file system, so that moving is renaming.
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache) as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text("".join(f"{each.requirement}\n" for each in missing), "utf-8")
        incoming = folder / "wheels"
        incoming.mkdir()
        done = runner.run(
            command(requirements, target, incoming), env=network_environment(), check=False
        )
        if done.returncode != 0:
            raise _refused(lock, missing, done.text)
        _refuse_yanked(lock, done.text)
        for wheel in missing:
            _accept(lock, wheel, incoming / wheel.filename, cached(cache, wheel))


def _accept(lock: RequirementsLock, wheel: LockedWheel, file: Path, place: Path) -> None:
    """Move a downloaded wheel to its place in the cache, if it is the locked one."""
    if not file.is_file():
        near = sorted(file.parent.glob(f"{wheel.filename.partition('-')[0]}-*"))
        raise DependencyError(
            f"{lock.component}: {wheel.name} {wheel.version}: expected {wheel.filename}, got "
            f"{', '.join(each.name for each in near) or 'no file'}",
            hint="the index serves another file than the one locked; ask who runs it",
        )
    got = sha256_of(file)
    if got != wheel.sha256:
        raise DependencyError(
            f"{lock.component}: {wheel.name} {wheel.version}: expected sha256 {wheel.sha256}, "
            f"got {got}: {wheel.filename}",
            hint="the index serves another file than the one locked; do not use it",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    file.chmod(0o644)
    file.rename(place)


def _refuse_yanked(lock: RequirementsLock, output: str) -> None:
    """Raise DependencyError if pip warns that a file was withdrawn: it downloads them as well."""
    found = sorted(set(_YANKED.findall(output)))
    if found:
        raise DependencyError(
            f"{lock.component}: {', '.join(f'{name} {version}' for name, version, _ in found)}:"
            " withdrawn (yanked) by its authors since it was locked",
            hint=f"run: debstack lock --upgrade {found[0][0]}",
            details=[f"{name} {version}: {reason.strip() or 'no reason given'}"
                     for name, version, reason in found],
        )  # fmt: skip


def _refused(
    lock: RequirementsLock, missing: Sequence[LockedWheel], output: str
) -> DependencyError:
    """Return the error for a failed download, naming the distributions that it is about."""
    complaints = "\n".join(
        line for line in output.splitlines() if "==" in line or "ERROR" in line or "from" in line
    )
    errors = complaints[complaints.find("ERROR") :] if "ERROR" in complaints else complaints
    named = [each for each in missing if f"{each.name}==" in errors.lower().replace("_", "-")]
    subjects = named or missing
    subject = ", ".join(f"{each.name} {each.version}" for each in subjects)
    reason, hint = _why_refused(output, subjects)
    return DependencyError(
        f"{lock.component}: {subject}: {reason}",
        hint=hint,
        details=output.rstrip().splitlines()[-15:],
    )


def _why_refused(output: str, subjects: Sequence[LockedWheel]) -> tuple[str, str]:
    """Return what pip's output means, and what to do."""
    if "DO NOT MATCH THE HASHES" in output:
        return (
            "the index serves a file with another hash",
            "do not use that file; compare with the wheel of an earlier build",
        )
    if _GONE.search(output):
        return (
            "cannot be had from the index: it is gone from there",
            f"run: debstack lock --upgrade {subjects[0].name}; or take the wheel from a machine"
            " that has it: debstack vendor",
        )
    return (
        "cannot be had from the index",
        "check the network and PIP_INDEX_URL; where there is no network, build from a folder"
        " that `debstack vendor` made",
    )
