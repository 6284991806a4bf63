"""What every command needs: the project's folders, its definition, its lock, its keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import click

from debstack import keys
from debstack.archive.publish import Publisher
from debstack.archive.suite import Publication
from debstack.errors import DebstackError
from debstack.gpg import Key
from debstack.log import Log
from debstack.model.definition import Channel, Definition, Target
from debstack.model.lock import Lock, read_lock
from debstack.model.places import lock_file
from debstack.model.reading import load
from debstack.model.signers import PACKAGE, Signers, read_signers
from debstack.pipeline import keyring, page
from debstack.pipeline.build import Folders
from debstack.pipeline.channels import Channels, Trust
from debstack.pipeline.contents import Workshop
from debstack.pipeline.rooted import needs_root
from debstack.process import Runner
from debstack.steps import fetch


@dataclass
class Project:
    """A project as one invocation sees it."""

    root: Path
    verbose: bool

    @cached_property
    def log(self) -> Log:
        """Where steps are announced."""
        return Log()

    @property
    def runner(self) -> Runner:
        """Starts programs; with -v their output is shown."""
        return Runner(echo=self.verbose)

    @cached_property
    def definition(self) -> Definition:
        """What packaging/*.toml say. Raises DefinitionError."""
        return load(self.root)

    @cached_property
    def lock(self) -> Lock:
        """What packaging/repos.lock says. Raises LockError."""
        return read_lock(lock_file(self.root))

    @property
    def folders(self) -> Folders:
        """Where builds work and where their results go."""
        return Folders(self.root / "build", self.root / "dist")

    @property
    def archive(self) -> Path:
        """The apt repository."""
        return self.folders.dist / "apt"

    @property
    def cache(self) -> Path:
        """Where sources and wheels are kept; shared by all projects of a user."""
        given = os.environ.get("DEBSTACK_CACHE_DIR")
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(given) if given else Path(base) / "debstack"

    @cached_property
    def keys(self) -> keys.Keys:
        """The signing keys, or development keys with a warning. Raises SigningError."""
        loaded = keys.load(self.folders.build, os.environ, self.runner, self.signers)
        if loaded.development:
            self.log.warn(
                "signing with DEVELOPMENT KEYS of this machine, kept in build/keys: good for trying"
                " things out, refused by production channels. Make your own: debstack key new"
                " package; debstack key new repository"
            )
        return loaded

    @cached_property
    def signers(self) -> Signers:
        """The keys that packaging/keys names, by role. Raises DefinitionError."""
        found = read_signers(self.root)
        found.require_channels([each.name for each in self.definition.stack.channels])
        return found

    @property
    def secrets(self) -> tuple[Path, ...]:
        """What other people's code, where it has to be run, has no business to see.

        Folders of keys, files with their passphrases, and where the agents listen that have keys.
        """
        ssh = Path.home() / ".ssh"
        return (ssh, self.folders.build / "keys", *keys.secrets(os.environ))

    def target(self, name: str) -> Target:
        """Return the target called ``name``."""
        targets = {each.name: each for each in self.definition.stack.targets}
        if name not in targets:
            raise click.BadParameter(f"no target is called {name}; there is {', '.join(targets)}")
        return targets[name]

    def chosen(self, name: str | None) -> tuple[Target, ...]:
        """Return the target called ``name``, or ``all``; by default this machine's own release.

        Where there is no target for that, the first one is the default.
        """
        targets = self.definition.stack.targets
        if name == "all":
            return targets
        if name is not None:
            return (self.target(name),)
        own = [each for each in targets if not needs_root(each)]
        return tuple(own[:1] or targets[:1])

    def targets(self, name: str | None) -> tuple[Target, ...]:
        """Return the target called ``name``, by default all of them."""
        return self.definition.stack.targets if name is None else (self.target(name),)

    def channel(self, name: str) -> Channel:
        """Return the channel called ``name``."""
        channels = {each.name: each for each in self.definition.stack.channels}
        if name not in channels:
            raise click.BadParameter(f"no channel is called {name}; there is {', '.join(channels)}")
        return channels[name]

    @property
    def channels(self) -> Channels:
        """What can be done with the archive."""
        grace = timedelta(days=self.definition.stack.archive.grace_days)
        return Channels(
            self.definition,
            Publisher(self.archive, lambda: datetime.now(UTC), grace, self.runner, self.log),
            Trust(self._signers, self._package_keys, lambda: self.keys.package.development),
        )

    @contextmanager
    def page_of_what_is_done(self) -> Iterator[list[Publication]]:
        """Make the page anew at the end if the list has something then, whatever else failed."""
        done: list[Publication] = []
        try:
            yield done
        finally:
            if done:
                self.write_page()

    def write_page(self) -> None:
        """Make the archive's page anew; without it the archive is good, so no failure is raised."""
        try:
            page.write(self.channels.publisher.tree, self.definition, self.runner)
        except (DebstackError, OSError) as error:
            self.log.warn(
                f"{self.archive / page.NAME} is that of before: {error}; apt does not need it."
                " To make it again: debstack archive page"
            )

    def _signers(self, channel: Channel) -> Sequence[Key]:
        return self.keys.signers(channel.name)

    def _package_keys(self) -> bytes:
        return keyring.public_halves(self.root, self.keys, self.runner)[PACKAGE]

    def subjects(self, url: str, first: str, last: str) -> list[str] | None:
        """Return the commits after ``first`` up to ``last``; see fetch.subjects."""
        return fetch.subjects(url, first, last, project=self.root, runner=self.runner)

    def workshop(
        self, *, jobs: int | None = None, offline: bool = False, vendor: Path | None = None
    ) -> Workshop:
        """Return what a build works with.

        ``vendor`` is a folder of `debstack vendor`, by default the project's, if it has one.
        """
        cores = len(os.sched_getaffinity(0))
        own = self.root / "vendor"
        place = (vendor or own).resolve()
        return Workshop(
            self.cache, jobs or cores, offline, self.runner, self.log,
            vendor=place if vendor or own.is_dir() else None,
        )  # fmt: skip


pass_project = click.make_pass_decorator(Project)
