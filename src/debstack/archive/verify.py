"""Look at everything in the archive again: every hash, every signature, every file, and ask apt."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from debian.deb822 import Deb822

from debstack import gpg
from debstack.archive import content, manifest, release
from debstack.archive.collection import unneeded
from debstack.archive.content import Content
from debstack.archive.generation import BY_HASH, indexed, listed
from debstack.archive.manifest import Manifest
from debstack.archive.package import Package
from debstack.archive.plan import newest_taken
from debstack.archive.resolve import PrivateApt, resolve, unpreferred
from debstack.archive.tree import KEYRING, TEMPORARY, Tree, unchanging
from debstack.archive.version import version_key
from debstack.digest import sha256_of
from debstack.errors import ArchiveError, DebstackError
from debstack.process import SYSTEM_PATH, Runner

# apt refuses an index that is dated further ahead of its own clock.
_AHEAD = timedelta(seconds=10)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, and what; a notice harms no client."""

    place: str
    problem: str
    harmful: bool = True


@dataclass(frozen=True)
class Examination:
    """Examines the archive at the time ``now``, and collects what it finds.

    ``signers`` are the fingerprints by which each suite has to be signed, as far as that is known;
    ``check_package`` raises a DebstackError for a package whose own signature is not good. It is
    asked about what the suites offer now: what older generations had, whose packages stay for the
    grace period, may have been signed by a key that was replaced since.
    """

    tree: Tree
    now: datetime
    runner: Runner
    signers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    check_package: Callable[[Path], None] = lambda _: None
    found: list[Finding] = field(default_factory=list)
    wanted: dict[str, Package] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)

    def examine(self) -> list[Finding]:
        """Return everything that is wrong, the harmless after the harmful.

        Publishers wait meanwhile: what they remove would look lost.
        """
        with unchanging(self.tree):
            return self._examine()

    def _examine(self) -> list[Finding]:
        suites = self.tree.suites()
        if not suites:
            self._report(str(self.tree.root), "holds no suite")
        for suite in suites:
            self._suite(suite)
        self._pool()
        self._leftovers()
        return sorted(self.found, key=lambda each: not each.harmful)

    def _report(self, place: str | Path, problem: str, *, harmful: bool = True) -> None:
        if isinstance(place, Path):
            place = str(place.relative_to(self.tree.root))
        self.found.append(Finding(place, problem, harmful))

    def _suite(self, suite: str) -> None:
        try:
            number = self.tree.live(suite)
        except ArchiveError as error:
            self._report(suite, f"{error.message}; {error.hint}")
            return
        if number is None or number not in self.tree.numbers(suite):
            self._report(suite, "was never published, or its generation is lost")
            return
        read: list[Manifest] = []
        for each in self.tree.numbers(suite):
            if each > number:
                where = self.tree.generation(suite, each)
                self._report(
                    where, "was never published; the next command removes it", harmful=False
                )
            elif made := self._generation(suite, each, live=each == number):
                read.append(made)
        if not read or read[-1].generation != number:
            return
        self._live(suite, read[-1], newest_taken(read, self.now))
        self._by_hash_of_live(suite, read, read[-1])
        self._apt(suite, read[-1])

    def _generation(self, suite: str, number: int, *, live: bool) -> Manifest | None:
        folder = self.tree.generation(suite, number)
        try:
            made = manifest.load(self.tree, suite, number)
            text = (folder / "Release").read_bytes()
            self._signatures(folder, text, made)
            packages = indexed(folder, text)
            offered = content.load(self.tree, suite, number)
        except DebstackError as error:
            self._report(folder, error.message)
            return None
        except Exception as error:
            self._report(folder, f"cannot be read: {error!r}")
            return None
        if (made.release.get("Suite"), made.generation) != (suite, number):
            theirs = f"{made.release.get('Suite')}, number {made.generation}"
            self._report(folder, f"is a generation of {theirs}")
            return None
        fields = Deb822(text)
        said = {name: fields.get(name) for name in made.release}
        if said != dict(made.release) or fields.get("Valid-Until") != release.timestamp(
            made.valid_until
        ):
            self._report(folder / "Release", "is not what the manifest says")
        self._by_hash(folder)
        self._releases(folder, offered)
        if live and offered.releases and content.NAME not in listed(text):
            what = "does not sign yet which packages are a release: debstack refresh --force"
            self._report(suite, what, harmful=False)
        if live:
            self.offered.update(each.filename for each in packages)
        for package in packages:
            known = self.wanted.setdefault(package.filename, package)
            if known.sha256 != package.sha256:
                self._report(package.filename, "two generations name different content for it")
        return made

    def _signatures(self, folder: Path, text: bytes, made: Manifest) -> None:
        keyring = folder / KEYRING
        if not keyring.exists() and not (folder / content.NAME).exists():
            # Of the first format, when the archive had one keyring for all.
            keyring = self.tree.keyring(str(made.release.get("Suite")))
        signed, clear = gpg.verify_clear((folder / "InRelease").read_bytes(), keyring, self.runner)
        detached = gpg.verify((folder / "Release.gpg").read_bytes(), [text], keyring, self.runner)
        if signed != text:
            self._report(folder, "InRelease and Release differ")
        if not sorted(clear) == sorted(detached) == sorted(made.signers):
            self._report(
                folder, f"is signed by {', '.join(clear)}, not by {', '.join(made.signers)}"
            )

    def _by_hash(self, folder: Path) -> None:
        for path in sorted(folder.glob(f"main/binary-*/{BY_HASH}/*")):
            if sha256_of(path) != path.name:
                self._report(path, "has other content than its name says")

    def _releases(self, folder: Path, offered: Content) -> None:
        present = {each.filename for each in offered.packages}
        for each in offered.releases:
            for name in sorted(set(each.files) - present):
                self._report(folder, f"release {each.name} needs {name}, which is not in the index")

    def _live(self, suite: str, live: Manifest, taken: Manifest | None) -> None:
        expected = self.signers.get(suite)
        if expected and sorted(expected) != sorted(live.signers):
            self._report(
                suite,
                f"is signed by {', '.join(live.signers)}, and {', '.join(expected)} should sign it:"
                " debstack refresh",
            )
        sign = "debstack refresh"
        if self.signers and expected is None:
            sign = "it is no channel any more: add one to packaging/stack.toml, or take it away"
        if live.valid_until <= self.now:
            self._report(suite, f"expired at {live.valid_until:%Y-%m-%d %H:%M}: {sign}")
        elif live.valid_until - self.now < (live.valid_until - live.published) / 4:
            text = f"expires at {live.valid_until:%Y-%m-%d %H:%M}: {sign}"
            self._report(suite, text, harmful=False)
        if live.published - self.now > _AHEAD:
            self._report(suite, f"is dated in the future: {live.published:%Y-%m-%d %H:%M:%S}:"
                         " debstack refresh")  # fmt: skip
        elif taken and taken.published > live.published:
            what = f"generation {taken.generation}, whose clients ignore it"
            self._report(suite, f"is dated before {what}: debstack refresh")

    def _by_hash_of_live(self, suite: str, read: Sequence[Manifest], live: Manifest) -> None:
        """Look for every index that clients ask for, of the live generation and earlier ones."""
        folder = self.tree.dist(suite)
        # What does not say what it carries was made when everything earlier was carried.
        known = [each.generation for each in read] if live.carried is None else live.carried
        for each in read:
            if each is not live and each.generation not in known:
                where = self.tree.generation(suite, each.generation)
                # Its publisher was stopped between the commit and the collection.
                self._report(where, "is outdated; the next publication removes it", harmful=False)
                continue
            for name in each.blobs:
                if not (folder / name).is_file():
                    text = f"generation {each.generation} needs {name}, which is not there any more"
                    self._report(suite, text)

    def _pool(self) -> None:
        with ThreadPoolExecutor() as pool:
            for problems in pool.map(self._pool_file, self.wanted.values()):
                self.found.extend(problems)

    def _pool_file(self, package: Package) -> list[Finding]:
        path = self.tree.root / package.filename
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                if (digest, file.tell()) != (package.sha256, package.size):
                    return [Finding(package.filename, "is not the file that was published")]
            if package.filename in self.offered:
                self.check_package(path)
        except OSError as error:
            return [Finding(package.filename, f"cannot be read: {error.strerror}")]
        except DebstackError as error:
            return [Finding(package.filename, error.message)]
        return []

    def _leftovers(self) -> None:
        try:
            leftovers = unneeded(self.tree)
        except ArchiveError:
            return  # reported with its generation
        for path in [*leftovers, *self.tree.generations.glob(f"*/{TEMPORARY}*")]:
            self._report(path, "is needed by nothing; the next command removes it", harmful=False)

    def _apt(self, suite: str, live: Manifest) -> None:
        if shutil.which("apt-get", path=SYSTEM_PATH) is None:
            self._report(suite, "was not tried with apt, which is not installed here")
            return
        offered = content.load(self.tree, suite, live.generation)
        with tempfile.TemporaryDirectory(prefix="debstack-apt-") as folder:
            architecture = live.release.get("Architectures", "").split()[0]
            apt = PrivateApt(Path(folder), architecture, self.runner)
            apt.set_up(self.tree, suite)
            if problems := apt.update():
                self._report(suite, f"apt cannot use it: {'; '.join(problems)}")
                return
            for name, reasons in resolve(apt, offered):
                self._report(suite, f"apt cannot install {name}: {'; '.join(reasons)}")
            if offered.releases:
                newest = max(offered.releases, key=lambda each: version_key(each.name))
                for reason in unpreferred(apt, offered, newest):
                    self._report(suite, reason, harmful=False)
