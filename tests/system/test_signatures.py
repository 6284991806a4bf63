"""Packages that the package key did not sign, in an archive that is validly signed.

Everything here is served by somebody who has the repository's key: apt itself has no objection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.system.forgery import (
    MARKER,
    Forgery,
    Stanza,
    evil_control,
    members,
    repacked,
    signed_by_repository,
    unsigned,
)
from tests.system.machine import Machine, Result, Snapshot
from tests.system.project import Project
from tests.system.rollback import exists, history
from tests.system.stack import (
    apt,
    assert_healthy,
    install_stack,
    installed,
    installed_server,
)
from tests.unit.tradingctl.deploy.debfile import ar

pytestmark = [
    pytest.mark.system,
    pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True, scope="module"),
]

API = "automatictrader-api"
STACK = "traderunner-stack"
Releases = Callable[..., Project]


@dataclass
class Scene:
    """A server with the first release, and the archive of the next one in wrong hands."""

    machine: Machine
    project: Project
    forgery: Forgery
    folder: Path
    first: Path
    before: dict[str, str] = field(default_factory=dict)

    @property
    def deb(self) -> Path:
        """The honest package of the order intent API in the next release."""
        return self.project.deb(API)

    def attack(
        self, files: Mapping[str, bytes], changed: Mapping[str, Stanza] = {},
        more: Mapping[str, Stanza] = {},
    ) -> Result:  # fmt: skip
        """Let the server try the upgrade; assert that apt has been stopped, and nothing changed."""
        with self.forgery.offering(files, changed, more):
            tried = install_stack(self.machine, check=False)
        assert tried.returncode == 100, tried.output
        assert "Unpacking" not in tried.output
        assert "Failure running script" in tried.output
        assert installed(self.machine) == self.before
        assert not exists(self.machine, MARKER)
        last = history(self.machine)[-1]
        assert last["event"] == "vetoed"
        assert last["detail"] in tried.output
        return tried


@pytest.fixture(scope="module")
def scene(
    installed_slim: Snapshot, slim: Project, releases: Releases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:  # fmt: skip
    """Give the server; what is tried on it changes nothing."""
    project = releases("good2")
    project.publish()
    folder = tmp_path_factory.mktemp("forged")
    with installed_server(installed_slim, project) as machine:
        scene = Scene(machine, project, Forgery(project), folder, slim.deb(API))
        scene.before = installed(machine)
        yield scene


def said(tried: Result) -> str:
    """Return the sentence of tradingctl, and the command after it."""
    (found,) = re.findall(r"^tradingctl: (.+\n  next: .+)$", tried.output, re.MULTILINE)
    return str(found)


def test_a_repacked_package_with_the_signature_of_before(scene: Scene) -> None:
    told = said(scene.attack({API: ar(*repacked(scene.deb))}))
    assert told.startswith(f"{API} ")
    assert "what is in it is not what was signed (BADSIG); nothing was changed" in told
    assert f"apt-cache policy {API}" in told


def test_a_second_control_archive_that_dpkg_prefers(scene: Scene) -> None:
    version = scene.deb.name.split("_")[1]
    binary, *rest = members(scene.deb)
    evil = ("control.tar.gz", evil_control(API, version))
    confused = ar(binary, evil, *rest)
    told = said(scene.attack({API: confused}))
    assert "does not have the layout of a signed package" in told
    assert "its members are debian-binary, control.tar.gz, control.tar.zst" in told


def test_members_that_dpkg_passes_over(scene: Scene) -> None:
    parts = members(scene.deb)
    told = said(scene.attack({API: ar(*parts[:1], ("_extra", b"x"), *parts[1:])}))
    assert "its members are debian-binary, _extra, control.tar.zst" in told
    assert "no header as dpkg-deb writes it" in said(scene.attack({API: ar(*parts) + b"\n\n"}))


def test_a_package_without_a_signature(scene: Scene) -> None:
    assert "is not signed; nothing was changed" in said(scene.attack({API: unsigned(scene.deb)}))


def test_a_package_signed_by_the_key_of_the_repository(scene: Scene) -> None:
    content = signed_by_repository(scene.project, scene.deb, scene.folder)
    told = said(scene.attack({API: content}))
    assert re.search(r"is signed by the key [0-9A-F]{16}, and the packages of this server", told)
    assert "next: apt-get install traderunner-archive-keyring" in told


def test_a_package_of_an_earlier_release_under_a_new_number(scene: Scene) -> None:
    old, new = (path.name.split("_")[1] for path in (scene.first, scene.deb))
    told = said(scene.attack({API: scene.first.read_bytes()}))
    assert told.startswith(f"{API} {new} is refused")
    assert f"is {API} {old}, signed for that" in told


def test_a_helper_of_a_name_that_nobody_knows(scene: Scene) -> None:
    files = {"helper": ar(members(scene.deb)[0], ("control.tar.gz", evil_control("helper", "1")),
                          members(scene.deb)[2])}  # fmt: skip
    needed = {STACK: {"Depends": scene.forgery.release["Depends"] + ", helper"}}
    more = {"helper": {"Version": "1", "Architecture": "all", "Maintainer": "x"}}
    assert said(scene.attack(files, needed, more)).startswith("helper 1 is refused")


def test_the_keyring_itself(scene: Scene) -> None:
    deb = scene.project.deb("traderunner-archive-keyring")
    version = deb.name.split("_")[1]
    changed = {"traderunner-archive-keyring": {"Version": f"{version}.1"}}
    with scene.forgery.offering({"traderunner-archive-keyring": ar(*repacked(deb))}, changed):
        apt(scene.machine, "update")
        tried = apt(scene.machine, "install", "traderunner-archive-keyring", check=False)
    assert tried.returncode == 100
    assert said(tried).startswith(f"traderunner-archive-keyring {version}.1 is refused")
    assert installed(scene.machine) == scene.before


def test_a_file_that_the_administrator_names(scene: Scene) -> None:
    forged = scene.folder / "forged.deb"
    forged.write_bytes(ar(*repacked(scene.project.deb("trading-ibgateway"))))
    scene.machine.copy_in(forged, "/root/forged.deb")
    tried = apt(scene.machine, "install", "/root/forged.deb", check=False)
    assert tried.returncode == 100
    assert "trading-ibgateway" in said(tried)
    assert installed(scene.machine) == scene.before
    assert not exists(scene.machine, MARKER)


def test_the_honest_release_is_installed_after_all(scene: Scene) -> None:
    assert_healthy(scene.machine)
    # apt knows a later index by now, and keeps it.
    scene.machine.sh("rm -r /var/lib/apt/lists/*")
    install_stack(scene.machine)
    assert_healthy(scene.machine)
    assert installed(scene.machine)[API] == scene.deb.name.split("_")[1]
