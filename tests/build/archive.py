"""An archive under test with packages of a few bytes, and an apt that sees nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from debstack.archive.publish import Publisher
from debstack.archive.suite import Publication, Suite
from debstack.archive.tree import Tree
from debstack.keys import Keys
from debstack.log import Log
from debstack.process import SYSTEM_PATH, Result, Runner, base_environment

for _program in ("gpg", "gpgv", "dpkg-deb", "apt-get", "apt-cache"):
    if shutil.which(_program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)

RUNNER = Runner()
DAY = timedelta(days=1)
SUITE = Suite(
    name="bookworm-staging",
    codename="bookworm-staging",
    origin="example",
    label="Example",
    description="Example packages",
    architectures=("amd64",),
    valid_for=30 * DAY,
    production=False,
)
INRELEASE, PACKAGES = "InRelease", "main/binary-amd64/Packages.gz"


@dataclass(frozen=True)
class Archive:
    """An archive under test, and the keys that sign it."""

    root: Path
    keys: Keys

    def publish(
        self, *debs: Path, now: datetime | None = None, suite: Suite = SUITE, log: Log | None = None
    ) -> Publication:
        """Publish as a user would, at the present time unless told otherwise."""
        publisher = Publisher(
            self.root, lambda: now or datetime.now(UTC), 14 * DAY, RUNNER, log or Log(quiet=True)
        )
        return publisher.publish(suite, debs, [self.keys.repository])

    def live(self, name: str) -> Path:
        """Return a file of the suite under the name that apt uses."""
        return self.root / "dists" / SUITE.name / name

    def listing(self) -> list[tuple[str, int, int, int]]:
        """Return every file with its size, inode and time of change."""
        paths = [path for path in sorted(self.root.rglob("*")) if path.name != ".lock"]
        stats = [(str(path), path.lstat()) for path in paths]
        return [(name, stat.st_size, stat.st_ino, stat.st_mtime_ns) for name, stat in stats]

    def tamper(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        """Change a file in all its hard links."""
        with path.open("r+b") as file:
            content = change(file.read())
            file.seek(0)
            file.truncate()
            file.write(content)


@dataclass(frozen=True)
class Apt:
    """A private apt, that knows one source and one keyring and no setting of this machine."""

    folder: Path

    def run(self, *command: str | Path) -> Result:
        """Run an apt tool, with the checks of time that a machine may have switched off."""
        environment = base_environment() | {"APT_CONFIG": str(self.folder / "apt.conf")}
        checks = ("-o", "Acquire::Check-Valid-Until=true", "-o", "Acquire::Check-Date=true")
        argv = (command[0], *checks, *command[1:])
        return RUNNER.capture(argv, cwd=self.folder, env=environment, check=False)

    def update(self) -> Result:
        """Fetch the index; any trouble is a failure."""
        return self.run("apt-get", "update", "--error-on=any")


def make_deb(
    folder: Path, name: str, version: str, content: str = "hello", fields: str = ""
) -> Path:
    """Return a new package with one file."""
    return packed(make_tree(folder, name, version, content, fields))


def make_tree(
    folder: Path, name: str, version: str, content: str = "hello", fields: str = ""
) -> Path:
    """Return what is to be packed: the control file, and one file with ``content``."""
    tree = folder / f"tree-{name}-{version}-{content}"
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    architecture = "all" if name == "extra" else "amd64"
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
        "Section: misc\nPriority: optional\nMaintainer: Example <ops@example.org>\n"
        f"{fields}Description: an example\n It has\n .\n a long description.\n"
    )
    (tree / "usr/share" / name).mkdir(parents=True, exist_ok=True)
    (tree / "usr/share" / name / "content.txt").write_text(content)
    return tree


def packed(tree: Path) -> Path:
    """Return the package of a tree that ``make_tree`` made, beside it."""
    fields = dict(
        line.split(": ", 1) for line in (tree / "DEBIAN/control").read_text().splitlines()[:3]
    )
    name = "_".join(fields[field] for field in ("Package", "Version", "Architecture"))
    deb = tree.parent / f"{name}.deb"
    RUNNER.capture(["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, deb])
    return deb


def make_apt(
    folder: Path, root: Path, suite: str = SUITE.name, keyring: Path | None = None, uri: str = ""
) -> Apt:
    """Return an apt that knows one suite of the archive at ``root``, or at another address."""
    for name in ("sources.list.d", "apt.conf.d", "preferences.d"):
        (folder / "etc" / name).mkdir(parents=True)
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f'Dir "{folder}"; Dir::State "state"; Dir::Cache "cache"; Dir::Etc "etc";\n'
        f'Dir::State::status "{folder}/status"; Dir::Bin::Methods "/usr/lib/apt/methods";\n'
        'APT::Architecture "amd64"; APT::Architectures { "amd64"; };\n'
        'APT::Sandbox::User "root"; Acquire::Languages "none";\n'
    )
    keyring = keyring or Tree(root).keyring(suite)
    (folder / "etc/sources.list.d/example.sources").write_text(
        f"Types: deb\nURIs: {uri or f'file://{root}'}\nSuites: {suite}\nComponents: main\n"
        f"Signed-By: {keyring}\n"
    )
    return Apt(folder)


def assert_works(archive: Archive, folder: Path, versions: Sequence[str]) -> None:
    """Let a fresh apt update and download every version of hello that should be there."""
    fresh = make_apt(folder, archive.root)
    assert fresh.update().returncode == 0
    table = fresh.run("apt-cache", "madison", "hello").text.splitlines()
    assert [line.split("|")[1].strip() for line in table] == list(versions)
    for version in versions:
        assert fresh.run("apt-get", "download", f"hello={version}").returncode == 0
