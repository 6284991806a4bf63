"""From staging to production and out of the archive, with real packages, gpg and apt."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from tests.build.archive import RUNNER, make_apt
from tests.build.channels import Keys, Shop, deb, make_keys

from debstack.archive import release
from debstack.archive.plan import Plan
from debstack.archive.suite import Publication
from debstack.archive.verify import Finding
from debstack.errors import ArchiveError, SigningError
from debstack.log import Log
from debstack.pipeline.each_suite import demand_no_failure

pytestmark = pytest.mark.build

PROMOTED_OR_PLANNED = pytest.mark.parametrize("plan", [False, True], ids=["real", "dry run"])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("gnupg") / "home")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture
def shop(tmp_path: Path, source: Path, keys: Keys) -> Shop:
    """Return a shop of three days ago."""
    return Shop(tmp_path, source, keys, datetime.now(UTC) - timedelta(days=3))


def content(shop: Shop) -> dict[str, bytes]:
    """Return every file below the archive's root, less the lock."""
    paths = (path for path in shop.tree.root.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in paths if path.name != ".lock"}


def inodes(shop: Shop) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.stat() for path in shop.tree.pool.rglob("*.deb")}
    return {path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in stats.items()}


def test_the_same_bits_reach_production(shop: Shop) -> None:
    shop.publish(1)
    pool = inodes(shop)
    promoted = shop.at(1).promote(1)
    assert promoted.suite == "bookworm-prod"
    assert {package.name for package in promoted.added} == {"common", "traderunner-stack", "feed"}
    assert inodes(shop) == pool
    assert shop.offered("prod") == [1]
    assert shop.at(1).problems() == []
    assert shop.at(1).promote(1).unchanged


def test_staging_and_production_are_signed_by_different_keys(shop: Shop) -> None:
    shop.publish(1)
    shop.promote(1)
    for channel, key in (("staging", shop.keys.staging), ("prod", shop.keys.prod)):
        keyring = shop.tree.keyring(f"bookworm-{channel}")
        listed = RUNNER.capture(["gpg", "--show-keys", "--with-colons", keyring]).text
        assert [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")] == [
            key.fingerprint
        ]


def test_every_target_has_suites_of_its_own(shop: Shop) -> None:
    shop.publish(1)
    shop.publish(1, "trixie")
    shop.promote(1, "trixie")
    assert shop.tree.suites() == ["bookworm-staging", "trixie-prod", "trixie-staging"]
    with pytest.raises(ArchiveError, match=r"feed_.*~deb13.* was not built for bookworm"):
        wrong = replace(shop.built(2, "trixie"), target=shop.definition.target("bookworm"))
        shop.channels.publish(wrong, shop.place("staging").channel)
    assert shop.problems() == []


def promote(shop: Shop, number: int, *, plan: bool) -> Plan | Publication:
    """Promote a release, or ask what that would do."""
    channels, places = shop.channels, (shop.place("staging"), shop.place("prod"))
    attempt = channels.plan_promote if plan else channels.promote
    return attempt(f"2026.11.23.{number}", *places)


@PROMOTED_OR_PLANNED
def test_what_was_never_in_staging_is_not_promoted(shop: Shop, plan: bool) -> None:
    shop.publish(1)
    before = content(shop)
    with pytest.raises(
        ArchiveError, match=r"2026\.11\.23\.2 is not in bookworm-staging, which has"
    ):
        promote(shop, 2, plan=plan)
    assert content(shop) == before


def test_what_was_published_to_another_target_is_not_promoted(shop: Shop) -> None:
    shop.publish(1)
    shop.publish(2, "trixie")
    with pytest.raises(ArchiveError, match="is not in bookworm-staging"):
        shop.promote(2)


@PROMOTED_OR_PLANNED
def test_a_development_key_reaches_no_production_channel(shop: Shop, plan: bool) -> None:
    shop.publish(1)
    before = content(shop)
    with pytest.raises(ArchiveError, match="these are development keys"):
        promote(replace(shop, development=True), 1, plan=plan)
    marked = replace(shop.keys, prod=replace(shop.keys.prod, development=True))
    with pytest.raises(ArchiveError, match="these are development keys"):
        promote(replace(shop, keys=marked), 1, plan=plan)
    assert content(shop) == before


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def resigned(shop: Shop) -> Callable[[Path], None]:
    """Return what puts a package in place that is signed by another key, and names it as ours."""
    other = shop.built(1, key=shop.keys.staging)

    def replace_deb(path: Path) -> None:
        shutil.copy(next(deb for deb in other.debs if deb.name == path.name), path)

    return replace_deb


