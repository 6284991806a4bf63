"""What ``archive verify`` finds: every kind of damage, each done to a good archive."""

from __future__ import annotations

import fcntl
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.build.archive import RUNNER, make_tree, packed
from tests.build.channels import Keys, Shop, deb, make_keys

from debstack.archive.content import About
from debstack.archive.tree import Tree
from debstack.archive.verify import Examination, Finding
from debstack.steps import sign

pytestmark = pytest.mark.build

Damage = Callable[[Tree], None]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("gnupg") / "home")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Shop:
    """Return a shop with two releases in staging, one of them in production too."""
    folder = tmp_path_factory.mktemp("good")
    shop = Shop(folder / "shop", folder / "releases", keys, datetime.now(UTC) - timedelta(days=2))
    shop.publish(1)
    shop.at(1).publish(2)
    shop.at(1).promote(1)
    return shop.at(2)


@pytest.fixture
def shop(good: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(good.folder, tmp_path / "shop", symlinks=True)
    return replace(good, folder=tmp_path / "shop")


def dist(tree: Tree, channel: str = "staging") -> Path:
    return tree.dist(f"bookworm-{channel}").resolve()


def one(tree: Tree, pattern: str) -> Path:
    return sorted(tree.root.glob(pattern))[0]


def put(path: Path, content: bytes) -> None:
    """Give a file other content, and not those that it is linked to."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    put(path, change(path.read_bytes()))


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def packages(tree: Tree) -> Path:
    return dist(tree) / "main/binary-amd64/Packages.gz"


def forget_a_package(tree: Tree) -> None:
    path = dist(tree) / "releases.json"
    lines = json.loads(path.read_bytes())
    lines[0]["files"].append("pool/main/l/lost/lost_1_amd64.deb")
    path.write_text(json.dumps(lines))


def replay(tree: Tree) -> None:
    old = tree.generation("bookworm-staging", 1)
    for name in ("InRelease", "Release", "Release.gpg"):
        put(dist(tree) / name, (old / name).read_bytes())


def swap_suites(tree: Tree) -> None:
    folder = dist(tree, "prod")
    shutil.rmtree(folder)
    shutil.copytree(dist(tree, "staging"), folder)


def swap_signed_files(tree: Tree) -> None:
    """Put staging's signed index in the place of production's, as a thief of a web server would."""
    for path in dist(tree, "staging").rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            put(dist(tree, "prod") / path.relative_to(dist(tree, "staging")), path.read_bytes())


def lose_carried_over(tree: Tree) -> None:
    first = json.loads((tree.generation("bookworm-staging", 1) / "manifest.json").read_bytes())
    (dist(tree) / first["blobs"][0]).unlink()


def relink(tree: Tree) -> None:
    link = tree.dist("bookworm-prod")
    link.unlink()
    link.symlink_to("../elsewhere")


CASES: list[tuple[str, Damage, str, str]] = [
    ("a package is changed", lambda tree: rewrite(one(tree, "pool/**/feed_*.1~*"), flip),
     "pool/main/f/feed/feed_2026.11.23.1~deb12_amd64.deb", "is not the file that was published"),
    ("a package is shorter", lambda tree: rewrite(one(tree, "pool/**/feed_*"), lambda c: c[:-1]),
     "pool/main/f/feed/", "is not the file that was published"),
    ("a package is lost", lambda tree: one(tree, "pool/**/common_*").unlink(),
     "pool/main/c/common/", "No such file"),
    ("the index is changed",
     lambda tree: rewrite(packages(tree), lambda c: gzip.compress(
         gzip.decompress(c).replace(b"feed", b"food"))),
     ".gen/bookworm-staging/2", "Packages is not what Release says"),
    ("the index is damaged", lambda tree: rewrite(packages(tree), flip),
     ".gen/bookworm-staging/2", ""),
    ("the index is lost", lambda tree: packages(tree).unlink(),
     ".gen/bookworm-staging/2", "No such file"),
    ("an index by hash is changed",
     lambda tree: rewrite(one(tree, ".gen/bookworm-staging/2/main/*/by-hash/*/*"), flip),
     "by-hash", "has other content than its name says"),
    ("the indexes by hash are lost", lambda tree: shutil.rmtree(
        one(tree, ".gen/bookworm-prod/1/main/*/by-hash")),
     "bookworm-prod", "generation 1 needs main/binary-amd64/by-hash/"),
    ("an older index by hash is lost", lose_carried_over,
     "bookworm-staging", "generation 1 needs main/binary-amd64/by-hash/"),
    ("InRelease is changed", lambda tree: rewrite(
        dist(tree) / "InRelease", lambda c: c.replace(b"Suite: b", b"Suite: w")),
     ".gen/bookworm-staging/2", "does not verify (BADSIG)"),
    ("Release is changed", lambda tree: rewrite(
        dist(tree) / "Release", lambda c: c.replace(b"Suite: b", b"Suite: w")),
     ".gen/bookworm-staging/2", "does not verify (BADSIG)"),
    ("Release.gpg is lost", lambda tree: (dist(tree) / "Release.gpg").unlink(),
     ".gen/bookworm-staging/2", "No such file"),
    ("an older signed Release is put back", replay, ".gen/bookworm-staging/2", ""),
    ("staging is served as production", swap_signed_files,
     ".gen/bookworm-prod/1", "is not what the manifest says"),
    ("staging is put in the place of production", swap_suites,
     ".gen/bookworm-prod/1", "is a generation of bookworm-staging"),
    ("the keys are others", lambda tree: rewrite(
        tree.keyring("bookworm-staging"), lambda _: tree.keyring("bookworm-prod").read_bytes()),
     ".gen/bookworm-staging/2", "does not verify (ERRSIG)"),
    ("a release names a package that is not there", forget_a_package,
     ".gen/bookworm-staging/2", "releases.json is not what Release says"),
    ("the manifest is damaged", lambda tree: rewrite(dist(tree) / "manifest.json", flip),
     ".gen/bookworm-staging/2", ""),
    ("the link leads elsewhere", relink, "bookworm-prod", "does not lead to a generation"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "place", "problem"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_damage_is_found(shop: Shop, damage: Damage, place: str, problem: str) -> None:
    damage(shop.tree)
    found = shop.channels.verify()
    assert [each for each in found if each.harmful and place in each.place
            and problem in each.problem], found  # fmt: skip


def test_a_good_archive_is_good(shop: Shop) -> None:
    assert shop.channels.verify() == []


def test_what_does_not_say_what_it_carries_carries_everything_earlier(shop: Shop) -> None:
    path = dist(shop.tree) / "manifest.json"
    old = {name: text for name, text in json.loads(path.read_bytes()).items() if name != "carried"}
    put(path, json.dumps(old).encode())
    assert shop.channels.verify() == []
    lose_carried_over(shop.tree)
    (problem,) = shop.problems()
    assert problem.startswith("bookworm-staging: generation 1 needs main/binary-amd64/by-hash/")


def test_what_expires_is_told_before_and_after(good: Shop) -> None:
    soon, late = good.at(23).channels.verify(), good.at(31).channels.verify()
    assert {(each.place, each.harmful) for each in soon} == {
        ("bookworm-staging", False),
        ("bookworm-prod", False),
    }
    assert {each.place for each in late if each.harmful and "expired at" in each.problem} == {
        "bookworm-staging",
        "bookworm-prod",
    }


def test_a_suite_that_is_no_channel_any_more_is_not_to_be_refreshed(good: Shop) -> None:
    signers = {"bookworm-prod": [good.keys.prod.fingerprint]}
    found = Examination(good.tree, good.at(40).now, RUNNER, signers).examine()
    (staging,) = (
        each.problem
        for each in found
        if each.place == "bookworm-staging" and "expired at" in each.problem
    )
    assert "packaging/stack.toml" in staging
    assert "debstack refresh" not in staging


def test_what_is_dated_in_the_future_is_told(good: Shop) -> None:
    assert [each for each in good.at(-20).problems() if "is dated in the future" in each]


def test_leftovers_harm_nobody(shop: Shop) -> None:
    left = shop.tree.pool / "main/f/feed/.tmp-feed_3_amd64.deb"
    left.touch()
    stopped = shop.tree.generation("bookworm-staging", 3)
    shutil.copytree(stopped.with_name("2"), stopped)
    found = shop.channels.verify()
    assert not [each for each in found if each.harmful]
    assert {each.place for each in found} == {
        "pool/main/f/feed/.tmp-feed_3_amd64.deb",
        ".gen/bookworm-staging/3",
    }


def test_a_package_of_another_key_is_found(good: Shop) -> None:
    other = replace(good, keys=replace(good.keys, package=good.keys.prod))
    found = [each for each in other.channels.verify() if each.harmful]
    assert len(found) == 5
    assert all("the signature does not verify" in each.problem for each in found)


def test_after_a_rotation_what_is_kept_for_the_grace_period_is_no_damage(shop: Shop) -> None:
    """The packages of the key that was dropped are not offered, and stay on the disk a while."""
    other = replace(shop, keys=replace(shop.keys, package=shop.keys.prod))
    for channel in ("staging", "prod"):
        place = other.place(channel)
        names = [each.name for each in other.channels.releases(place)]
        other.channels.unpublish(place, names, empty=True)
    built = other.built(3)
    fresh = replace(built, debs=tuple(each for each in built.debs if "common" not in each.name))
    other.channels.publish(fresh, other.place("staging").channel)
    kept = one(shop.tree, "pool/main/f/feed/feed_*.1~*")
    assert other.problems() == []
    rewrite(kept, flip)
    assert [each.partition(": ")[2] for each in other.problems()] == [
        "is not the file that was published"
    ]


def test_nothing_is_published_or_removed_while_it_is_verified(good: Shop) -> None:
    tried = []

    def publish(_: Path) -> None:
        with (good.tree.generations / ".lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tried.append("has to wait")

    examination = Examination(good.tree, good.now, RUNNER, check_package=publish)
    assert examination.examine() == []
    assert set(tried) == {"has to wait"}


def test_a_suite_of_another_architecture_is_tried_as_such(good: Shop, tmp_path: Path) -> None:
    shop = replace(good, folder=tmp_path)
    key, name = shop.keys.package, "2026.11.23.1"
    feed = make_tree(tmp_path, "feed", f"{name}~deb12", fields="Depends: libc6 (>= 2.36)\n")
    control = feed / "DEBIAN/control"
    control.write_text(control.read_text().replace("Architecture: amd64", "Architecture: arm64"))
    signed = tmp_path / "feed_arm64.deb"
    sign.sign(packed(feed), signed, key, RUNNER)
    place = shop.place("staging")
    suite = replace(place.suite, architectures=("arm64",))
    about = About(name, {"feed": "0" * 40})
    shop.channels.publisher.publish(suite, [signed], [shop.keys.staging], about)
    assert Examination(shop.tree, shop.now, RUNNER).examine() == []


def test_a_release_that_apt_cannot_install_is_found(good: Shop, tmp_path: Path) -> None:
    shop = replace(good, folder=tmp_path)
    built = shop.built(1)
    stack = deb(
        *(tmp_path, "traderunner-stack", "2026.11.23.1~deb12", shop.keys.package),
        "Depends: feed (= 2026.11.23.9~deb12), python3\n",
    )
    broken = replace(built, debs=(*built.debs[:2], stack))
    shop.channels.publish(broken, shop.place("staging").channel)
    (found,) = shop.problems()
    assert found.startswith("bookworm-staging: apt cannot install 2026.11.23.1: ")
    assert "traderunner-stack : Depends: feed (= 2026.11.23.9~deb12)" in found


def test_an_empty_place_is_no_archive(tmp_path: Path, good: Shop) -> None:
    shop = replace(good, folder=tmp_path)
    assert shop.channels.verify() == [Finding(str(tmp_path / "apt"), "holds no suite")]
