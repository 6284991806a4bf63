"""Both keys are replaced while servers know the old ones, both, or the new ones.

Trixie's apt verifies an archive with sqv and not with gpgv, so everything is asked on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.rollback import assert_in_service
from tests.system.slim import PARTS
from tests.system.stack import (
    KEYRING,
    apt,
    assert_healthy,
    command,
    install_stack,
    installed,
    installed_server,
    off_server,
    save_installed,
    tradingctl,
)

from debstack import gpg
from debstack.process import Runner

pytestmark = [
    pytest.mark.system,
    pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True, scope="module"),
]


@dataclass(frozen=True)
class Rotation:
    """The stages of a project whose two keys are replaced, each a project of its own.

    ``old`` knows one pair of keys. ``new`` has packages signed by the new key in an archive that
    both sign, and a keyring that holds all. In ``last`` the new key signs the archive alone.
    ``drop`` has a keyring without the old keys.
    """

    old: Project
    new: Project
    last: Project
    drop: Project
    packages: tuple[str, str]
    """The old and the new package key."""


@pytest.fixture(scope="module")
def rotation(slim: Project, projects: Path) -> Iterator[Rotation]:
    with gpg.throwaway_home(Runner()) as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(home))
        yield replaced(slim.copy(projects / f"rotation-{slim.target}"), projects)


def replaced(project: Project, folder: Path) -> Rotation:
    """Replace the keys of a project as an operator does, and keep it at each stage."""

    def new_key(role: str) -> str:
        return project.debstack("key", "new", role, "--no-passphrase").stdout.split()[0]

    def step(role: str, name: str, *more: str) -> None:
        project.debstack("key", "rotate", role, "--step", name, *more)

    def release() -> None:
        project.lock_again(*PARTS)
        project.build()
        project.publish()

    def keep(name: str) -> Project:
        return project.copy(folder / f"{project.root.name}-{name}")

    one, _ = new_key("package"), new_key("repository")
    release()
    old = keep("old")
    two = new_key("package")
    step("package", "trust", "--to", two)
    step("repository", "trust", "--to", new_key("repository"))
    release()
    step("repository", "both")
    step("package", "new")
    release()
    new = keep("new")
    step("repository", "new")
    project.publish()
    last = keep("last")
    step("repository", "drop")
    step("package", "drop")
    release()
    return Rotation(old, new, last, project, (one, two))


@pytest.fixture(scope="module")
def old_server(os_base: Path, rotation: Rotation, projects: Path) -> Snapshot:
    """Return a server with the release and the keyring of the old keys."""
    return save_installed(os_base, rotation.old, projects / f"old-{rotation.old.target}")


def take_keyring(machine: Machine, project: Project) -> None:
    """Install a keyring as somebody does who has compared the fingerprint."""
    machine.copy_in(project.deb(KEYRING), f"/root/{KEYRING}.deb")
    command(machine, "dpkg", "-i", f"/root/{KEYRING}.deb")


def policies(machine: Machine) -> list[str]:
    """Return the ids of the keys that debsig-verify has policies for."""
    return command(machine, "ls", "/etc/debsig/policies").stdout.split()


def test_each_archive_is_read_by_whoever_knows_a_key_that_signed_it(
    os_base: Path, rotation: Rotation
) -> None:
    keyrings = {"old": rotation.old, "both": rotation.new, "new": rotation.drop}
    archives = {"old": rotation.old, "both": rotation.new, "new": rotation.last}
    found: dict[tuple[str, str], bool] = {}
    for signed_by, archive in archives.items():
        with off_server(os_base, archive) as machine:
            for knows, project in keyrings.items():
                take_keyring(machine, project)
                machine.chroot_run("sh", "-c", "rm -rf /var/lib/apt/lists/*")
                updated = apt(machine, "update", check=False)
                found[signed_by, knows] = updated.returncode == 0
                if updated.returncode != 0:
                    assert "is not signed" in updated.output
    assert found == {
        ("old", "old"): True, ("old", "both"): True, ("old", "new"): False,
        ("both", "old"): True, ("both", "both"): True, ("both", "new"): True,
        ("new", "old"): False, ("new", "both"): True, ("new", "new"): True,
    }  # fmt: skip


def test_a_server_is_told_which_keyring_it_lacks(old_server: Snapshot, rotation: Rotation) -> None:
    old, new = (fingerprint[-16:] for fingerprint in rotation.packages)
    with installed_server(old_server, rotation.new) as machine:
        before = installed(machine)
        refused = install_stack(machine, check=False)
        assert refused.returncode == 100
        assert f"is signed by the key {new}" in refused.output
        assert f"have to be signed by {rotation.packages[0]}" in refused.output
        assert f"next: apt-get install {KEYRING}  # " in refused.output
        assert installed(machine) == before

        apt(machine, "install", KEYRING)
        assert sorted(policies(machine)) == sorted([old, new])
        install_stack(machine)
        assert_in_service(machine, rotation.new, rotation.new.release)
        for project in (rotation.old, rotation.new):
            machine.copy_in(project.deb("traderunner-stack"), "/root/stack.deb")
            verified = machine.run("debsig-verify", "/root/stack.deb")
            assert "Verified package" in verified.output


def test_keyring_and_release_come_in_one_upgrade(old_server: Snapshot, rotation: Rotation) -> None:
    with installed_server(old_server, rotation.new) as machine:
        apt(machine, "update")
        apt(machine, "dist-upgrade")
        assert_in_service(machine, rotation.new, rotation.new.release)
        assert installed(machine)[KEYRING] == rotation.new.deb(KEYRING).name.split("_")[1]


def test_the_old_key_is_forgotten_and_the_way_back_is_not(
    old_server: Snapshot, rotation: Rotation
) -> None:
    old, new = (fingerprint[-16:] for fingerprint in rotation.packages)
    with installed_server(old_server, rotation.drop) as machine:
        before = installed(machine)
        take = ("install", f"/root/{KEYRING}.deb")
        machine.copy_in(rotation.drop.deb(KEYRING), f"/root/{KEYRING}.deb")
        refused = apt(machine, *take, check=False)
        assert refused.returncode == 100
        assert f"next: apt-cache madison {KEYRING}" in refused.output
        assert installed(machine) == before

        machine.copy_in(rotation.new.deb(KEYRING), f"/root/{KEYRING}.deb")
        apt(machine, *take)
        install_stack(machine)
        assert_in_service(machine, rotation.drop, rotation.drop.release)
        apt(machine, "install", KEYRING)
        assert policies(machine) == [new]
        assert machine.run("dpkg-query", "-W", "-f", "${Conffiles}", KEYRING).stdout.count(old) == 0

        # What the old key signed comes from no archive any more, and from the kept release still.
        machine.copy_in(rotation.old.deb("traderunner-stack"), "/root/stack.deb")
        downgrade = ("install", "--allow-downgrades", "--allow-change-held-packages")
        debs = [f"/root/{deb.name}" for deb in rotation.old.debs() if "ibgateway" not in deb.name]
        for deb in rotation.old.debs():
            machine.copy_in(deb, f"/root/{deb.name}")
        refused = apt(machine, *downgrade, *[d for d in debs if KEYRING not in d], check=False)
        assert refused.returncode == 100
        assert f"is signed by the key {old}" in refused.output
        assert_healthy(machine)
        back = tradingctl(machine, "rollback", rotation.old.release)
        assert back.returncode == 0, back.output
        assert_in_service(machine, rotation.old, rotation.old.release)


def test_what_an_earlier_keyring_left_is_cleared_away(
    os_base: Path, rotation: Rotation, slims: Callable[[str], Project]
) -> None:
    with off_server(os_base, rotation.old) as machine:
        left = "/etc/debsig/policies/0123456789ABCDEF/traderunner.pol"
        command(machine, "sh", "-c", f"mkdir -p {Path(left).parent}; echo '<Policy/>' > {left}")
        take_keyring(machine, rotation.old)
        assert policies(machine) == [rotation.packages[0][-16:]]
