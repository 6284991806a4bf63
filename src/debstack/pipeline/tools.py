"""Publishing what build machines install: debstack itself, signed as every package of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from debstack.archive.suite import Publication
from debstack.gpg import Key
from debstack.model.definition import Target
from debstack.pipeline.channels import Channels
from debstack.process import Runner
from debstack.steps.sign import sign


def publish_tools(
    debs: Sequence[Path], target: Target, key: Key, channels: Channels, runner: Runner
) -> Publication:
    """Sign ``debs`` with the package key, and offer them in the tools' suite of ``target``.

    The files themselves stay as they are. Raises SigningError or ArchiveError; the archive is then
    as it was.
    """
    with tempfile.TemporaryDirectory(prefix="debstack-tools-") as name:
        signed = [Path(name) / each.name for each in debs]
        for deb, place in zip(debs, signed, strict=True):
            sign(deb, place, key, runner)
        return channels.publish_tools(target, signed)
