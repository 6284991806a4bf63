"""How long builds take on this machine, with dh-virtualenv beside ours.

Usage: python benchmarks/build.py [--runs N] [--without-dh-virtualenv]

Wall seconds and the CPU seconds of all processes, measured around whole commands in a copy of the
project. "Cold" means that nothing is built yet and all wheels are in the cache, which is filled
before the clock starts. Read the ratios: the seconds belong to the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DEBSTACK = [sys.executable, "-m", "debstack"]
BIG = "traderunner"


@dataclass(frozen=True)
class Measured:
    """What one command took, in seconds."""

    wall: float
    cpu: float


def measure(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> Measured:
    """Run a command to its end and return what it took. Raises CalledProcessError."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        command, cwd=folder, env=env, check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def project_copy(folder: Path) -> Path:
    """Copy what git knows of the project, and make the sample repositories there."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    files = subprocess.run(listing, cwd=PROJECT, check=True, capture_output=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    subprocess.run([folder / "scripts/make-samples"], check=True)
    return folder


def build(project: Path, env: dict[str, str], *packages: str, cold: bool) -> Measured:
    """Measure ``debstack build``, after forgetting what was built if ``cold``."""
    if cold:
        shutil.rmtree(project / "build/packages", ignore_errors=True)
        shutil.rmtree(project / "dist", ignore_errors=True)
    return measure([*DEBSTACK, "build", *packages], project, env)


def dh_virtualenv(project: Path, env: dict[str, str], work: Path) -> Measured:
    """Build the big component with dh-virtualenv and dpkg's own settings, from the same wheels."""
    source = work / "source"
    subprocess.run(["git", "clone", "-q", project / f"build/samples/{BIG}.git", source], check=True)
    wheels = work / "wheels"
    wheels.mkdir()
    lines = (project / f"packaging/locks/bookworm/{BIG}.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    for line in pinned:
        name = line.split("  # ")[1].split()[0]
        digest = line.split("sha256:")[1][:64]
        (wheels / name).symlink_to(Path(env["DEBSTACK_CACHE_DIR"]) / "wheels" / digest / name)
    (source / "requirements.txt").write_text("".join(f"{line.split()[0]}\n" for line in pinned))
    debian = source / "debian"
    (debian / "source").mkdir(parents=True)
    files = {
        "source/format": "3.0 (native)\n",
        "changelog": f"{BIG} (1) bookworm; urgency=medium\n\n  * Benchmark.\n\n"
        " -- Benchmark <bench@example.org>  Mon, 23 Nov 2026 12:00:00 +0000\n",
        "control": f"Source: {BIG}\nMaintainer: Benchmark <bench@example.org>\n"
        "Build-Depends: debhelper-compat (= 13), dh-virtualenv\n\n"
        f"Package: {BIG}\nArchitecture: amd64\nDescription: benchmark\n same application\n",
        "rules": "#!/usr/bin/make -f\n%:\n\tdh $@ --with python-virtualenv\n\n"
        "override_dh_virtualenv:\n\tdh_virtualenv --python /usr/bin/python3 --builtin-venv"
        f" --skip-install --extra-pip-arg=--no-index --extra-pip-arg=--find-links={wheels}\n"
        "override_dh_shlibdeps:\noverride_dh_strip:\noverride_dh_dwz:\n",
    }
    for name, text in files.items():
        (debian / name).write_text(text)
    (debian / "rules").chmod(0o755)
    return measure(["dpkg-buildpackage", "-b", "-us", "-uc"], source, env)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each build (median is shown)")
    parser.add_argument("--without-dh-virtualenv", action="store_true", help="only ours")
    options = parser.parse_args()
    cache = os.environ.get("DEBSTACK_CACHE_DIR") or str(Path.home() / ".cache/debstack")
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    env = {**os.environ, "DEBSTACK_CACHE_DIR": cache, "PYTHONPATH": "", "PATH": path}
    with tempfile.TemporaryDirectory(prefix="debstack-bench-") as name:
        project = project_copy(Path(name) / "project")
        env["PYTHONPATH"] = str(project / "src")
        subprocess.run([*DEBSTACK, "fetch"], cwd=project, env=env, check=True, capture_output=True)
        rows = {
            f"{BIG} alone, cold": [
                build(project, env, BIG, cold=True) for _ in range(options.runs)
            ],
            "all packages, cold": [build(project, env, cold=True) for _ in range(options.runs)],
            "all packages, unchanged": [
                build(project, env, cold=False) for _ in range(options.runs)
            ],
        }
        if not options.without_dh_virtualenv:
            work = Path(name) / "dh-virtualenv"
            work.mkdir()
            rows[f"{BIG} by dh-virtualenv"] = [dh_virtualenv(project, env, work)]
    report(rows)


def report(rows: dict[str, list[Measured]]) -> None:
    """Print the median of each row, and how often ours fits into dh-virtualenv's time."""
    print(f"{'':<32}{'runs':>5}{'wall s':>9}{'CPU s':>9}")
    middle = {}
    for name, runs in rows.items():
        median = sorted(runs, key=lambda each: each.wall)[len(runs) // 2]
        middle[name] = median
        print(f"{name:<32}{len(runs):>5}{median.wall:>9.1f}{median.cpu:>9.1f}")
    other = middle.get(f"{BIG} by dh-virtualenv")
    if other:
        ours = middle[f"{BIG} alone, cold"]
        print(f"dh-virtualenv / debstack: {other.wall / ours.wall:.1f} times the wall time")


if __name__ == "__main__":
    main()
