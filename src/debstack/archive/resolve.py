"""Ask the real apt whether a suite can be used: fetched, trusted, and each release installed.

It runs on files of its own, with the checks of time that some machines switch off, and believes
that the Debian packages which a release needs are installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from debian.deb822 import PkgRelation
from debian.debian_support import Version

from debstack.archive.content import Content, PublishedRelease
from debstack.archive.package import Package
from debstack.archive.tree import Tree
from debstack.process import Result, Runner, base_environment

_CHECKS = ("-o", "Acquire::Check-Valid-Until=true", "-o", "Acquire::Check-Date=true")
_Constraint = tuple[str, str]


@dataclass(frozen=True)
class PrivateApt:
    """An apt of its own in ``folder``, which knows one suite and nothing of this machine.

    It is one of a machine of ``architecture``, in Debian's words ("amd64").
    """

    folder: Path
    architecture: str
    runner: Runner

    def set_up(self, tree: Tree, suite: str) -> None:
        """Write its configuration: the one source, trusted by the keys that the suite names."""
        for name in ("sources.list.d", "apt.conf.d", "preferences.d"):
            (self.folder / "etc" / name).mkdir(parents=True)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "status").touch()
        (self.folder / "apt.conf").write_text(
            f'Dir "{self.folder}"; Dir::State "state"; Dir::Cache "cache"; Dir::Etc "etc";\n'
            f'Dir::State::status "{self.folder}/status";\n'
            'Dir::Bin::Methods "/usr/lib/apt/methods";\n'
            f'APT::Architecture "{self.architecture}";\n'
            f'APT::Architectures {{ "{self.architecture}"; }};\n'
            'APT::Sandbox::User "root"; Acquire::Languages "none";\n'
        )
        address = quote(str(tree.root.resolve()))
        keyring = tree.keyring(suite).resolve()
        (self.folder / "etc/sources.list.d/suite.sources").write_text(
            f"Types: deb\nURIs: file://{address}\nSuites: {suite}\nComponents: main\n"
            f"Signed-By: {keyring}\n"
        )

    def update(self) -> list[str]:
        """Fetch the index; return what apt complains about."""
        return complaints(self._run("update", "--error-on=any"))

    def install(self, wanted: Sequence[str], present: str) -> tuple[list[str], dict[str, str]]:
        """Try to install, on a machine that has what the dpkg status ``present`` says.

        Returns what apt complains about, and the version of each package that it would install.
        """
        (self.folder / "status").write_text(present)
        options = ("--simulate", "--no-install-recommends")
        result = self._run("install", *options, *wanted)
        lines = (line.split() for line in result.text.splitlines() if line.startswith("Inst "))
        return complaints(result), {words[1]: words[2].lstrip("(") for words in lines}

    def _run(self, *arguments: str) -> Result:
        environment = base_environment() | {"APT_CONFIG": str(self.folder / "apt.conf")}
        command = ["apt-get", *_CHECKS, *arguments]
        return self.runner.capture(command, cwd=self.folder, env=environment, check=False)


def resolve(apt: PrivateApt, content: Content) -> Iterator[tuple[str, list[str]]]:
    """Yield each release of ``content`` that apt cannot install, in its exact versions, and why."""
    for release in content.releases:
        packages = content.of(release)
        wanted = [f"{each.name}={each.version}" for each in packages]
        problems, chosen = apt.install(wanted, faked(packages, apt.architecture))
        expected = {each.name: each.version for each in packages}
        if not problems and chosen != expected:
            problems = [f"apt would install {chosen}"]
        if problems:
            yield release.name, problems


def unpreferred(apt: PrivateApt, content: Content, newest: PublishedRelease) -> list[str]:
    """Return why apt, asked for the packages of ``newest`` by name alone, installs others."""
    packages = content.of(newest)
    present = faked(packages, apt.architecture)
    problems, chosen = apt.install([each.name for each in packages], present)
    return problems or [
        f"apt prefers {each.name} {chosen.get(each.name)} to {each.version}"
        for each in packages
        if chosen.get(each.name) != each.version
    ]


def complaints(result: Result) -> list[str]:
    """Return what an apt command that failed says of it."""
    if result.returncode == 0:
        return []
    lines = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace").splitlines()
    marks = ("E:", "W:", "Err:", " ")
    found = [line.strip() for line in lines if line.startswith(marks) and line.strip()]
    return found[-8:] or [f"apt-get ended with exit code {result.returncode}"]


def faked(packages: Iterable[Package], architecture: str) -> str:
    """Return a dpkg status with every package of Debian that ``packages`` depend on.

    All are of ``architecture``, which of a package for all of them is as good.
    """
    packages = tuple(packages)
    own = {each.name for each in packages}
    own |= {name for each in packages for group in _groups(each, "Provides") for name, _ in group}
    needs: dict[str, list[_Constraint]] = {}
    for group in (group for each in packages for group in _groups(each, "Pre-Depends", "Depends")):
        if not own & {name for name, _ in group}:
            for name, constraint in group:
                needs.setdefault(name, []).append(constraint)
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: {_satisfying(constraints)}\n"
        f"Architecture: {architecture}\nMulti-Arch: allowed\nMaintainer: -\nDescription: -\n"
        for name, constraints in sorted(needs.items())
    )


def _groups(package: Package, *fields: str) -> Iterator[list[tuple[str, _Constraint]]]:
    """Yield the alternatives of each relation in fields of a package."""
    for text in filter(None, map(package.field, fields)):
        for group in PkgRelation.parse_relations(text):
            yield [(each["name"], each["version"] or ("", "")) for each in group]


def _satisfying(constraints: Sequence[_Constraint]) -> str:
    """Return a version that meets as many of the constraints as one can."""
    named = [version for operator, version in constraints if operator]
    candidates = ["1", *named, *(f"{each}+1" for each in named), *(f"{each}~" for each in named)]
    return max(candidates, key=lambda each: sum(_meets(each, *wish) for wish in constraints))


def _meets(version: str, operator: str, other: str) -> bool:
    if not operator:
        return True
    compared = (Version(version) > Version(other)) - (Version(version) < Version(other))
    return compared in {"<<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">>": (1,)}[operator]
