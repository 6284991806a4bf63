"""Building for another Debian release than this computer runs, in a root of that release.

debstack needs the target's own Python and Debian's tools of that release. It runs in a chroot with
both, on a copy-on-write root without network: what it builds from is fetched outside before, and so
is debstack's own need of distributions, for the other Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.system.machine import Machine, MachineError, base_root, cache_directory

PACKAGES = (
    *("bubblewrap", "ca-certificates", "debhelper", "dh-python", "dpkg-dev", "git", "gpg"),
    *("gpg-agent", "gpgconf", "gpgv", "iproute2", "lintian", "procps", "python3", "python3-venv"),
    *("systemd", "zstd"),
)
"""What `make debs` installs, and what every server has."""

_TOOLS = "/opt/debstack-needs"


def build_in_root(release: str, python: str, project: Path, timeout: float) -> None:
    """Run ``debstack build`` of a project for the Debian release ``release``, in a root of it.

    ``python`` is the release's own, as 3.13; everything to build from is in the cache already.
    Raises CommandError with the output if the build fails.
    """
    cache = cache_directory()
    shares = {str(project): project, str(cache): cache}
    environment = {"PYTHONPATH": f"{project}/src:{_TOOLS}", "DEBSTACK_CACHE_DIR": str(cache)}
    if home := os.environ.get("GNUPGHOME"):
        # Keys that the test has made.
        shares[home] = Path(home)
        environment["GNUPGHOME"] = home
    root = base_root(release, PACKAGES)
    with Machine(root, binds={_TOOLS: _needs(python)}, shares=shares) as machine:
        machine.chroot_run(
            *("/usr/bin/python3", "-m", "debstack", "--project", str(project)),
            *("build", "--target", release, "--offline"),
            env=environment,
            timeout=timeout,
        )


def _needs(python: str) -> Path:
    """Return a folder with the distributions that debstack needs, for another Python."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    wanted = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    digest = hashlib.sha256(json.dumps([python, wanted]).encode()).hexdigest()[:16]
    folder = cache_directory() / "needs" / f"{python}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            _install(python, wanted, unfinished)
            unfinished.rename(folder)
    return folder


def _install(python: str, wanted: list[str], folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
            *("--python-version", python, "--implementation", "cp", "--only-binary", ":all:"),
            *("--upgrade", "--target", str(folder), *wanted),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MachineError(f"pip failed ({done.returncode}):\n{done.stdout[-4000:]}")
