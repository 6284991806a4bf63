"""Make one package: write its source package, build it, prove it, check it, sign it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import DebstackError
from debstack.gpg import Key
from debstack.keys import Keys
from debstack.model.definition import Component
from debstack.pipeline.assemble import Parts, assemble
from debstack.pipeline.attest import Attested, attest
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.keyring import trusted_keys
from debstack.pipeline.packages import kind_of
from debstack.process import Runner
from debstack.steps import sign
from debstack.steps.package import Package, lint, package
from debstack.steps.prove import prove
from debstack.steps.stage import discard
from tradingctl import description

_RECORD = "build.json"


@dataclass(frozen=True)
class Built:
    """One finished package: sizes in bytes, times in seconds.

    ``payload`` is the sha256 before signing, which two builds of the same inputs share. ``built``
    is false for one that was there already. ``beside`` names the files that go with it.
    """

    package: str
    version: str
    file: str
    size: int
    installed_size: int
    sha256: str
    payload: str
    inputs: str
    key: str
    seconds: float
    built: bool
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """What to make: a package at a version, from a commit's tar if it is a component."""

    package: str
    version: str
    inputs: str
    tar: Path | None


def recorded(folder: Path) -> Built | None:
    """Return what an earlier build left in ``folder``, or None if it did not finish."""
    try:
        record = Built(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))
        return replace(record, beside=tuple(record.beside))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def make(release: Release, keys: Keys, order: Order, keep: Path, workshop: Workshop) -> Built:
    """Make one package in ``keep``, where its log stays, and return what came of it.

    Raises BuildError, StartError or SigningError; ``keep`` then has no record of it.
    """
    start = time.monotonic()
    work, log = keep / "work", keep / "build.log"
    for abandoned in keep.parent.glob(f"{order.package}_*/work"):
        discard(abandoned)
    folder = work / "source"
    folder.mkdir(parents=True)
    log.unlink(missing_ok=True)
    mine = replace(workshop, runner=replace(workshop.runner, log=log, label=order.package))
    try:
        built = _build(release, keys, order, folder, mine)
        signed = _lint_and_sign(release, order, built, folder, keys, mine)
    except DebstackError as error:
        error.log = log
        raise
    key = _signer(release, order, keys)
    record = _keep(release, order, built, signed, keep, key, start, mine.runner)
    discard(work)
    return record


def _signer(release: Release, order: Order, keys: Keys) -> Key:
    return keys.of_package(keyring=kind_of(order.package, release.definition) == "keyring")


def _build(release: Release, keys: Keys, order: Order, folder: Path, workshop: Workshop) -> Package:
    described = assemble(release, _parts(release, keys, order, workshop), folder, workshop)
    if described is None:
        return _package(order.package, folder, workshop)
    component = release.definition.component(order.package)
    return _build_and_prove(release, component, described, folder, workshop)


def _parts(release: Release, keys: Keys, order: Order, workshop: Workshop) -> Parts:
    parts = Parts(order.package, order.version, order.tar)
    if kind_of(order.package, release.definition) != "keyring":
        return parts
    trusted = trusted_keys(release.project, keys, workshop.runner)
    return replace(parts, trusted=trusted, development=keys.development)


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


def _lint_and_sign(
    release: Release, order: Order, built: Package, folder: Path, keys: Keys, workshop: Workshop
) -> Path:
    """Return the signed package, which lintian has seen meanwhile.

    It stays in the work folder until both are done, so nothing signed outlives an objection.
    """
    name, log = order.package, workshop.log
    component = kind_of(name, release.definition) == "component"
    unlinted = (f"usr/lib/trading/{name}/.venv",) if component else ()
    signed = folder.parent / built.deb.name
    key = _signer(release, order, keys)

    def check() -> None:
        with log.step(name, "lintian"):
            lint(folder, name, unlinted, workshop.runner)

    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(check)
        with log.step(name, "sign"):
            sign.sign(built.deb, signed, key, workshop.runner)
        checked.result()
    return signed


def _keep(
    release: Release,
    order: Order,
    built: Package,
    signed: Path,
    keep: Path,
    key: Key,
    start: float,
    runner: Runner,
) -> Built:
    """Move what was built to where it is kept, and record it last."""
    (keep / _RECORD).unlink(missing_ok=True)
    for path in keep.glob(f"{order.package}_*"):
        path.unlink()
    payload = sign.payload_digest(built.deb)
    deb = signed.rename(keep / signed.name)
    attested = Attested(order.package, order.version, built, deb, payload)
    beside = attest(release, attested, key, keep, runner)
    installed = runner.capture(["dpkg-deb", "--field", deb, "Installed-Size"]).text
    record = Built(
        package=order.package,
        version=order.version,
        file=deb.name,
        size=deb.stat().st_size,
        installed_size=int(installed) * 1024,
        sha256=sha256_of(deb),
        payload=payload,
        inputs=order.inputs,
        key=key.fingerprint,
        seconds=round(time.monotonic() - start, 1),
        built=True,
        beside=beside,
    )
    temporary = keep / f".{_RECORD}"
    temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    temporary.replace(keep / _RECORD)
    return record