@PROMOTED_OR_PLANNED
def test_a_package_that_is_not_what_was_published_is_not_promoted(shop: Shop, plan: bool) -> None:
    shop.publish(1)
    path = next(shop.tree.pool.rglob("feed_*.deb"))
    good = path.read_bytes()
    for change in (spoil, resigned(shop), lambda path: path.write_bytes(good[:-1])):
        change(path)
        before = content(shop)
        with pytest.raises((ArchiveError, SigningError), match=r"feed_.*\.deb"):
            promote(shop, 1, plan=plan)
        assert content(shop) == before
        path.write_bytes(good)
    assert not shop.promote(1).unchanged


def test_what_an_index_says_of_a_package_is_not_believed(shop: Shop) -> None:
    shop.publish(1)
    index = next(shop.tree.root.glob("dists/*/main/binary-amd64/Packages.gz"))
    text = gzip.decompress(index.read_bytes()).replace(b"common (= ", b"common (> ")
    index.unlink()
    index.write_bytes(gzip.compress(text))
    before = content(shop)
    with pytest.raises(
        ArchiveError, match=r"traderunner-stack_.* is not the file that was published"
    ):
        shop.promote(1)
    assert content(shop) == before


def test_which_packages_are_a_release_has_to_be_signed(shop: Shop) -> None:
    shop.publish(1)
    shop.at(0.1).publish(2)
    path = shop.tree.dist("bookworm-staging") / "releases.json"
    text = path.read_bytes()
    path.write_bytes(text.replace(b"feed_2026.11.23.2", b"feed_2026.11.23.1"))
    before = content(shop)
    for attempt in (shop.channels.promote, shop.channels.plan_promote):
        with pytest.raises(ArchiveError, match=r"releases\.json is not what Release says"):
            attempt("2026.11.23.2", shop.place("staging"), shop.place("prod"))
    assert content(shop) == before
    path.write_bytes(text)
    with pytest.raises(ArchiveError, match="bookworm-staging is signed by"):
        replace(shop, keys=replace(shop.keys, staging=shop.keys.prod)).promote(2)
    assert not shop.promote(2).unchanged


def test_what_an_earlier_version_published_is_promoted_with_a_notice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = release.release_text

    def before(
        constant: Mapping[str, str], date: datetime, until: datetime, files: Mapping[str, bytes]
    ) -> bytes:
        indexes = {name: text for name, text in files.items() if name != "releases.json"}
        return now(constant, date, until, indexes)

    with monkeypatch.context() as earlier:
        earlier.setattr(release, "release_text", before)
        shop.publish(1)
    channels = shop.channels
    channels.promote("2026.11.23.1", shop.place("staging"), shop.place("prod"))
    log = channels.publisher.log.stream
    assert isinstance(log, StringIO)
    assert "bookworm-staging does not sign yet which packages 2026.11.23.1 is" in log.getvalue()
    noted = "does not sign yet which packages are a release: debstack refresh --force"
    assert shop.channels.verify() == [Finding("bookworm-staging", noted, harmful=False)]
    shop.at(0.1).channels.refresh(force=True)
    assert [each for each in shop.at(0.1).channels.verify() if each.problem == noted] == []


def test_a_package_of_another_key_is_not_published(shop: Shop) -> None:
    built = shop.built(1, key=shop.keys.staging)
    with pytest.raises(SigningError, match=r"feed_.*\.deb"):
        shop.channels.publish(built, shop.place("staging").channel)
    assert not shop.tree.suites()


def test_a_dry_run_tells_the_same_and_writes_nothing(shop: Shop) -> None:
    shop.publish(1)
    before = content(shop)
    plan = shop.channels.plan_promote("2026.11.23.1", shop.place("staging"), shop.place("prod"))
    assert [each.package.name for each in plan.additions] == ["common", "feed", "traderunner-stack"]
    assert content(shop) == before
    assert not (shop.tree.generations / "bookworm-prod").exists()


def test_going_back_takes_the_newest_out(shop: Shop, tmp_path: Path) -> None:
    shop.publish(1)
    shop.promote(1)
    shop.at(1).publish(2)
    shop.at(1).promote(2)
    done = shop.at(2).channels.unpublish(shop.place("prod"), ["2026.11.23.2"], empty=False)
    assert {name.rpartition("/")[2].partition("_")[0] for name in done.dropped} == {
        "feed",
        "traderunner-stack",
    }
    assert shop.offered("prod") == [1]
    assert shop.offered("staging") == [1, 2]
    assert shop.at(2).problems() == []


def test_the_last_release_and_a_pinned_one_are_not_taken_out_by_the_way(shop: Shop) -> None:
    shop.publish(1)
    place = shop.place("staging")
    with pytest.raises(ArchiveError, match="has no other release"):
        shop.channels.unpublish(place, ["2026.11.23.1"], empty=False)
    pinning = replace(shop, pinned=("2026.11.23.1",))
    for attempt in (pinning.channels.unpublish, pinning.channels.plan_unpublish):
        with pytest.raises(ArchiveError, match=r"2026\.11\.23\.1 is pinned"):
            attempt(place, ["2026.11.23.1"], empty=True)
    shop.channels.unpublish(place, ["2026.11.23.1"], empty=True)
    assert shop.offered("staging") == []
    assert shop.problems() == []


