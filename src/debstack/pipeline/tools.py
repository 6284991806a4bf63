"""Publishing what build machines install: debstack itself, signed as every package of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from debstack.archive.package import read_package
from debstack.archive.suite import Publication
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.model.definition import TOOLS, Target
from debstack.pipeline.channels import Channels
from debstack.process import Runner
from debstack.steps.sign import sign

_NAME = "debstack"


def publish_tools(
    debs: Sequence[Path], target: Target, key: Key, channels: Channels, runner: Runner
) -> Publication:
    """Sign ``debs`` with the package key, and offer them in the tools' suite of ``target``.

    The files themselves stay as they are. Raises SigningError, or ArchiveError, also for a package
    that is not debstack's own; the archive is then as it was.
    """
    for deb in debs:
        if (name := read_package(deb).name) != _NAME:
            raise ArchiveError(
                f"{deb} is {name}, and {target.name}-{TOOLS.name} is for {_NAME} itself",
                hint="make it with: make self-deb; a release is published with: debstack publish",
            )
    with tempfile.TemporaryDirectory(prefix="debstack-tools-") as folder:
        signed = [Path(folder) / each.name for each in debs]
        for deb, place in zip(debs, signed, strict=True):
            sign(deb, place, key, runner)
        return channels.publish_tools(target, signed)
