"""What runs in the root of another Debian release: it makes unsigned packages there.

Usage: python3 -m debstack.pipeline.inside, started by debstack.pipeline.rooted, which binds the
folders below and writes what is wanted. What came of it is left in OUTCOME, failures too; exit code
0 says that this was done.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debstack.errors import DebstackError, told_again
from debstack.log import Log
from debstack.model.lock import parse_lock
from debstack.model.reading import load
from debstack.pipeline.assemble import Parts
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.unsigned import Outcome, Unsigned, unsigned
from debstack.process import Runner
from debstack.steps.package import Package

BASE = Path("/debstack")
"""Where everything of debstack's is in a root; nothing of Debian's lies there."""

PROJECT, CACHE, SHELF = BASE / "project", BASE / "cache", BASE / "packages"
_WANTED, _OUTCOME = "wanted.json", "outcome.json"
EXCHANGE = BASE / "exchange"


@dataclass(frozen=True)
class Wanted:
    """What is to be made: packages of ``lock`` for a target, ``jobs`` at a time.

    ``lock`` is its text: the project's file may be written anew meanwhile. The tars of commits are
    named by their file in the cache's sources.
    """

    lock: str
    target: str
    jobs: int
    verbose: bool
    packages: tuple[Parts, ...]

    def write(self, exchange: Path) -> None:
        """Write it into the folder that both sides see."""
        document = {
            "lock": self.lock,
            "target": self.target,
            "jobs": self.jobs,
            "verbose": self.verbose,
            "packages": [_parts_document(each) for each in self.packages],
        }
        (exchange / _WANTED).write_text(json.dumps(document), encoding="utf-8")


def read_outcome(exchange: Path, shelf: Path) -> Outcome | None:
    """Return what the run in the root left, with paths as they are outside; None if not whole."""
    try:
        document = json.loads((exchange / _OUTCOME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Not begun, or not written to its end: the disk may be full.
        return None
    made = tuple(_unsigned(each, shelf) for each in document["made"])
    told = document["failure"]
    return Outcome(made, _failure(told, shelf) if told else None)


def main() -> None:
    """Make what is wanted, and say what came of it."""
    os.umask(0o022)
    try:
        outcome = _run(json.loads((EXCHANGE / _WANTED).read_text(encoding="utf-8")))
    except OSError as error:
        failure = DebstackError(str(error), hint="see to that file, or to that disk")
        outcome = Outcome((), failure)
    except DebstackError as failure:
        outcome = Outcome((), failure)
    document = {
        "made": [_unsigned_document(each) for each in outcome.made],
        "failure": outcome.failure and _failure_document(outcome.failure),
    }
    (EXCHANGE / _OUTCOME).write_text(json.dumps(document), encoding="utf-8")


def _run(wanted: Mapping[str, Any]) -> Outcome:
    definition = load(PROJECT)
    (target,) = (each for each in definition.stack.targets if each.name == wanted["target"])
    release = Release(PROJECT, definition, parse_lock(wanted["lock"], "repos.lock"), target)
    runner = Runner(echo=wanted["verbose"])
    workshop = Workshop(
        CACHE, wanted["jobs"], offline=True, runner=runner, log=Log(), confined=True
    )
    return unsigned(release, [_parts(each) for each in wanted["packages"]], SHELF, workshop)


def _parts_document(parts: Parts) -> dict[str, object]:
    return {
        "package": parts.package,
        "version": parts.version,
        "tar": parts.tar and parts.tar.name,
        "trusted": {
            role: {name: base64.b64encode(key).decode() for name, key in keys.items()}
            for role, keys in parts.trusted.items()
        },
        "development": parts.development,
    }


def _parts(document: Mapping[str, Any]) -> Parts:
    trusted: dict[str, dict[str, bytes]] = {
        role: {name: base64.b64decode(key) for name, key in keys.items()}
        for role, keys in document["trusted"].items()
    }
    tar = document["tar"]
    return Parts(
        document["package"], document["version"], CACHE / "sources" / tar if tar else None,
        trusted, document["development"],
    )  # fmt: skip


def _unsigned_document(made: Unsigned) -> dict[str, object]:
    left = made.left
    return {
        "package": made.package,
        "version": made.version,
        "files": [_within(each, SHELF) for each in (left.deb, left.buildinfo, left.changes)],
        "payload": made.payload,
        "seconds": made.seconds,
    }


def _unsigned(document: Mapping[str, Any], shelf: Path) -> Unsigned:
    left = Package(*(shelf / each for each in document["files"]))
    package, version = document["package"], document["version"]
    return Unsigned(package, version, left, document["payload"], document["seconds"])


def _failure_document(failure: DebstackError) -> dict[str, object]:
    return {
        "exit_code": failure.exit_code,
        "message": failure.message,
        "hint": failure.hint,
        "details": failure.details,
        "log": failure.log and _within(failure.log, SHELF),
    }


def _failure(document: Mapping[str, Any], shelf: Path) -> DebstackError:
    """Return the error that was raised in the root, as what it was."""
    failure = told_again(
        document["exit_code"], document["message"],
        hint=document["hint"], details=document["details"],
    )  # fmt: skip
    failure.log = shelf / document["log"] if document["log"] else None
    return failure


def _within(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


if __name__ == "__main__":
    main()