def test_twelve_releases_of_which_three_are_kept(shop: Shop, tmp_path: Path) -> None:
    shop = shop.at(-31)  # so that it ends at the present time: apt has no other
    for number in range(1, 13):
        shop.at(number / 10).publish(number)
    shop.at(2).promote(2)
    shop.at(2).promote(3)
    pinning = replace(shop, pinned=("2026.11.23.5",)).at(3)
    decisions = pinning.channels.plan_retain(3)
    expected = [2, 3, 5, 10, 11, 12]
    pool = pool_of(shop)
    done, removed, _ = pinning.channels.retain(3)
    assert done == decisions
    assert removed == []
    assert pinning.offered("staging") == expected
    assert pinning.offered("prod") == [2, 3]
    # The index has lost them; the disk keeps them for those who have an older index.
    assert pool_of(shop) == pool
    early = pinning.at(29).channels.retain(3)[1]
    assert [name for name in early if name.startswith("pool/")] == []
    assert pool_of(shop) == pool
    _, removed, _ = pinning.at(31).channels.retain(3)
    feeds = [name.partition("~")[0] for name in removed if "/feed_" in name]
    gone = sorted(int(name.rpartition(".")[2]) for name in feeds)
    assert gone == [1, 4, 6, 7, 8, 9]
    assert pool_of(shop) == pool - {
        f"{name}_2026.11.23.{number}~deb12_amd64.deb"
        for name in ("feed", "traderunner-stack")
        for number in gone
    }
    later = pinning.at(31)
    later.channels.refresh(force=True)
    assert later.problems() == []


def pool_of(shop: Shop) -> set[str]:
    return {path.name for path in shop.tree.pool.rglob("*.deb")}


