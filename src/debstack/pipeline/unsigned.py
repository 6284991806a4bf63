"""Make packages as they are before they are signed: assemble, build, prove, check.

Nothing here needs a private key, so that it can be done in the root of another Debian release, or
by somebody who only wants to see the same bits again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from debstack.errors import DebstackError
from debstack.isolation import can_isolate
from debstack.model.definition import Component
from debstack.pipeline.assemble import Parts, assemble
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.packages import kind_of
from debstack.pipeline.parallel import parallel
from debstack.process import require
from debstack.steps import sign
from debstack.steps.package import Package, lint, package
from debstack.steps.prove import prove
from debstack.steps.stage import discard
from tradingctl import description


@dataclass(frozen=True)
class Unsigned:
    """A package before it is signed: what dpkg-buildpackage left, and the .deb's sha256.

    ``seconds`` is how long it took.
    """

    package: str
    version: str
    left: Package
    payload: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What could be made, and the first failure, which kept the rest from being made."""

    made: tuple[Unsigned, ...]
    failure: DebstackError | None = None


def kept(shelf: Path, package: str, version: str) -> Path:
    """Return the folder of a package on a target's ``shelf``: its log, and what came of it."""
    return shelf / f"{package}_{version}"


def unsigned(release: Release, orders: Sequence[Parts], shelf: Path, workshop: Workshop) -> Outcome:
    """Make packages on ``shelf``, several at a time, and return what came of them.

    Failures are BuildError, StartError, DependencyError or LockError. Raises ToolMissingError.
    """
    require("dpkg-buildpackage", "dh", "dh_python3", "lintian")
    isolate = can_isolate(workshop.runner)
    if not isolate and any(each.tar for each in orders):
        workshop.log.warn(
            "bubblewrap is missing or may not make namespaces here: services are proved to start"
            " from a copy of the tree, on free ports, and not at their real paths"
        )
    made: list[Unsigned] = []

    def one(parts: Parts) -> None:
        made.append(_make(release, parts, shelf, replace(workshop, isolate=isolate)))

    try:
        parallel(workshop.jobs, one, orders)
    except DebstackError as failure:
        return Outcome(tuple(made), failure)
    return Outcome(tuple(made))


def _make(release: Release, parts: Parts, shelf: Path, workshop: Workshop) -> Unsigned:
    start = time.monotonic()
    keep = kept(shelf, parts.package, parts.version)
    work, log = keep / "work", keep / "build.log"
    for abandoned in shelf.glob(f"{parts.package}_*/work"):
        discard(abandoned)
    folder = work / "source"
    folder.mkdir(parents=True)
    log.unlink(missing_ok=True)
    mine = replace(workshop, runner=replace(workshop.runner, log=log, label=parts.package))
    try:
        left = _build(release, parts, folder, mine)
        _lint(release, parts.package, folder, mine)
    except DebstackError as error:
        error.log = log
        raise
    discard(folder)
    seconds = time.monotonic() - start
    return Unsigned(
        parts.package, parts.version, left, sign.payload_digest(left.deb), round(seconds, 1)
    )


def _build(release: Release, parts: Parts, folder: Path, workshop: Workshop) -> Package:
    described = assemble(release, parts, folder, workshop)
    if described is None:
        return _package(parts.package, folder, workshop)
    component = release.definition.component(parts.package)
    return _build_and_prove(release, component, described, folder, workshop)


def _build_and_prove(
    release: Release,
    component: Component,
    described: description.Component,
    folder: Path,
    workshop: Workshop,
) -> Package:
    """Build the package and, meanwhile, prove that what it ships starts."""
    name, python = component.name, release.target.python

    def proof() -> None:
        with workshop.log.step(name, "proof that it starts"):
            prove(component, described, folder / "payload", python,
                  isolate=workshop.isolate, runner=workshop.runner)  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        proved = pool.submit(proof)
        built = _package(name, folder, workshop)
        proved.result()
    return built


def _package(name: str, folder: Path, workshop: Workshop) -> Package:
    with workshop.log.step(name, "dpkg-buildpackage"):
        return package(folder, folder.parent / "output", workshop.runner)


def _lint(release: Release, name: str, folder: Path, workshop: Workshop) -> None:
    component = kind_of(name, release.definition) == "component"
    unlinted = (f"usr/lib/trading/{name}/.venv",) if component else ()
    with workshop.log.step(name, "lintian"):
        lint(folder, name, unlinted, workshop.runner)
