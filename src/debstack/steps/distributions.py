"""The distributions that debstack itself needs, as wheels for another Python than it runs under.

debstack runs in the root of another Debian release with that release's Python. What it is made of
is fetched here, where the network is, and bound into the root. uv, which writes what is in a
package, is the wheel that is pinned by its hash; the others are asked for by version.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from debstack.errors import DependencyError
from debstack.log import Log
from debstack.model.definition import Target
from debstack.model.uv import uv_lock
from debstack.model.wheel import pip_platforms
from debstack.once import once
from debstack.process import Runner, network_environment


def wanted() -> tuple[str, ...]:
    """Return debstack's own requirements but uv, which comes as a wheel."""
    asked = [Requirement(each) for each in requires("debstack") or ()]
    names = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return tuple(str(each) for each in names if each.name != "uv")


def command(requirements: Sequence[str], target: Target, folder: Path) -> list[str]:
    """Return the command line that installs requirements for the Python of ``target``."""
    # fmt: off
    return [
        sys.executable, "-I", "-m", "pip", "install",
        "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
        "--root-user-action", "ignore", "--no-compile",
        "--only-binary", ":all:",
        "--implementation", "cp",
        "--python-version", target.python,
        *(f"--platform={platform}" for platform in pip_platforms(target)),
        "--target", str(folder),
        *requirements,
    ]
    # fmt: on


def distributions(
    target: Target,
    cache: Path,
    runner: Runner,
    log: Log,
    *,
    offline: bool,
    uv_wheels: Callable[[], Sequence[Path]],
) -> Path:
    """Return a folder that has what debstack needs on the Python path of ``target``.

    It is filled at the first call: from the index, and with what ``uv_wheels`` brings, the files
    that are pinned. Raises DependencyError.
    """
    requirements = wanted()
    hashes = [wheel.sha256 for wheel in uv_lock(target).wheels]
    recipe = json.dumps([target.python, target.platform, *hashes, *requirements])
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    folder = cache / "distributions" / f"{target.name}-{digest}"
    if folder.is_dir():
        return folder
    if offline:
        raise DependencyError(
            f"debstack's own distributions for Python {target.python} are not in {folder.parent}",
            hint="where the index can be reached:"
            f" debstack fetch --target {target.name} --in-root; a vendored folder has none of them",
        )

    def install(unfinished: Path) -> None:
        asked = command([*requirements, *map(str, uv_wheels())], target, unfinished)
        done = runner.run(asked, env=network_environment(), check=False)
        if done.returncode:
            raise DependencyError(
                f"debstack's own distributions for Python {target.python} cannot be had",
                hint="check the network and PIP_INDEX_URL",
                details=done.text.rstrip().splitlines()[-15:],
            )

    with log.step(target.name, f"debstack for Python {target.python}"):
        return once(folder, install)