def test_a_collection_that_is_stopped_leaves_nothing_for_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What drops a package goes before the package: a later collection could not find it."""
    shop = shop.at(-31)
    shop.publish(1)
    shop.publish(2)
    shop.channels.unpublish(shop.place("staging"), ["2026.11.23.1"], empty=False)
    later, unlink = shop.at(31), Path.unlink

    def stop(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".deb":
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(Path, "unlink", stop)
        later.channels.retain(2)
    assert list(shop.tree.pool.rglob("feed_2026.11.23.1~*"))
    later.channels.retain(2)
    assert not list(shop.tree.pool.rglob("feed_2026.11.23.1~*"))
    assert not [each for each in later.channels.verify() if each.place.startswith("pool")]


def test_damage_in_another_suite_is_no_failure_of_what_was_published(shop: Shop) -> None:
    shop.publish(1)
    shop.promote(1)
    damaged = shop.tree.generation("bookworm-prod", 1) / "manifest.json"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    said = StringIO()
    publisher = replace(shop.channels.publisher, log=Log(said))
    channels = replace(shop.channels, publisher=publisher)
    done = channels.publish(shop.built(2), shop.place("staging").channel)
    assert (done.generation, shop.offered("staging")) == (2, [1, 2])
    assert "bookworm-staging is published; what is outdated stays" in said.getvalue()
    assert not shop.tree.unfinished.exists()
    shop.publish(3)


def test_a_publisher_whose_clock_was_wrong_is_forgotten(shop: Shop, tmp_path: Path) -> None:
    shop.publish(1)
    shop.at(400).publish(2)
    assert reasons(shop) == ["it is dated in the future"]
    assert any("dated in the future" in each for each in shop.problems())
    (done,) = refreshed(shop)
    assert done.generation == 3
    assert shop.problems() == []
    apt = make_apt(tmp_path / "apt", shop.tree.root)
    assert apt.update().returncode == 0
    shop.publish(3)
    # None of them waits for the year that was named.
    shop.at(32).publish(4)
    assert shop.tree.numbers("bookworm-staging") == [4, 5]


def test_what_a_slow_clock_published_reaches_its_clients_when_it_is_right(
    shop: Shop, tmp_path: Path
) -> None:
    """By default apt keeps its index and says nothing if the one on offer is dated before it."""
    shop.publish(1)
    apt = make_apt(tmp_path / "client", shop.tree.root)

    def offered() -> str:
        assert apt.update().returncode == 0
        return apt.run("apt-cache", "policy", "feed").text

    assert "Candidate: 2026.11.23.1~" in offered()
    shop.at(-1 / 12).publish(2)
    assert "Candidate: 2026.11.23.1~" in offered()
    now = shop.at(1 / 1440)
    before = "is dated before generation 1, whose clients ignore it"
    assert reasons(now) == [f"it {before}"]
    assert now.problems() == [f"bookworm-staging: {before}: debstack refresh"]
    (done,) = refreshed(now)
    assert (done.generation, reasons(now), now.problems()) == (3, [""], [])
    assert "Candidate: 2026.11.23.2~" in offered()


def test_every_date_is_after_all_that_clients_have(shop: Shop) -> None:
    shop.publish(1)
    shop.at(-1 / 12).publish(2)
    shop.at(-2 / 86400).publish(3)
    assert reasons(shop) == [""]


def test_what_was_removed_from_the_tools_leaves_the_disk_after_the_grace(
    shop: Shop, tmp_path: Path
) -> None:
    target, shop = shop.definition.target("bookworm"), shop.at(-32)
    debs = [deb(tmp_path, "debstack", f"{n}-1~deb12", shop.keys.package) for n in (1, 2)]
    shop.channels.publish_tools(target, debs)
    shop.at(1).channels.remove_tools(target, ["1-1~deb12"])
    shop.at(30).channels.retain(1)
    assert len(list(shop.tree.pool.rglob("debstack_*.deb"))) == 2
    shop.at(32).channels.retain(1)
    assert [path.name for path in shop.tree.pool.rglob("debstack_*.deb")] == [debs[1].name]


def test_a_client_with_an_older_index_downloads_what_was_dropped(
    shop: Shop, tmp_path: Path
) -> None:
    shop.publish(1)
    shop.publish(2)
    apt = make_apt(tmp_path / "client", shop.tree.root, "bookworm-staging")
    assert apt.update().returncode == 0
    shop.channels.retain(1)
    assert shop.offered("staging") == [2]
    assert apt.run("apt-get", "download", "feed=2026.11.23.1~deb12").returncode == 0
    assert apt.update().returncode == 0
    assert apt.run("apt-get", "download", "feed=2026.11.23.1~deb12").returncode == 100


def refreshed(shop: Shop) -> list[Publication]:
    done, failures = shop.channels.refresh(force=False)
    assert failures == []
    return done


def reasons(shop: Shop) -> list[str]:
    plans, failures = shop.channels.plan_refresh(force=False)
    assert failures == []
    return [plan.reason for plan in plans]


def test_refreshing_signs_before_the_validity_is_over(shop: Shop) -> None:
    shop = shop.at(-13)
    shop.publish(1)
    shop.promote(1)
    assert [each.unchanged for each in refreshed(shop.at(14))] == [True, True]
    assert reasons(shop.at(15)) == ["less than half of its validity is left"] * 2
    assert [each.generation for each in refreshed(shop.at(15))] == [2, 2]
    assert shop.at(15).offered("prod") == [1]
    assert shop.at(16).problems() == []


@pytest.mark.parametrize("trouble", ["a lost file", "a key elsewhere", "a lost link"])
def test_a_channel_that_cannot_be_signed_does_not_let_the_others_expire(
    shop: Shop, trouble: str
) -> None:
    shop = shop.at(-17)
    shop.publish(1)
    shop.promote(1)
    shop.publish(2)
    later = shop.at(20)
    if trouble == "a lost file":
        (lost,) = shop.tree.pool.glob("main/f/feed/feed_2026.11.23.2*.deb")
        lost.unlink()
    elif trouble == "a key elsewhere":
        absent = replace(shop.keys.staging, fingerprint="0" * 40)
        later = replace(later, keys=replace(shop.keys, staging=absent))
    else:
        shop.tree.dist("bookworm-staging").unlink()
    done, failures = later.channels.refresh(force=False)
    assert [each.suite for each in done] == ["bookworm-prod"]
    assert [each.suite for each in failures] == ["bookworm-staging"]
    with pytest.raises(
        (ArchiveError, SigningError), match="not signed: bookworm-staging"
    ) as caught:
        demand_no_failure("not signed", failures)
    assert caught.value.details[0] == f"bookworm-staging: {failures[0].error.message}"
    assert not any("bookworm-prod" in each for each in later.problems())


def test_a_channel_is_signed_alone_where_the_other_key_is_elsewhere(shop: Shop) -> None:
    shop.publish(1)
    shop.promote(1)
    prod = shop.place("prod").channel
    done, failures = shop.at(20).channels.refresh(force=False, channel=prod)
    assert [each.suite for each in done] == ["bookworm-prod"]
    assert failures == []


def test_refreshing_takes_other_keys_over(shop: Shop) -> None:
    shop.publish(1)
    other = replace(shop, keys=replace(shop.keys, staging=shop.keys.prod))
    assert reasons(other) == ["other signing keys"]
    assert any("should sign it: debstack refresh" in each for each in other.problems())
    other.channels.refresh(force=False)
    assert other.problems() == []
