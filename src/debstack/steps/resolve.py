"""Resolving requirements to wheels: one file with one hash per distribution, for one target."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from debstack.errors import DependencyError
from debstack.isolation import among_all_files, not_isolated, writing
from debstack.model.definition import Target
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import LockedWheel, Sdist
from debstack.model.wheel import is_of, normalised, preference, runs_on
from debstack.process import Runner, network_environment
from debstack.uv_program import find_uv

_OUTPUT = "pylock.toml"
_REQUIREMENTS = "requirements.in"
_WITHOUT_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_WITHOUT_DATE = re.compile(r"`([^`]+)` is missing an upload date")
_YANKED = re.compile(r"`([^`=]+)==([^`]+)` is yanked(?: \(reason: \"(.*?)\"\))?")
_ADVICE = (
    "choose a version that has a wheel for this target (extra_requirements can narrow it), "
    "name it in python.sdists of packaging/components to have it built from source, "
    "or serve a wheel from an index of your own"
)


def command(
    uv: str | Path,
    inputs: Sequence[str],
    target: Target,
    output: Path,
    *,
    exclude_newer: str = "",
    sdists: Sequence[str] = (),
) -> list[str]:
    """Return the command line that resolves the files ``inputs`` into ``output``.

    What was uploaded after ``exclude_newer`` does not count; of ``sdists`` no wheel is looked for.
    """
    options = ["--exclude-newer", exclude_newer] if exclude_newer else []
    options += [word for each in sdists for word in ("--no-binary", each)]
    # fmt: off
    return [
        str(uv), "pip", "compile", *inputs,
        "--format", "pylock.toml",
        "--output-file", str(output),
        "--python-version", target.python,
        "--python-platform", target.platform,
        "--only-binary", ":all:",
        "--no-header", "--no-annotate", "--no-python-downloads",
        *options,
    ]
    # fmt: on


def resolve(
    subject: str,
    inputs: RequirementInputs,
    target: Target,
    runner: Runner,
    *,
    previous: Sequence[LockedWheel] = (),
    upgrade: bool = False,
    exclude_newer: str = "",
    hidden: Sequence[Path] | None = (),
) -> tuple[LockedWheel | Sdist, ...]:
    """Return every distribution that ``inputs`` need on ``target``, sorted by name.

    ``subject`` is whose requirements they are, for errors. Versions stay those of
    ``previous`` where the inputs still allow them, unless ``upgrade``. ``exclude_newer`` is a time
    (RFC 3339): what was uploaded later does not count. A Sdist takes the place of a wheel only
    where ``inputs`` allow it and there is no solution without; what uv runs of it, to learn what it
    needs, can write nowhere and not see ``hidden``, which are None where bubblewrap does not work.
    Raises DependencyError if there is no solution, or one without a wheel for the target, or one
    that was yanked, and if code would have to run without isolation.
    """
    if inputs.is_empty:
        return ()
    sdists: list[str] = []
    while True:
        found = _attempt(
            subject, inputs, target, runner,
            previous=() if upgrade else previous, exclude_newer=exclude_newer, sdists=sdists,
            hidden=hidden,
        )  # fmt: skip
        if not isinstance(found, str):
            return found
        needed = [each for each in _wheelless(found) if each in inputs.sdists]
        if not set(needed) - set(sdists):
            raise _unsolvable(subject, target, found, exclude_newer)
        sdists += [each for each in needed if each not in sdists]
        if hidden is None:
            raise not_isolated(subject, ", ".join(sdists))


def _attempt(
    subject: str,
    inputs: RequirementInputs,
    target: Target,
    runner: Runner,
    *,
    previous: Sequence[LockedWheel],
    exclude_newer: str,
    sdists: Sequence[str],
    hidden: Sequence[Path] | None,
) -> tuple[LockedWheel | Sdist, ...] | str:
    """Return a solution in which ``sdists`` are built, or what uv says if there is none."""
    with tempfile.TemporaryDirectory(prefix="debstack-resolve-") as name:
        folder = Path(name)
        sources = folder / "sources"
        entries = _write_inputs(inputs, sources)
        output = folder / _OUTPUT
        if previous:
            output.write_text(_preferences(previous), "utf-8")
        asked = command(
            find_uv(), entries, target, output, exclude_newer=exclude_newer, sdists=sdists
        )
        env = network_environment()
        if sdists:
            asked = [*among_all_files(hidden or ()), *writing([folder]), *asked]
            env = {name: value for name, value in env.items() if name != "SSH_AUTH_SOCK"}
            env |= {"UV_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
        done = runner.capture(asked, cwd=sources, env=env, check=False)
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode != 0:
            return said
        _refuse_yanked(subject, said)
        return read_pylock(subject, output.read_text("utf-8"), target, sdists)


def read_pylock(
    subject: str, text: str, target: Target, sdists: Sequence[str] = ()
) -> tuple[LockedWheel | Sdist, ...]:
    """Return the wheels that a resolved pylock.toml names, and the source of ``sdists``.

    Where several run on ``target``, it is the one that pip would install. Raises DependencyError
    for a distribution without a wheel or sha256, and for a wheel that does not run on ``target``;
    all of them at once.
    """
    wheels: list[LockedWheel | Sdist] = []
    mistakes: list[str] = []
    for package in tomllib.loads(text).get("packages", []):
        built = normalised(package["name"]) in sdists
        found = _sdist(package) if built else _wheel(package, target)
        if not isinstance(found, str):
            wheels.append(found)
        else:
            mistakes.append(found)
    if mistakes:
        raise DependencyError(
            f"{subject}: {len(mistakes)} distribution(s) cannot be locked for {target.name}",
            hint=_ADVICE,
            details=mistakes,
        )
    return tuple(sorted(wheels, key=lambda each: each.name))


def _refuse_yanked(subject: str, said: str) -> None:
    """Raise DependencyError if uv warns that what it took was withdrawn by its authors."""
    found = sorted(set(_YANKED.findall(" ".join(said.split()))))
    if found:
        names = sorted({name for name, _, _ in found})
        raise DependencyError(
            f"{subject}: {', '.join(f'{name} {version}' for name, version, _ in found)}:"
            " withdrawn (yanked) by its authors",
            hint=f"run: debstack lock --upgrade {names[0]}; if its requirements name exactly this"
            " version, change them first",
            details=[f"{name} {version}: {reason or 'no reason given'}"
                     for name, version, reason in found],
        )  # fmt: skip


def _wheelless(output: str) -> list[str]:
    """Return the distributions that uv could have taken, had they a wheel."""
    return sorted({normalised(each) for each in _WITHOUT_WHEEL.findall(" ".join(output.split()))})


def _unsolvable(subject: str, target: Target, output: str, exclude_newer: str) -> DependencyError:
    """Return the error for a resolution that failed, naming the distributions without a wheel."""
    wheelless = _wheelless(output)
    undated = sorted(set(_WITHOUT_DATE.findall(output)))
    if exclude_newer and undated:
        message = f"the index does not tell when {', '.join(undated[:3])} was uploaded"
        hint = (
            "--exclude-newer needs an index that does (PEP 700); leave it out, or ask another one"
        )
    elif wheelless:
        message = f"no wheel for {target.name} of {', '.join(wheelless)}"
        hint = _ADVICE
    else:
        message = f"the requirements cannot be resolved for {target.name}"
        hint = "correct the requirements; if the index was not reached, see UV_DEFAULT_INDEX"
    return DependencyError(f"{subject}: {message}", hint=hint, details=output.strip().splitlines())


def _sdist(package: dict[str, Any]) -> Sdist | str:
    """Return the package's source distribution, or what is wrong with it."""
    name, version, source = (
        normalised(package["name"]),
        package.get("version"),
        package.get("sdist"),
    )
    if not isinstance(version, str) or not isinstance(source, dict):
        return f"{name} {version}: has no source distribution"
    filename, sha256 = _filename(source), source.get("hashes", {}).get("sha256")
    if not isinstance(sha256, str):
        return f"{name} {version}: the index gives no sha256 of {filename}"
    if not filename.endswith(".tar.gz"):
        return f"{name} {version}: {filename} is not a .tar.gz"
    return Sdist(name, version, filename, sha256, int(source.get("size", 0)))


