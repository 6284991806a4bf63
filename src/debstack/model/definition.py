"""What a user writes under packaging/: the stack, its targets and channels, and its components.

These dataclasses are the schema: ``debstack.model.reading`` fills them from TOML and reports every
key that is unknown, missing or of a wrong type. ``debstack.model.checks`` holds the rules that a
type cannot express. All times are in seconds unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A Debian release and architecture that packages are built for.

    ``suffix`` ends every version built for it (``~deb12``), ``python`` is its interpreter's minor
    version, ``platform`` what uv calls the wheels that run on it.
    """

    name: str
    suffix: str
    python: str
    architecture: str
    platform: str


@dataclass(frozen=True)
class Channel:
    """A place to publish to; the apt suite is ``<target>-<channel>``."""

    name: str
    production: bool


TOOLS = Channel("tools", production=False)
"""Where build machines find debstack: no channel of releases, and none may have its name."""


@dataclass(frozen=True)
class Archive:
    """The apt repository: how it presents itself, and where servers find it."""

    origin: str
    label: str
    uri: str
    valid_for_days: int
    grace_days: int


@dataclass(frozen=True)
class Retention:
    """Which releases stay in the repository: the ``keep`` newest of a channel, and ``pinned``."""

    keep: int = 10
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """An advisory that is known and accepted, why, and until which day (2026-12-31)."""

    id: str
    reason: str
    until: str


@dataclass(frozen=True)
class Audit:
    """Who is asked for advisories about dependencies; see debstack.steps.advisories.

    ``service`` is an address, ``database`` a zip file or folder, relative to the project.
    ``canary`` is a distribution (``name==version``) that each of them has an advisory about.
    """

    service: str = ""
    database: str = ""
    max_age_days: int = 14
    canary: str = "jinja2==2.4.1"
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True)
class Stack:
    """The whole: packaging/stack.toml. Its own packages are called ``<name>-…``."""

    name: str
    maintainer: str
    homepage: str
    components: tuple[str, ...]
    archive: Archive
    targets: tuple[Target, ...]
    channels: tuple[Channel, ...]
    retention: Retention = Retention()
    audit: Audit = field(default_factory=Audit)


@dataclass(frozen=True)
class Trust:
    """Who vouches for a component's commits; see debstack.model.trust.Policy.

    ``branches`` and ``tags`` are names, which may hold a ``*``; ``signers`` are files below
    packaging/keys: GPG public keys (``.asc``) or OpenSSH allowed signers.
    """

    urls: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where a component's code comes from.

    ``url`` is anything git fetches from, or a path relative to the project. ``exclude`` are
    gitignore-style patterns of tracked files that are not shipped.
    """

    url: str
    ref: str
    exclude: tuple[str, ...] = ()
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True)
class Python:
    """How the virtual environment is made.

    ``tree`` ships the repository's files beside the environment; ``wheel`` builds the repository's
    pyproject.toml and installs the wheel into it. ``requirements`` are files in the repository,
    ``extra_requirements`` are requirements the repository forgot to name. ``sdists`` are the
    distributions that may be built from source, because their authors publish no wheel.
    """

    install: Literal["tree", "wheel"]
    requirements: tuple[str, ...] = ()
    extra_requirements: tuple[str, ...] = ()
    sdists: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """Settings: ``/etc/trading/<name>``, the default taken from ``packaging/<source>``."""

    name: str
    source: str


@dataclass(frozen=True)
class StateDirectory:
    """A directory below the root that the services write; see tradingctl.description.State."""

    path: str
    databases: tuple[str, ...] = ()
    tracked: bool = False
    artifacts: bool = False


@dataclass(frozen=True)
class SecretDefinition:
    """A secret variable of the component's services; see tradingctl.description.Secret."""

    variable: str
    length: int = 24
    generate: bool = True
    credential: bool = False
    weak: tuple[str, ...] = ()
    staging_only: tuple[str, ...] = ()
    needed_if: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SandboxException:
    """A sandbox directive that a unit cannot live with, and why."""

    directive: str
    value: str
    reason: str


@dataclass(frozen=True)
class HealthCheck:
    """One HTTP question to a unit; see tradingctl.description.Check."""

    name: str
    url: str
    status: tuple[int, ...] = (200,)
    json: Mapping[str, str] = field(default_factory=dict)
    commit_json: str = ""
    commit_header: str = ""
    required: bool = True


@dataclass(frozen=True)
class UnitDefinition:
    """A systemd service of a component.

    ``exec`` is the command line, its program relative to the root. In ``exec``, ``environment``
    and check URLs, ``{root}``, ``{etc}``, ``{state}``, ``{log}`` and ``{port}`` stand for the
    component's places and the unit's port. One that ``sends_orders`` in some mode is kept from it
    on a machine that is not production. ``notify`` services tell systemd when they are ready;
    for ``simple`` ones with a port the unit waits for the required checks.
    """

    name: str
    description: str
    exec: str
    type: Literal["simple", "notify"]
    order: int
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    deadline: float = 30.0
    stability: float = 3.0
    required: bool = True
    sends_orders: bool = False
    sandbox_exceptions: tuple[SandboxException, ...] = ()
    checks: tuple[HealthCheck, ...] = ()


@dataclass(frozen=True)
class Component:
    """One repository and its package: packaging/components/<name>.toml."""

    name: str
    summary: str
    description: str
    source: Source
    python: Python
    units: tuple[UnitDefinition, ...]
    depends: tuple[str, ...] = ()
    state: tuple[StateDirectory, ...] = ()
    logs: tuple[str, ...] = ()
    config: tuple[Config, ...] = ()
    secrets: tuple[SecretDefinition, ...] = ()
    environments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """Everything under packaging/ that a person writes, parsed and checked."""

    stack: Stack
    components: tuple[Component, ...]

    def component(self, name: str) -> Component:
        """Return the component called ``name``. Raises KeyError."""
        return next(each for each in self.components if each.name == name)

    def target(self, name: str) -> Target:
        """Return the target called ``name``. Raises KeyError."""
        return next(each for each in self.stack.targets if each.name == name)
