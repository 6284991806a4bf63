"""How long publications take as the archive grows, with aptly and reprepro beside ours.

Usage: python benchmarks/archive.py [--sizes 100 1000 10000] [--add 7] [--runs N] [--folder DIR]

All work on the same small packages, in the same run: an archive of so many packages is published
at once, then one release is added. Wall seconds, CPU seconds of all processes, and the peak memory
of the largest one, signing included; ours also syncs every file. reprepro keeps one version of a
package, so that it gets as many names, and the others 20 names in many versions. Read the ratios:
the seconds belong to the machine.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

PROJECT = Path(__file__).resolve().parents[1]
NAMES = 20
MAINTAINER = "Benchmark <bench@example.org>"

# Publishes what is named on standard input; argv: root, fingerprint, GnuPG home, release.
OURS = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from debstack.archive.content import About
from debstack.archive.publish import Publisher
from debstack.archive.suite import Suite
from debstack.gpg import Key
from debstack.log import Log
from debstack.process import Runner
root, fingerprint, home, release = sys.argv[1:]
suite = Suite("bench", "bench", "bench", "bench", "bench", ("amd64",), timedelta(days=30), False)
key = Key(fingerprint, Path(home), None, None, development=False)
debs = [Path(line) for line in sys.stdin.read().splitlines()]
now = datetime.now(UTC)
publisher = Publisher(Path(root), lambda: now, timedelta(days=30), Runner(), Log(quiet=True))
publisher.publish(suite, debs, [key], About(release))
"""


@dataclass(frozen=True)
class Measured:
    """What a command took: wall and CPU seconds, and the most memory of a process, in MB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Bench:
    """Where the packages and the key are, and where archives are made."""

    folder: Path
    home: Path
    fingerprint: str

    def run(self, *commands: Sequence[str | Path], given: str = "") -> Measured:
        """Run commands one after the other and return what they took together."""
        wall, cpu, memory = 0.0, 0.0, 0.0
        for command in commands:
            log = self.folder / "time"
            timed = ["/usr/bin/time", "-o", log, "-f", "%e %U %S %M", *command]
            env = {**os.environ, "GNUPGHOME": str(self.home), "PYTHONPATH": str(PROJECT / "src")}
            start = time.monotonic()
            done = subprocess.run(
                timed, env=env, input=given, text=True, capture_output=True, check=False
            )
            wall += time.monotonic() - start
            if done.returncode != 0:
                sys.exit(f"{command} ended {done.returncode}: {done.stdout}{done.stderr}")
            _, user, system, resident = log.read_text().split()
            cpu += float(user) + float(system)
            memory = max(memory, float(resident) / 1024)
        return Measured(wall, cpu, memory)


def make_key(home: Path) -> str:
    """Make a key without passphrase and return its fingerprint."""
    gpg = ["gpg", "--homedir", str(home), "--batch", "--status-fd", "1", "--passphrase", ""]
    command = [*gpg, "--quick-gen-key", MAINTAINER, "ed25519", "sign", "never"]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    created: list[str] = next(line.split() for line in made.splitlines() if "KEY_CREATED" in line)
    return created[3]


def make_debs(folder: Path, count: int, names: int) -> list[Path]:
    """Return ``count`` packages of ``names`` names, from the oldest versions to the newest."""
    folder.mkdir(parents=True)
    debs = []
    for n in range(count):
        name, version = f"svc{n % names:05}", f"2026.11.23.{n // names}+g{n:07x}-1~deb12"
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: {MAINTAINER}\n"
            "Installed-Size: 4\nDepends: libc6 (>= 2.36), python3 (>= 3.11), python3 (<< 3.12)\n"
            "Section: misc\nPriority: optional\nHomepage: https://trading.example.org/\n"
            f"Description: service {n} of the benchmark\n It has a description of some length,\n"
            " .\n as real packages have.\n"
        )
        debs.append(_deb(folder, f"{name}_{version}_amd64.deb", control, n))
    return debs


def _deb(folder: Path, file: str, control: str, n: int) -> Path:
    # ar and tar by hand: dpkg-deb takes 10 ms for each, and there are ten thousand.
    members = [("debian-binary", b"2.0\n")]
    for member, name, content in (
        ("control.tar.zst", "./control", control.encode()),
        ("data.tar.zst", "./usr/share/bench/data", f"{n}".encode() * 200),
    ):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        members.append((member, zstandard.compress(data.getvalue(), 3)))
    path = folder / file
    with path.open("wb") as deb:
        deb.write(b"!<arch>\n")
        for member, content in members:
            deb.write(f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            deb.write(content + b"\n" * (len(content) % 2))
    return path


def ours(bench: Bench, root: Path, first: list[Path], added: list[Path]) -> list[Measured]:
    """Publish with debstack's engine."""

    def publish(debs: list[Path], release: str) -> Measured:
        arguments = map(str, (root, bench.fingerprint, bench.home, release))
        program = [sys.executable, "-c", OURS, *arguments]
        return bench.run(program, given="\n".join(map(str, debs)))

    return [publish(first, "1"), publish(added, "2")]


