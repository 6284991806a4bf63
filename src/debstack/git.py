"""Git as debstack uses it: fresh repositories, and no configuration but what is named here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debstack.errors import SourceError
from debstack.process import Result, Runner, base_environment, network_environment

_NEUTRAL_ATTRIBUTES = (
    "* -export-ignore -export-subst -filter -text -ident -eol -working-tree-encoding\n"
)


@dataclass(frozen=True)
class Git:
    """A bare repository that nobody else writes to, and the runner that asks git about it."""

    root: Path
    runner: Runner

    def ask(self, *arguments: str | Path, check: bool = True) -> Result:
        """Run git in the repository, with nobody's configuration. Raises the runner's error."""
        return self.runner.capture(
            ["git", "-C", self.root, *arguments], env=local_environment(), check=check
        )

    def feed(
        self, chunks: Iterable[bytes], *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> Result:
        """Run git in the repository with ``chunks`` as its input, and ``env`` added."""
        return self.runner.feed(
            ["git", "-C", self.root, *arguments],
            chunks,
            env=local_environment() | dict(env or {}),
            check=False,
        )

    def fetch(self, *arguments: str | Path) -> Result:
        """Run ``git fetch`` with the user's credentials; the result tells whether it succeeded."""
        return self.runner.capture(
            ["git", "-C", self.root, "fetch", "-q", *arguments],
            env=user_environment(),
            check=False,
        )

    def reaches(self, commit: str, tip: str) -> bool:
        """Whether ``commit`` is ``tip`` or in its history; false if either is not there."""
        found = self.ask("merge-base", "--is-ancestor", commit, tip, check=False)
        return found.returncode == 0


@contextmanager
def fresh_repository(runner: Runner) -> Iterator[Git]:
    """Give an empty bare repository in which no attribute of an author has an effect."""
    runner = runner.raising(SourceError)
    with tempfile.TemporaryDirectory(prefix="debstack-git-") as folder:
        repository = Path(folder)
        runner.capture(["git", "init", "-q", "--bare", repository], env=local_environment())
        attributes = repository / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(_NEUTRAL_ATTRIBUTES)
        yield Git(repository, runner)


def fetch_url(url: str, project: Path) -> str:
    """Return what git is asked to fetch: a relative path means a file:// URL below the project."""
    if "://" in url or re.match(r"[^/]+@[^/]+:", url):
        return url
    return (project / url).resolve().as_uri()


def list_refs(url: str, project: Path, runner: Runner) -> dict[str, str]:
    """Return the object of every branch and tag of ``url`` by its full name, as they are now.

    ``NAME^{}`` is what an annotated tag points at. Raises SourceError.
    """
    address = fetch_url(url, project)
    listing = runner.capture(
        ["git", "ls-remote", "--heads", "--tags", address], env=user_environment(), check=False
    )
    if listing.returncode:
        raise SourceError(
            f"{url} cannot be fetched from",
            hint=f"see whether it can be reached and read: git ls-remote {address}",
            details=listing.stderr.decode("utf-8", "replace").strip().splitlines(),
        )
    # Not splitlines, which takes for ends of lines what may be in a name.
    lines = (line.split("\t") for line in listing.text.split("\n") if line)
    return {name: sha for sha, name in lines}


def local_environment() -> dict[str, str]:
    """Return an environment in which no configuration of the user or the machine counts."""
    return base_environment() | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def user_environment() -> dict[str, str]:
    """Return an environment with the user's credentials, which never asks for one."""
    return network_environment() | {"GIT_TERMINAL_PROMPT": "0"}