def _wheel(package: dict[str, Any], target: Target) -> LockedWheel | str:
    """Return the package's wheel, or what is wrong with it."""
    name = normalised(package["name"])
    version = package.get("version")
    offered = package.get("wheels", [])
    if not isinstance(version, str):
        return f"{name}: has no version; it comes from an address and not from an index"
    if not offered:
        return f"{name} {version}: no wheel for {target.platform}"
    # uv lists every wheel that runs on the platform: some distributions have one per glibc or ABI.
    wheel = min(offered, key=lambda each: preference(_filename(each), target))
    sha256 = wheel.get("hashes", {}).get("sha256")
    filename = _filename(wheel)
    if not isinstance(sha256, str):
        return f"{name} {version}: the index gives no sha256 of {filename}"
    if not is_of(filename, name, version):
        return f"{name} {version}: {filename} is not its wheel"
    if not runs_on(filename, target):
        return (
            f"{name} {version}: {filename} does not run on Python {target.python},"
            f" {target.platform}"
        )
    return LockedWheel(name, version, filename, sha256, int(wheel.get("size", 0)))


def _filename(wheel: dict[str, Any]) -> str:
    """Return a wheel's file name; PEP 751 lets it be left out where an address ends in it."""
    address = wheel.get("url", "")
    path = wheel.get("name") or wheel.get("path") or unquote(urlsplit(address).path)
    return PurePosixPath(path).name


def _write_inputs(inputs: RequirementInputs, folder: Path) -> list[str]:
    """Write all inputs below ``folder`` and return the files for the command line, relative."""
    # Side by side with the repository's files a name could meet one of theirs.
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for path, text in inputs.files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    (folder / _REQUIREMENTS).write_text("".join(f"{r}\n" for r in inputs.requirements), "utf-8")
    return [f"tree/{path}" for path in inputs.entries] + [_REQUIREMENTS]


def _preferences(previous: Sequence[LockedWheel]) -> str:
    """Return a lock that uv takes as its own earlier output, and whose versions it prefers."""
    packages = [
        f'[[packages]]\nname = "{each.name}"\nversion = "{each.version}"\n' for each in previous
    ]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "debstack"\n', *packages])
