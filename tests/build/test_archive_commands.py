"""The commands of the archive as they are typed, on releases of a few bytes."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.build.archive import RUNNER, make_deb
from tests.build.channels import Keys, make_keys
from tests.unit.debstack.pipeline.release import release

from debstack.cli.root import debstack
from debstack.errors import ArchiveError
from debstack.pipeline.packages import release_packages
from debstack.steps import sign

pytestmark = pytest.mark.build
FIRST, SECOND = "2026.11.23.1", "2026.11.23.2"


@dataclass(frozen=True)
class Typed:
    """A project in which two releases were built."""

    folder: Path

    def run(self, *arguments: str) -> str:
        """Run debstack and return what it prints on standard output; errors are raised."""
        result = CliRunner().invoke(
            debstack, ["--project", str(self.folder), *arguments], catch_exceptions=True
        )
        if isinstance(result.exception, Exception):
            raise result.exception
        assert result.exit_code == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("gnupg") / "home")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """Return a project with two releases in dist/, of which all but the stack are the same."""
    folder = tmp_path_factory.mktemp("project")
    made = release(folder)
    names = release_packages(made.definition)
    for number, name in enumerate((FIRST, SECOND)):
        stack = replace(made.lock.packages["traderunner-stack"], changed_in=name)
        packages = {**made.lock.packages, "traderunner-stack": stack}
        lock = replace(made.lock, release=name, packages=packages)
        place = folder / "dist" / name
        place.mkdir(parents=True)
        entries = []
        for package in names:
            version = lock.version(package, made.target)
            file = f"{package}_{version}_amd64.deb"
            unsigned = folder / "work" / str(number)
            unsigned.mkdir(parents=True, exist_ok=True)
            earlier = folder / "dist" / FIRST / file
            if number and earlier.exists():
                (place / file).hardlink_to(earlier)
            else:
                deb = make_deb(unsigned, package, version)
                sign.sign(deb, place / file, keys.package, RUNNER)
            entries.append({"package": package, "version": version, "file": file})
        document = {"release": name, "target": "bookworm", "packages": entries}
        (place / "bookworm.json").write_text(json.dumps(document))
        lock.write(place / "repos.lock")
    return folder


@pytest.fixture
def typed(source: Path, tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Typed:
    (tmp_path / "dist").mkdir()
    for name in (FIRST, SECOND):
        (tmp_path / "dist" / name).symlink_to(source / "dist" / name)
    (tmp_path / "packaging").symlink_to(source / "packaging")
    home = keys.package.home
    assert home
    monkeypatch.setenv("GNUPGHOME", str(home))
    monkeypatch.setenv("DEBSTACK_PACKAGE_KEY", keys.package.fingerprint)
    monkeypatch.setenv("DEBSTACK_REPO_KEY", keys.prod.fingerprint)
    return Typed(tmp_path)


def test_a_release_on_its_way(typed: Typed) -> None:
    first, second = (str(typed.folder / "dist" / name) for name in (FIRST, SECOND))
    assert typed.run("publish", first, "--dry-run").count("\nadd ") == 6
    assert not (typed.folder / "dist/apt").exists()
    assert typed.run("publish", first).endswith(": 6 packages added\n")
    assert typed.run("publish").endswith(": unchanged\n"), "the locked release is the first"
    assert typed.run("publish", second).endswith(": 1 packages added\n")

    plan = typed.run("promote", FIRST, "--dry-run").splitlines()
    assert plan[0] == "bookworm-prod: first publication"
    assert len([line for line in plan if line.startswith("add ")]) == 6
    assert "bookworm-prod" in typed.run("promote", FIRST)
    assert typed.run("promote", FIRST).endswith(": unchanged\n")
    typed.run("promote", SECOND)

    suites = json.loads(typed.run("archive", "list", "--json"))
    assert [(each["suite"], [r["release"] for r in each["releases"]]) for each in suites] == [
        ("bookworm-prod", [SECOND, FIRST]),
        ("bookworm-staging", [SECOND, FIRST]),
    ]
    assert typed.run("archive", "list").count(f"  {SECOND}") == 2
    shown = json.loads(typed.run("archive", "show", SECOND, "--json"))
    assert {each["suite"] for each in shown} == {"bookworm-staging", "bookworm-prod"}
    assert len(shown[0]["commits"]["feed"]) == 40
    assert {file["package"] for file in shown[0]["files"]} >= {"traderunner-stack", "feed"}
    assert f"traderunner-stack_{SECOND}~deb12_amd64.deb" in typed.run("archive", "show", SECOND)
    assert typed.run("archive", "verify").count("good: ") == 2

    rows = typed.run("retain", "--keep", "1", "--dry-run").splitlines()
    assert [row.split()[:3] for row in rows if row.startswith("bookworm-staging")] == [
        ["bookworm-staging", SECOND, "stays"],
        ["bookworm-staging", FIRST, "stays"],
    ]
    assert rows[-1] == "0 would go"
    assert "1 packages leave the index" in typed.run("unpublish", SECOND, "--channel", "prod")
    assert typed.run("refresh").count("unchanged") == 2
    assert typed.run("refresh", "--force").count("signed, generation") == 2
    assert typed.run("refresh", "--force", "--channel", "prod").count("bookworm-prod in") == 1
    assert json.loads(typed.run("archive", "verify", "--json")) == []


def test_the_way_back_is_named(typed: Typed) -> None:
    with pytest.raises(ArchiveError, match="is not in bookworm-staging") as caught:
        typed.run("promote", FIRST)
    assert caught.value.hint == f"debstack publish dist/{FIRST} --channel staging"
    with pytest.raises(ArchiveError, match="has been elsewhere"):
        typed.run("publish", str(typed.folder / "dist" / FIRST), "--channel", "prod")
    for command in (("unpublish", FIRST, "--channel", "prod"), ("archive", "show", FIRST)):
        with pytest.raises(ArchiveError) as caught:
            typed.run(*command)
        assert "debstack archive list" in caught.value.hint
    with pytest.raises(ArchiveError, match="wrong with") as caught:
        typed.run("archive", "verify")
    assert caught.value.details == (f"{typed.folder / 'dist/apt'}: holds no suite",)


def test_looking_at_an_archive_needs_no_keys(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    typed.run("publish")
    for name in ("DEBSTACK_PACKAGE_KEY", "DEBSTACK_REPO_KEY"):
        monkeypatch.delenv(name)
    assert FIRST in typed.run("archive", "list")
    assert FIRST in typed.run("archive", "show", FIRST)
    assert not (typed.folder / "build/keys").exists()


def test_the_tools_of_build_machines_come_and_go(typed: Typed, tmp_path: Path) -> None:
    old, new = (str(make_deb(tmp_path, "debstack", f"{n}-1~deb12")) for n in (1, 2))
    assert typed.run("archive", "tool", old).endswith(": 1 packages added\n")
    assert typed.run("archive", "tool", old, new).endswith(": 1 packages added\n")
    with pytest.raises(ArchiveError, match=r"bookworm-tools has no 3-1~deb12") as caught:
        typed.run("archive", "tool", "--remove", "1-1~deb12", "--remove", "3-1~deb12")
    assert caught.value.hint == "it has debstack 1-1~deb12, debstack 2-1~deb12"
    done = typed.run("archive", "tool", "--remove", "2-1~deb12")
    assert done.endswith(": 2-1~deb12 taken out, 1 packages leave the index\n")
    archive = typed.folder / "dist/apt"
    (index,) = archive.glob("dists/bookworm-tools/main/binary-amd64/Packages.gz")
    listed = gzip.decompress(index.read_bytes())
    assert [n for n in (b"1", b"2") if b"Version: " + n + b"-1~deb12\n" in listed] == [b"1"]
    # Who has the index of before still finds it.
    assert len(list(archive.glob("pool/main/d/debstack/debstack_*.deb"))) == 2
    typed.run("archive", "tool", "--remove", "1-1~deb12")
    assert "good: bookworm-tools" in typed.run("archive", "verify")


def test_the_tools_are_debstack_alone(typed: Typed) -> None:
    """What build machines follow would be offered a release's packages, untested."""
    debs = sorted(map(str, (typed.folder / "dist" / FIRST).glob("*.deb")))
    with pytest.raises(ArchiveError, match="bookworm-tools is for debstack itself"):
        typed.run("archive", "tool", *debs)
    assert not (typed.folder / "dist/apt").exists()


@pytest.mark.parametrize("arguments", [(), (__file__, "--remove", "1")])
def test_tools_are_published_or_removed(typed: Typed, arguments: tuple[str, ...]) -> None:
    project = ["--project", str(typed.folder)]
    result = CliRunner().invoke(debstack, [*project, "archive", "tool", *arguments])
    assert result.exit_code == 2
    assert "name packages to publish, or versions with --remove" in result.stderr
