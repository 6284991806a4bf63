"""Channels of a small stack with releases of a few bytes, signed by keys that are no playthings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

from tests.build.archive import RUNNER, make_deb
from tests.unit.debstack.model import project

from debstack import gpg
from debstack.archive.content import About
from debstack.archive.publish import Publisher
from debstack.archive.suite import Publication
from debstack.archive.tree import Tree
from debstack.gpg import Key
from debstack.log import Log
from debstack.model.definition import Channel, Definition, Retention
from debstack.model.reading import load
from debstack.pipeline.channels import Channels, Place, Trust
from debstack.pipeline.publish import BuiltRelease
from debstack.steps import sign

GRACE = timedelta(days=30)


@dataclass(frozen=True)
class Keys:
    """The package key, and one repository key for each channel; none is a development key."""

    package: Key
    staging: Key
    prod: Key


def make_keys(home: Path) -> Keys:
    """Make three keys in a new GnuPG home."""
    home.mkdir(mode=0o700)

    def key(name: str) -> Key:
        fingerprint, _ = gpg.generate(f"{name} <{name}@example.org>", home, RUNNER)
        return Key(fingerprint, home, None, None, development=False)

    return Keys(key("package"), key("staging"), key("prod"))


@dataclass(frozen=True)
class Shop:
    """The channels of the demo stack in ``folder`` at a time; its releases lie in ``source``."""

    folder: Path
    source: Path
    keys: Keys
    now: datetime
    pinned: tuple[str, ...] = ()
    development: bool = False

    @property
    def tree(self) -> Tree:
        """The archive."""
        return Tree(self.folder / "apt")

    @property
    def definition(self) -> Definition:
        """The demo stack, for Debian 12 and 13, with what is pinned."""
        if not (self.folder / "project").exists():
            project.write(self.folder / "project")
        definition = load(self.folder / "project")
        (bookworm,) = definition.stack.targets
        targets = (bookworm, replace(bookworm, name="trixie", suffix="deb13"))
        retention = Retention(pinned=self.pinned)
        stack = replace(definition.stack, targets=targets, retention=retention)
        return replace(definition, stack=stack)

    @property
    def channels(self) -> Channels:
        """What a command line would work with."""
        publisher = Publisher(self.tree.root, lambda: self.now, GRACE, RUNNER, Log(StringIO()))

        def public() -> bytes:
            with gpg.signing([self.keys.package], RUNNER) as ring:
                return ring.public

        def signers(channel: Channel) -> list[Key]:
            # The suite of tools is signed as staging is.
            return [getattr(self.keys, channel.name, self.keys.staging)]

        trust = Trust(signers, public, lambda: self.development)
        return Channels(self.definition, publisher, trust)

    def at(self, days: float) -> Shop:
        """Return the same, so many days later."""
        return replace(self, now=self.now + timedelta(days=days))

    def place(self, channel: str, target: str = "bookworm") -> Place:
        """Return a channel on a target."""
        (found,) = (each for each in self.definition.stack.channels if each.name == channel)
        return self.channels.place(self.definition.target(target), found)

    def built(self, number: int, target: str = "bookworm", key: Key | None = None) -> BuiltRelease:
        """Return release ``number``: a feed of its own, common of all, and the stack."""
        name = f"2026.11.23.{number}"
        where = self.definition.target(target)
        signer = key or self.keys.package
        folder = self.source / target / signer.fingerprint
        version = f"{name}~{where.suffix}"
        common = f"2026.11.23.1~{where.suffix}"
        depends = f"Depends: python3 (>= 3.11), python3 (<< 3.14), python3:any, feed (= {version})"
        debs = (
            deb(folder, "feed", version, signer, "Depends: libc6 (>= 2.36), adduser | systemd\n"),
            deb(folder, "common", common, signer),
            deb(folder, "traderunner-stack", version, signer, f"{depends}, common (= {common})\n"),
        )
        return BuiltRelease(where, About(name, {"feed": f"{number:040x}"}), debs)

    def publish(self, number: int, target: str = "bookworm") -> Publication:
        """Publish a release to staging."""
        place = self.place("staging", target)
        return self.channels.publish(self.built(number, target), place.channel)

    def promote(self, number: int, target: str = "bookworm") -> Publication:
        """Promote a release from staging to prod."""
        places = self.place("staging", target), self.place("prod", target)
        return self.channels.promote(f"2026.11.23.{number}", *places)

    def offered(self, channel: str, target: str = "bookworm") -> list[int]:
        """Return the numbers of the releases that a channel has, in order of publication."""
        releases = self.channels.releases(self.place(channel, target))
        return [int(each.name.rpartition(".")[2]) for each in releases]

    def problems(self) -> list[str]:
        """Return what ``archive verify`` says is wrong."""
        return [f"{each.place}: {each.problem}" for each in self.channels.verify() if each.harmful]


def deb(folder: Path, name: str, version: str, key: Key, fields: str = "") -> Path:
    """Return a signed package, made once."""
    path = folder / f"{name}_{version}_amd64.deb"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unsigned = make_deb(folder, name, version, f"{name} {version}", fields)
        sign.sign(unsigned, path, key, RUNNER)
    return path
