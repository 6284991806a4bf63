"""What the packages say of themselves: versions, changelogs, descriptions, credits."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release
from tests.unit.debstack.pipeline.world import wheel

from debstack.errors import BuildError, DebstackError, LockError
from debstack.log import Log
from debstack.pipeline import accounting, contents
from debstack.pipeline.contents import (
    Release,
    Workshop,
    component_contents,
    keyring_contents,
    paragraph,
    write_component_debian,
)
from debstack.process import Runner
from debstack.steps import venv
from debstack.steps.venv import Environment


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    return release(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line.", " One line."),
        ("\nOne.\n\nTwo.  \n", " One.\n .\n Two."),
        ("  indented stays\nnext", " indented stays\n next"),
    ],
)
def test_descriptions_are_indented_as_policy_asks(text: str, expected: str) -> None:
    assert paragraph(text) == expected


def test_a_changelog_is_dated_with_the_release_in_which_it_changed(demo: Release) -> None:
    changelog = demo.changelog("web", "1.0", "commit abc")
    locked = demo.lock.packages["web"]
    assert (changelog.version, changelog.distribution) == ("1.0", "bookworm")
    assert changelog.epoch == locked.timestamp
    assert changelog.changes == (f"Release {locked.changed_in}: commit abc.",)


def test_a_missing_dependency_lock_is_named(demo: Release) -> None:
    assert demo.requirements("web").component == "web"
    assert demo.build_requirements("feed").purpose == "build"
    (demo.project / "packaging/locks/bookworm/web.txt").unlink()
    with pytest.raises(LockError, match=r"packaging/locks/bookworm/web\.txt does not exist"):
        demo.requirements("web")


@pytest.mark.parametrize("name", ["web.txt", "feed.build.txt"])
def test_a_dependency_lock_is_compared_whenever_it_is_read(demo: Release, name: str) -> None:
    component = name.partition(".")[0]
    read = demo.build_requirements if ".build" in name else demo.requirements
    lock = read(component)
    changed = replace(lock, wheels=(wheel("other", "1.0"),))
    (demo.project / "packaging/locks/bookworm" / name).write_text(changed.text())
    with pytest.raises(LockError, match=f"bookworm/{name}: the dependencies of") as caught:
        read(component)
    assert "debstack lock" in caught.value.hint
    assert any(lock.digest() in line for line in caught.value.details)


@pytest.mark.parametrize(("isolate", "confined"), [(False, False), (True, False), (False, True)])
def test_a_component_is_not_built_where_its_build_would_see_what_is_the_users(
    demo: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolate: bool, confined: bool
) -> None:
    def build(*_: object, isolate: bool) -> None:
        raise BuildError(f"was called with {isolate}")

    environment = Environment(tmp_path / "venv", "3.11")
    monkeypatch.setattr(contents, "collect", lambda *_, **__: ())
    monkeypatch.setattr(venv, "venv", lambda *_: environment)
    monkeypatch.setattr(venv, "build_wheel", build)
    workshop = Workshop(
        tmp_path, 1, True, Runner(), Log(quiet=True), isolate, uv=tmp_path / "uv",
        confined=confined,
    )  # fmt: skip
    tar = tmp_path / "commit.tar"
    tarfile.open(tar, "w").close()
    told = f"was called with {isolate}" if isolate or confined else "feed: its own wheel has to be"
    with pytest.raises(DebstackError, match=told) as caught:
        feed = demo.definition.component("feed")
        component_contents(demo, feed, tar, tmp_path / "made", workshop)
    if not (isolate or confined):
        assert caught.value.hint.startswith("apt-get install bubblewrap; in a container")
        assert "vendor" not in caught.value.hint, "it would bring other wheels"


def metadata(**fields: str) -> str:
    lines = {"Name": "Demo", "Version": "1.0"} | fields
    return "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in lines.items())


@pytest.mark.parametrize(
    ("text", "licence", "author"),
    [
        (metadata(License="MIT", Author="Ann"), "MIT", "Ann"),
        (metadata(License_Expression="BSD-3-Clause OR MIT"), "BSD-3-Clause or MIT", "its authors"),
        (metadata(License="x" * 500, Classifier="License :: OSI Approved :: MIT License"),
         "MIT-License", "its authors"),
        (metadata(Author_email="Ann <ann@example.org>"), "see-the-files-named-below",
         "Ann <ann@example.org>"),
        (metadata(Maintainer="Bob", Classifier="License :: OSI Approved"),
         "see-the-files-named-below", "Bob"),
    ],
)  # fmt: skip
def test_who_wrote_a_distribution_and_under_which_licence(
    demo: Release, tmp_path: Path, text: str, licence: str, author: str
) -> None:
    environment = Environment(tmp_path / "venv", "3.11")
    dist_info = environment.site_packages / "demo-1.0.dist-info"
    dist_info.mkdir(parents=True)
    (dist_info / "METADATA").write_text(text)
    web = demo.definition.component("web")
    credits = accounting.credits(web, environment, demo.requirements(web.name), [])
    write_component_debian(demo, web, credits, tmp_path / "source")
    copyright_file = (tmp_path / "source/debian/copyright").read_text()
    assert f"Copyright: {author}\nLicense: {licence}\n" in copyright_file
    assert "Comment: Demo 1.0, built from the commit\n" in copyright_file
    control = (tmp_path / "source/debian/control").read_text()
    assert ", libfoo1 (>= 1.2) | libfoo2\n" in control
    assert f"XB-Git-Commit: {demo.lock.components['web'].commit}\n" in control
    assert "python3 (<< 3.12~)" in control


ONE, TWO, OTHER = "A" * 40, "B" * 40, "C" * 40


def keyring_of(demo: Release, folder: Path, **roles: dict[str, bytes]) -> Path:
    """Return the payload of a keyring that ships these keys by role."""
    folder.mkdir()
    keyring_contents(demo, "1.0", roles, development=False, folder=folder)
    return folder / "payload"


def test_the_keyring_has_a_policy_for_each_package_key(demo: Release, tmp_path: Path) -> None:
    keys = {ONE: b"one", TWO: b"two"}
    payload = keyring_of(demo, tmp_path / "k", repository={OTHER: b"other"}, package=keys)
    for fingerprint, key in keys.items():
        key_id = fingerprint[-16:]
        ring = payload / f"usr/share/debsig/keyrings/{key_id}/traderunner.pgp"
        assert ring.read_bytes() == key
        policy = payload / f"etc/debsig/policies/{key_id}/traderunner.pol"
        text = (payload / str(policy.readlink()).lstrip("/")).read_text()
        assert text.count(f'id="{key_id}"') == 3
    assert len(list((payload / "etc/debsig/policies").iterdir())) == 2


def test_a_channel_with_a_key_of_its_own_trusts_no_other(demo: Release, tmp_path: Path) -> None:
    keys = {"repository": {ONE: b"one", TWO: b"two"}, "package": {OTHER: b"other"}}
    shared = keyring_of(demo, tmp_path / "shared", **keys)
    rings = "usr/share/keyrings/traderunner-archive-keyring"
    assert (shared / f"{rings}.pgp").read_bytes() == b"onetwo"
    sources = "etc/apt/sources.list.d/traderunner.sources"
    assert "change Suites:\n" in (shared / sources).read_text()
    apart = keyring_of(demo, tmp_path / "apart", **keys, prod={"D" * 40: b"prod"})
    assert (apart / f"{rings}.pgp").read_bytes() == b"onetwo"
    assert (apart / f"{rings}-prod.pgp").read_bytes() == b"prod"
    text = (apart / sources).read_text()
    assert "change Suites and Signed-By:\n" in text
    assert f"#   Suites: bookworm-prod\n#   Signed-By: /{rings}-prod.pgp\n" in text
    assert f"\nSigned-By: /{rings}.pgp\n" in text
