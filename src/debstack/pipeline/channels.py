"""The channels of a project: publish, promote, take back, retain, sign anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from debstack.archive.content import About, PublishedRelease
from debstack.archive.package import read_package
from debstack.archive.plan import (
    Plan,
    live,
    plan_promotion,
    plan_publication,
    plan_refresh,
    plan_withdrawal,
)
from debstack.archive.publish import Publisher
from debstack.archive.retention import Decision, Offering, decide
from debstack.archive.signed import check_signed
from debstack.archive.suite import Publication, Suite
from debstack.archive.verify import Examination, Finding
from debstack.archive.version import version_key
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.model.definition import TOOLS, Channel, Definition, Target
from debstack.pipeline.each_suite import Failure, each_suite
from debstack.pipeline.publish import (
    BuiltRelease,
    check_same_bits,
    check_target,
    signature_check,
    suite_of,
)


@dataclass(frozen=True)
class Trust:
    """Who signs: the repository keys of each channel, and whose packages are accepted.

    ``package_keys`` gives a binary keyring; ``development`` tells whether it holds a development
    key. Nothing is asked before it is needed: looking at an archive needs no keys.
    """

    signers: Callable[[Channel], Sequence[Key]]
    package_keys: Callable[[], bytes]
    development: Callable[[], bool]


@dataclass(frozen=True)
class Place:
    """A channel on a target, and the suite that it is."""

    target: Target
    channel: Channel
    suite: Suite


@dataclass(frozen=True)
class Channels:
    """The channels of ``definition``, in the archive that ``publisher`` writes.

    Every method raises ArchiveError or SigningError; the suite in question is then as it was.
    """

    definition: Definition
    publisher: Publisher
    trust: Trust

    def place(self, target: Target, channel: Channel) -> Place:
        """Return the suite of ``channel`` on ``target``."""
        return Place(target, channel, suite_of(self.definition, target, channel))

    def published(self) -> list[Place]:
        """Return the places that have been published to."""
        tree = self.publisher.tree
        return [each for each in self._places() if tree.live(each.suite.name) is not None]

    def releases(self, place: Place) -> tuple[PublishedRelease, ...]:
        """Return the releases that a place offers, in the order of their publication."""
        return live(self.publisher.tree, place.suite.name).content.releases

    def newer(self, release: str, place: Place) -> str:
        """Return the newest release that a place offers if it is newer than this, else nothing."""
        newest = max((each.name for each in self.releases(place)), key=version_key, default=release)
        return newest if version_key(newest) > version_key(release) else ""

    def plan_publish(self, built: BuiltRelease, channel: Channel) -> Plan:
        """Return what ``publish`` would do, having checked all that it checks."""
        place = self._production_by_promotion(self.place(built.target, channel))
        self._refuse_development(place)
        plan = plan_publication(
            self.publisher.tree,
            place.suite,
            [(read_package(deb), deb) for deb in built.debs],
            built.about,
            self._keys(place),
            self._now,
        )
        self._approve_publication(place, plan)
        return plan

    def publish(self, built: BuiltRelease, channel: Channel) -> Publication:
        """Add a built release to ``channel``.

        Every package that is new there must be for the target, and carry the signature of a
        package key. Refused for a production channel where there is another one to test in.
        """
        place = self._production_by_promotion(self.place(built.target, channel))
        self._refuse_development(place)
        return self._publish(place, built.debs, built.about)

    def publish_tools(self, target: Target, debs: Sequence[Path]) -> Publication:
        """Add signed packages for build machines to the suite of tools, which has no releases."""
        return self._publish(self.place(target, TOOLS), debs, None)

    def remove_tools(self, target: Target, versions: Sequence[str]) -> Publication:
        """Take versions out of the suite of tools; they stay in the pool for the grace period."""
        place = self.place(target, TOOLS)
        return self.publisher.remove(place.suite, versions, self._keys(place))

    def plan_promote(self, release: str, source: Place, target: Place) -> Plan:
        """Return what ``promote`` would do, having checked all that it checks."""
        self._refuse_development(target)
        plan = plan_promotion(
            self.publisher.tree, source.suite, target.suite, release, self._keys(target), self._now
        )
        self._approve_promotion(release, source, target, plan)
        return plan

    def promote(self, release: str, source: Place, target: Place) -> Publication:
        """Offer what ``source`` offers as ``release`` in ``target`` as well, the very same files.

        Refused if ``source`` does not have it or has not signed that it does, if a key is a
        development key, and if a package is not the one that was published or has no good
        signature.
        """
        self._refuse_development(target)
        with self.publisher.log.step("archive", f"promote {release} to {target.suite.name}"):
            return self.publisher.promote(
                source.suite,
                target.suite,
                release,
                self._keys(target),
                lambda planned: self._approve_promotion(release, source, target, planned),
            )

    def plan_unpublish(self, place: Place, releases: Sequence[str], *, empty: bool) -> Plan:
        """Return what ``unpublish`` would do, having checked all that it checks."""
        self._refuse_development(place)
        plan = plan_withdrawal(
            self.publisher.tree, place.suite, releases, self._keys(place), self._now, "unpublished"
        )
        self._approve_withdrawal(plan, releases, empty=empty)
        return plan

    def unpublish(self, place: Place, releases: Sequence[str], *, empty: bool) -> Publication:
        """Take releases out of a channel; their packages stay in the pool for the grace period.

        Refused for a pinned release, and for the last one of a channel unless ``empty``.
        """
        self._refuse_development(place)
        return self.publisher.withdraw(
            place.suite,
            releases,
            self._keys(place),
            f"unpublished {', '.join(releases)}",
            lambda planned: self._approve_withdrawal(planned, releases, empty=empty),
        )

    def plan_retain(self, keep: int) -> tuple[Decision, ...]:
        """Return what becomes of each release if the ``keep`` newest of each channel stay."""
        offerings = [
            Offering(
                place.suite.name,
                place.target.name,
                place.channel.production,
                self.releases(place),
            )
            for place in self.published()
        ]
        return decide(offerings, keep, self.definition.stack.retention.pinned)

    def retain(self, keep: int) -> tuple[tuple[Decision, ...], list[str], list[Failure]]:
        """Take the releases out that ``plan_retain`` names, and remove what the grace is over for.

        Returns the decisions, what was removed from the disk, and the suites that nothing could be
        taken out of.
        """
        decisions = self.plan_retain(keep)

        def withdraw(place: Place) -> None:
            going = _going(decisions, place)
            if going:
                self._refuse_development(place)
                self.publisher.withdraw(
                    place.suite,
                    going,
                    self._keys(place),
                    f"not retained: {', '.join(going)}",
                    lambda _: self._approve_retention(place, going, keep),
                )

        _, failures = each_suite(self.published(), withdraw)
        return decisions, self.publisher.collect(), failures

    def plan_refresh(
        self, *, force: bool, channel: Channel | None = None
    ) -> tuple[list[Plan], list[Failure]]:
        """Return for each suite whether it is going to be signed anew, and why, as ``refresh``."""

        def plan(place: Place) -> list[Plan]:
            if self.publisher.tree.live(place.suite.name) is None:
                return []
            self._refuse_development(place)
            keys = self._keys(place)
            return [plan_refresh(self.publisher.tree, place.suite, keys, self._now, force=force)]

        planned, failures = each_suite(self._expiring(channel), plan)
        return [each for plans in planned for each in plans], failures

    def refresh(
        self, *, force: bool, channel: Channel | None = None
    ) -> tuple[list[Publication], list[Failure]]:
        """Sign every suite anew whose validity is half over, or whose keys are others now.

        One that cannot be signed, because its key is elsewhere or a file is lost, does not keep
        the others from it: they would expire. Only suites of ``channel``, if it is given.
        """

        def refresh(place: Place) -> list[Publication]:
            if self.publisher.tree.live(place.suite.name) is None:
                return []
            self._refuse_development(place)
            return [self.publisher.refresh(place.suite, self._keys(place), force=force)]

        done, failures = each_suite(self._expiring(channel), refresh)
        return [each for publications in done for each in publications], failures

    def _publish(self, place: Place, debs: Sequence[Path], about: About | None) -> Publication:
        with self.publisher.log.step("archive", f"publish to {place.suite.name}"):
            return self.publisher.publish(
                place.suite,
                debs,
                self._keys(place),
                about,
                lambda planned: self._approve_publication(place, planned),
            )

    def _expiring(self, channel: Channel | None) -> list[Place]:
        """Return the suites of a channel, by default every suite, those of tools too."""
        return [*self._places(channel), *(self._tools() if channel in (None, TOOLS) else [])]

    def _tools(self) -> list[Place]:
        return [self.place(target, TOOLS) for target in self.definition.stack.targets]

    def _places(self, channel: Channel | None = None) -> list[Place]:
        return [
            self.place(target, each)
            for target in self.definition.stack.targets
            for each in self.definition.stack.channels
            if channel in (None, each)
        ]

    def verify(self) -> list[Finding]:
        """Return everything that is wrong with the archive, the harmless after the harmful."""
        accepted = signature_check(self.trust.package_keys(), self.publisher.runner)
        examination = Examination(
            self.publisher.tree,
            self._now,
            self.publisher.runner,
            {
                each.suite.name: [key.fingerprint for key in self._keys(each)]
                for each in [*self._places(), *self._tools()]
            },
            lambda deb: accepted([deb]),
        )
        return examination.examine()

    @property
    def _now(self) -> datetime:
        return self.publisher.clock()

    def _keys(self, place: Place) -> Sequence[Key]:
        return self.trust.signers(place.channel)

    def _production_by_promotion(self, place: Place) -> Place:
        tested = [each for each in self.definition.stack.channels if not each.production]
        if place.channel.production and tested:
            raise ArchiveError(
                f"{place.suite.name} is a production channel: what goes there has been elsewhere"
                " before",
                hint=f"debstack publish --channel {tested[0].name}; then debstack promote RELEASE"
                f" --from {tested[0].name} --to {place.channel.name}",
            )
        return place

    def _refuse_development(self, place: Place) -> None:
        if not place.suite.production:
            return
        development = self.trust.development() or any(key.development for key in self._keys(place))
        if development:
            raise ArchiveError(
                f"{place.suite.name} is a production channel, and these are development keys",
                hint="debstack key new package; debstack key new repository; then build again",
            )

    def _approve_publication(self, place: Place, planned: Plan) -> None:
        check_target(planned, place.target)
        self._check_signatures([each.source for each in planned.additions])

    def _approve_promotion(self, release: str, source: Place, target: Place, planned: Plan) -> None:
        check_target(planned, target.target)
        check_same_bits(planned.offered)
        self._check_signatures([path for _, path in planned.offered])
        signers = [key.fingerprint for key in self._keys(source)]
        publisher, name = self.publisher, source.suite.name
        if not check_signed(publisher.tree, name, signers, publisher.runner):
            publisher.log.say(
                "archive",
                f"{name} does not sign yet which packages {release} is: an earlier debstack"
                " published it. To sign it: debstack refresh --force",
            )

    def _check_signatures(self, debs: Sequence[Path]) -> None:
        if debs:
            signature_check(self.trust.package_keys(), self.publisher.runner)(debs)

    def _approve_withdrawal(self, planned: Plan, releases: Sequence[str], *, empty: bool) -> None:
        pinned = sorted(set(releases) & set(self.definition.stack.retention.pinned))
        if pinned:
            raise ArchiveError(
                f"{', '.join(pinned)} is pinned",
                hint="take it out of [retention] pinned in packaging/stack.toml first",
            )
        if not planned.content.releases and not empty:
            raise ArchiveError(
                f"{planned.suite.name} has no other release: servers would find nothing to install",
                hint="publish or promote another one first, or add --allow-empty",
            )

    def _approve_retention(self, place: Place, going: Sequence[str], keep: int) -> None:
        """Decide once more, now that no other publisher is at work: the newest one always stays."""
        needed = sorted(set(going) - set(_going(self.plan_retain(keep), place)))
        if needed:
            raise ArchiveError(
                f"{place.suite.name} needs {', '.join(needed)} now: what the channels offer was"
                " changed meanwhile",
                hint="debstack retain",
            )


def _going(decisions: Sequence[Decision], place: Place) -> list[str]:
    return [each.release for each in decisions if each.suite == place.suite.name and not each.keep]