def aptly(bench: Bench, root: Path, first: list[Path], added: list[Path]) -> list[Measured]:
    """Publish with aptly, as fast as it goes: by-hash, no Contents, no bzip2."""
    root.mkdir()
    config = root / "aptly.conf"
    config.write_text(f'{{"rootDir": "{root}/aptly", "skipContentsPublishing": true,'
                      ' "skipBz2Publishing": true, "gpgProvider": "gpg"}')  # fmt: skip
    call = ["aptly", f"-config={config}"]
    options = ["-batch", f"-gpg-key={bench.fingerprint}"]

    def add(debs: list[Path], snapshot: str, *publish: str) -> Measured:
        listed = root / f"in-{snapshot}"
        listed.mkdir()
        for deb in debs:
            (listed / deb.name).hardlink_to(deb)
        return bench.run(
            [*call, "repo", "add", "bench", listed],
            [*call, "snapshot", "create", snapshot, "from", "repo", "bench"],
            [*call, "publish", publish[0], *options, *publish[1:]],
        )

    bench.run([*call, "repo", "create", "-distribution=bench", "-component=main", "bench"])
    how = ("-acquire-by-hash", "-architectures=amd64", "-distribution=bench")
    return [
        add(first, "s1", "snapshot", *how, "s1"),
        add(added, "s2", "switch", "bench", "s2"),
    ]


def reprepro(bench: Bench, root: Path, first: list[Path], added: list[Path]) -> list[Measured]:
    """Publish with reprepro; ``first`` and ``added`` must have different names."""
    (root / "conf").mkdir(parents=True)
    (root / "conf/distributions").write_text(
        "Codename: bench\nSuite: bench\nArchitectures: amd64\nComponents: main\n"
        f"SignWith: {bench.fingerprint}\n"
    )
    call = ["reprepro", "--silent", "-b", str(root), "includedeb", "bench"]
    return [bench.run([*call, *map(str, debs)]) for debs in (first, added)]


Engine = Callable[[Bench, Path, list[Path], list[Path]], list[Measured]]
ENGINES: dict[str, Engine] = {"debstack": ours, "aptly": aptly, "reprepro": reprepro}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--add", type=int, default=7, help="packages of the release that is added")
    parser.add_argument("--runs", type=int, default=1, help="runs of each (the fastest is shown)")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    options = parser.parse_args()
    print(f"{'':10} {'':9} {'publish all':>26}   {f'add {options.add} packages':>26}")
    columns = f"{'wall':>8} {'CPU':>8} {'MB':>8}"
    print(f"{'packages':>10} {'engine':9} {columns}   {columns}")
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="debstack-bench-", dir=options.folder) as name:
            folder, home = Path(name), Path(tempfile.mkdtemp(prefix="debstack-bench-gpg-"))
            bench = Bench(folder, home, make_key(home))
            many = make_debs(folder / "many", size + options.add, NAMES)
            distinct = make_debs(folder / "distinct", size + options.add, size + options.add)
            for engine, measure in ENGINES.items():
                if engine != "debstack" and shutil.which(engine) is None:
                    print(f"{size:>10} {engine:9} not installed")
                    continue
                debs = distinct if engine == "reprepro" else many
                results = []
                for run in range(options.runs):
                    root = folder / f"{engine}-{run}"
                    results.append(measure(bench, root, debs[:size], debs[size:]))
                    shutil.rmtree(root)
                best = [min(each, key=lambda m: m.wall) for each in zip(*results, strict=True)]
                cells = [f"{m.wall:>8.2f} {m.cpu:>8.2f} {m.memory:>8.0f}" for m in best]
                print(f"{size:>10} {engine:9} {'   '.join(cells)}", flush=True)
            subprocess.run(["gpgconf", "--homedir", bench.home, "--kill", "all"], check=True)
            shutil.rmtree(bench.home)


if __name__ == "__main__":
    main()
