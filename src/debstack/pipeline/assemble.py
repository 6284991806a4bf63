"""Assemble a package of any kind: write what it ships and its debian/ into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from debstack.pipeline import contents
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.packages import kind_of
from tradingctl import description


@dataclass(frozen=True)
class Parts:
    """What a package is made from, besides the release that it belongs to.

    ``tar`` is the exported commit of a component. The keyring ships the ``trusted`` public keys,
    binary, by role and then by fingerprint, and says so if they are for ``development``.
    """

    package: str
    version: str
    tar: Path | None = None
    trusted: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    development: bool = False


def assemble(
    release: Release, parts: Parts, folder: Path, workshop: Workshop
) -> description.Component | None:
    """Write payload and debian/ of the package into ``folder``.

    Returns the description that a component carries, None for the others. Raises BuildError,
    DependencyError or LockError.
    """
    name = parts.package
    kind = kind_of(name, release.definition)
    if kind == "component":
        assert parts.tar is not None  # noqa: S101  (components are fetched before they are made)
        component = release.definition.component(name)
        return contents.component_contents(release, component, parts.tar, folder, workshop)
    if kind == "common":
        contents.common_contents(release, folder)
    elif kind == "stack":
        contents.stack_contents(release, folder)
    elif kind == "ibgateway":
        contents.ibgateway_contents(release, name, folder)
    else:
        contents.keyring_contents(release, parts.version, parts.trusted, parts.development, folder)
    return None
