"""Resolving requirements to wheels: one file with one hash per distribution, for one target."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from uv import find_uv_bin

from debstack.errors import DependencyError
from debstack.model.definition import Target
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import LockedWheel
from debstack.model.wheel import is_of, normalised, preference, runs_on
from debstack.process import Runner, network_environment

_OUTPUT = "pylock.toml"
_REQUIREMENTS = "requirements.in"
_WITHOUT_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_ADVICE = (
    "choose a version that has a wheel for this target (extra_requirements can narrow it), "
    "or build the wheel once and serve it from an index of your own"
)


def command(uv: str | Path, inputs: Sequence[str], target: Target, output: Path) -> list[str]:
    """Return the command line that resolves the files ``inputs`` into ``output``."""
    # fmt: off
    return [
        str(uv), "pip", "compile", *inputs,
        "--format", "pylock.toml",
        "--output-file", str(output),
        "--python-version", target.python,
        "--python-platform", target.platform,
        "--only-binary", ":all:",
        "--no-header", "--no-annotate", "--no-python-downloads", "--quiet",
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
) -> tuple[LockedWheel, ...]:
    """Return every distribution that ``inputs`` need on ``target``, sorted by name.

    ``subject`` is whose requirements they are, for errors. Versions stay those of
    ``previous`` where the inputs still allow them, unless ``upgrade``. Raises DependencyError if
    there is no solution, or one without a wheel for the target.
    """
    if inputs.is_empty:
        return ()
    with tempfile.TemporaryDirectory(prefix="debstack-resolve-") as name:
        folder = Path(name)
        sources = folder / "sources"
        entries = _write_inputs(inputs, sources)
        output = folder / _OUTPUT
        if previous and not upgrade:
            output.write_text(_preferences(previous), "utf-8")
        done = runner.capture(
            command(find_uv_bin(), entries, target, output),
            cwd=sources,
            env=network_environment(),
            check=False,
        )
        if done.returncode != 0:
            raise _unsolvable(subject, target, done.stderr.decode("utf-8", "replace"))
        return read_pylock(subject, output.read_text("utf-8"), target)


def read_pylock(subject: str, text: str, target: Target) -> tuple[LockedWheel, ...]:
    """Return the wheels that a resolved pylock.toml names.

    Where several run on ``target``, it is the one that pip would install. Raises DependencyError
    for a distribution without a wheel or sha256, and for a wheel that does not run on ``target``;
    all of them at once.
    """
    wheels: list[LockedWheel] = []
    mistakes: list[str] = []
    for package in tomllib.loads(text).get("packages", []):
        found = _wheel(package, target)
        if isinstance(found, LockedWheel):
            wheels.append(found)
        else:
            mistakes.append(found)
    if mistakes:
        raise DependencyError(
            f"{subject}: {len(mistakes)} distribution(s) cannot be locked for {target.name}",
            hint=_ADVICE,
            details=mistakes,
        )
    return tuple(sorted(wheels))


def _unsolvable(subject: str, target: Target, output: str) -> DependencyError:
    """Return the error for a resolution that failed, naming the distributions without a wheel."""
    flat = " ".join(output.split())
    wheelless = sorted(set(_WITHOUT_WHEEL.findall(flat)))
    if wheelless:
        message = f"no wheel for {target.name} of {', '.join(wheelless)}"
        hint = _ADVICE
    else:
        message = f"the requirements cannot be resolved for {target.name}"
        hint = "correct the requirements; if the index was not reached, see UV_DEFAULT_INDEX"
    return DependencyError(f"{subject}: {message}", hint=hint, details=output.strip().splitlines())


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
