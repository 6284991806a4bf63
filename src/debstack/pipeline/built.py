"""Wheels that no index has: built from source in isolation, once to lock them, and the same again.

The build has exactly the locked build requirements, no network, and a time that says nothing, so
the same source gives the same wheel; what comes out is demanded to have the hash in the lock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import BuildError, DependencyError
from debstack.isolation import not_isolated
from debstack.model.definition import Target
from debstack.model.requirement_inputs import RequirementInputs, sdist_inputs
from debstack.model.requirements import (
    BuiltFrom,
    LockedWheel,
    RequirementsLock,
    Sdist,
)
from debstack.model.wheel import is_of, runs_on
from debstack.pipeline.contents import Workshop
from debstack.steps import venv
from debstack.steps.sdist import fetch_sdist, unpack_sdist
from debstack.steps.wheels import cached, collect, take

Resolve = Callable[[str, RequirementInputs, Target], tuple[LockedWheel | Sdist, ...]]
"""Resolves the requirements of a build to wheels."""

# 1980-01-01: the first day that a zip archive can tell.
_EPOCH = 315532800


@dataclass(frozen=True)
class _Bench:
    """One build: whose dependency, from what, for which target, in which folder."""

    subject: str
    sdist: Sdist
    target: Target
    workshop: Workshop
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.sdist.name} {self.sdist.version}"

    def source(self) -> Path:
        """Unpack the source. Raises DependencyError where it could not be built in isolation."""
        if not self.workshop.isolate:
            raise not_isolated(self.subject, self.name)
        file = fetch_sdist(
            self.subject, self.sdist, self.workshop.cache, offline=self.workshop.offline
        )
        return unpack_sdist(file, self.folder / "source")

    def tools(self, wheels: tuple[LockedWheel, ...]) -> venv.Environment:
        """Make an environment of exactly ``wheels``."""
        python = self.target.python
        if not Path(f"/usr/bin/python{python}").exists():
            raise DependencyError(
                f"{self.subject}: {self.name} has to be built with Python {python}, which is not"
                " on this machine",
                hint=f"lock and build for {self.target.name} where Debian's python{python} is",
            )
        work = self.workshop
        lock = RequirementsLock(
            self.subject, self.target.name, python, "build", "0" * 64, tuple(sorted(wheels))
        )
        files = collect(
            lock, work.cache, self.target, work.runner, offline=work.offline, vendor=work.vendor
        )
        requirements = self.folder / "requirements.txt"
        requirements.write_text(lock.text())
        root = Path(tempfile.mkdtemp(prefix="tools-", dir=self.folder)) / "venv"
        return venv.venv(root, python, requirements, files, work.uv_program(), work.runner)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Say whose dependency it is that does not build."""
        try:
            yield
        except BuildError as error:
            raise DependencyError(
                f"{self.subject}: {self.name} cannot be built from source",
                hint="see what its build says; it has no network, and nothing but what the lock"
                " names and Debian's packages on this machine",
                details=(error.message, *error.details),
            ) from error

    def wheel(self, source: Path, tools: venv.Environment) -> Path:
        """Build, and demand that it is a wheel of this distribution that runs on the target."""
        with self.judged():
            made = venv.build_wheel(
                source, tools, self.folder / "wheel", _EPOCH, self.workshop.runner, isolate=True
            )  # fmt: skip
        if not is_of(made.name, self.sdist.name, self.sdist.version) or not runs_on(
            made.name, self.target
        ):
            raise DependencyError(
                f"{self.subject}: {self.sdist.filename} builds {made.name}, which is not a wheel of"
                f" {self.name} for {self.target.name}",
                hint="serve a wheel from an index of your own",
            )
        return made


def lock_built(
    subject: str, sdist: Sdist, target: Target, workshop: Workshop, resolve: Resolve
) -> LockedWheel:
    """Build the wheel of ``sdist``, keep it in the cache, and return what the lock is to say.

    Raises DependencyError if it cannot be built from wheels alone.
    """
    with tempfile.TemporaryDirectory(prefix="debstack-sdist-") as name:
        bench = _Bench(subject, sdist, target, workshop, Path(name))
        source = bench.source()
        pyproject = source / "pyproject.toml"
        text = pyproject.read_text("utf-8") if pyproject.is_file() else None
        asked = sdist_inputs(sdist.filename, text)
        requires, tools = _resolved(bench, asked, resolve)
        # Some backends ask for more once they have seen the project.
        with bench.judged():
            more = venv.build_requires(source, tools, workshop.runner, isolate=True)
        if more:
            asked = replace(asked, requirements=(*asked.requirements, *more))
            requires, tools = _resolved(bench, asked, resolve)
        made = bench.wheel(source, tools)
        built = BuiltFrom(sdist.filename, sdist.sha256, sdist.size, requires)
        wheel = LockedWheel(
            sdist.name, sdist.version, made.name, sha256_of(made), made.stat().st_size, built
        )
        _keep(made, cached(workshop.cache, wheel))
        return wheel


def bring_built(lock: RequirementsLock, target: Target, workshop: Workshop) -> None:
    """Bring the wheels of ``lock`` that are built from source into the cache, by building them.

    Raises DependencyError if what is built is not the locked wheel.
    """
    if workshop.vendor:
        take([each for each in lock.wheels if each.built], workshop.vendor, workshop.cache)
    for wheel in lock.wheels:
        if wheel.sdist is None or wheel.built is None or cached(workshop.cache, wheel).is_file():
            continue
        with tempfile.TemporaryDirectory(prefix="debstack-sdist-") as name:
            bench = _Bench(lock.component, wheel.sdist, target, workshop, Path(name))
            made = bench.wheel(bench.source(), bench.tools(wheel.built.requires))
            got = sha256_of(made)
            if made.name != wheel.filename or got != wheel.sha256:
                raise DependencyError(
                    f"{lock.component}: {wheel.name} {wheel.version}: built from source it is not"
                    " the locked wheel",
                    hint="its build depends on the machine: take the locked wheel from the one"
                    " that has it (debstack vendor), or serve it from an index",
                    details=[f"in the lock: {wheel.filename} sha256 {wheel.sha256}",
                             f"built:       {made.name} sha256 {got}"],
                )  # fmt: skip
            _keep(made, cached(workshop.cache, wheel))


def _resolved(
    bench: _Bench, asked: RequirementInputs, resolve: Resolve
) -> tuple[tuple[LockedWheel, ...], venv.Environment]:
    """Return the wheels that a build needs, and an environment of them."""
    found = resolve(f"{bench.subject}: to build {bench.name}", asked, bench.target)
    requires = tuple(each for each in found if isinstance(each, LockedWheel))
    return requires, bench.tools(requires)


def _keep(made: Path, place: Path) -> None:
    """Put a wheel into the cache, wholly or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=place.parent) as folder:
        new = Path(folder) / place.name
        new.write_bytes(made.read_bytes())
        new.chmod(0o644)
        new.replace(place)
