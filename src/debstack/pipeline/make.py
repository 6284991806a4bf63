"""Finish one package that was made: sign it, attest it, and keep it with a record."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import DebstackError
from debstack.gpg import Key
from debstack.pipeline.attest import Attested, attest
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.unsigned import Unsigned
from debstack.process import Runner
from debstack.steps import sign
from debstack.steps.stage import discard

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


def recorded(folder: Path) -> Built | None:
    """Return what an earlier build left in ``folder``, or None if it did not finish."""
    try:
        record = Built(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))
        return replace(record, beside=tuple(record.beside))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def finish(
    release: Release, unsigned: Unsigned, inputs: str, key: Key, keep: Path, workshop: Workshop
) -> Built:
    """Sign a package, and put it with all that goes with it into ``keep``.

    ``inputs`` is the digest of what it was made from. Raises SigningError; ``keep`` then has no
    record of it.
    """
    start = time.monotonic()
    log, work = keep / "build.log", keep / "work"
    runner = replace(workshop.runner, log=log, label=unsigned.package)
    signed = work / unsigned.left.deb.name
    try:
        with workshop.log.step(unsigned.package, "sign"):
            sign.sign(unsigned.left.deb, signed, key, runner)
        record = _keep(release, unsigned, inputs, key, signed, keep, start, runner)
    except DebstackError as error:
        error.log = log
        raise
    discard(work)
    return record


def _keep(
    release: Release,
    unsigned: Unsigned,
    inputs: str,
    key: Key,
    signed: Path,
    keep: Path,
    start: float,
    runner: Runner,
) -> Built:
    """Move what was built to where it is kept, and record it last."""
    (keep / _RECORD).unlink(missing_ok=True)
    for path in keep.glob(f"{unsigned.package}_*"):
        path.unlink()
    deb = signed.rename(keep / signed.name)
    attested = Attested(unsigned.package, unsigned.version, unsigned.left, deb, unsigned.payload)
    beside = attest(release, attested, key, keep, runner)
    installed = runner.capture(["dpkg-deb", "--field", deb, "Installed-Size"]).text
    record = Built(
        package=unsigned.package,
        version=unsigned.version,
        file=deb.name,
        size=deb.stat().st_size,
        installed_size=int(installed) * 1024,
        sha256=sha256_of(deb),
        payload=unsigned.payload,
        inputs=inputs,
        key=key.fingerprint,
        seconds=round(unsigned.seconds + time.monotonic() - start, 1),
        built=True,
        beside=beside,
    )
    temporary = keep / f".{_RECORD}"
    temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    temporary.replace(keep / _RECORD)
    return record
