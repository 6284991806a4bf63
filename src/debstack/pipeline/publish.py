"""``debstack publish``: put a built release into a channel of the apt repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from debstack import gpg
from debstack.archive import publish as archive
from debstack.archive.plan import Plan
from debstack.archive.suite import Publication, Suite
from debstack.errors import ArchiveError, SigningError
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Channel, Definition, Target
from debstack.pipeline.packages import release_packages
from debstack.process import Runner
from debstack.steps import sign


def suite_of(definition: Definition, target: Target, channel: Channel) -> Suite:
    """Return the apt suite that ``channel`` is on ``target``, as its Release file describes it."""
    archive_definition = definition.stack.archive
    name = f"{target.name}-{channel.name}"
    return Suite(
        name=name,
        codename=name,
        origin=archive_definition.origin,
        label=archive_definition.label,
        description=f"{archive_definition.label}: {channel.name} for {target.name}",
        architectures=(target.architecture,),
        valid_for=timedelta(days=archive_definition.valid_for_days),
        production=channel.production,
    )


def release_files(folder: Path, definition: Definition, target: Target) -> list[Path]:
    """Return the packages of a built release for ``target``.

    The manifest says which they are, so that nothing that merely lies there is published. Raises
    ArchiveError if the release was not built for the target, or only a part of it: servers could
    not install it.
    """
    manifest = folder / f"{target.name}.json"
    if not manifest.is_file():
        raise ArchiveError(
            f"{folder} holds no release built for {target.name}", hint="run: debstack build"
        )
    built = {
        each["package"]: folder / each["file"]
        for each in json.loads(manifest.read_text())["packages"]
    }
    missing = [name for name in release_packages(definition) if name not in built]
    if missing:
        raise ArchiveError(
            f"{folder} lacks {', '.join(missing)} for {target.name}", hint="run: debstack build"
        )
    return list(built.values())


def publish(
    root: Path,
    definition: Definition,
    target: Target,
    channel: Channel,
    debs: Sequence[Path],
    keys: Keys,
    *,
    now: datetime,
    runner: Runner,
    log: Log,
) -> Publication:
    """Add ``debs`` to ``channel`` in the repository at ``root``, signed with the repository key.

    Every package that is new there must carry the package key's signature. Raises ArchiveError or
    SigningError; the channel is then as it was.
    """
    suite = suite_of(definition, target, channel)
    _refuse_development(suite, keys)
    with log.step("archive", f"publish to {suite.name}"):
        return archive.publish(
            root,
            suite,
            debs,
            keys.signers(channel.name),
            now=now,
            grace=timedelta(days=definition.stack.archive.grace_days),
            runner=runner,
            log=log,
            approve=lambda planned: _verify(planned, keys, runner),
        )


def _refuse_development(suite: Suite, keys: Keys) -> None:
    if suite.production and keys.development:
        raise ArchiveError(
            f"{suite.name} is a production channel, and these are development keys",
            hint="export DEBSTACK_PACKAGE_KEY=FINGERPRINT DEBSTACK_REPO_KEY=FINGERPRINT",
        )


def _verify(planned: Plan, keys: Keys, runner: Runner) -> None:
    """Raise SigningError unless the package key signed every package that is to be added."""
    known = [keys.package, *([keys.keyring] if keys.keyring not in (None, keys.package) else [])]
    with gpg.signing(known, runner) as ring:
        for addition in planned.additions:
            signer = sign.verify(addition.source, ring.keyring, runner)
            if signer not in [key.fingerprint for key in known]:
                raise SigningError(f"{addition.source} is signed by {signer}")
