"""What was not signed with the repository's key does not get onto a server: real apt says no."""

from __future__ import annotations

import gzip
import lzma
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.machine import Machine
from tests.system.project import Project
from tests.system.stack import (
    ARCHIVE,
    KEYRING,
    apt,
    install_keyring,
    install_stack,
    installed,
    off_server,
)

pytestmark = pytest.mark.system

KEY_FILE = f"/usr/share/keyrings/{KEYRING}.pgp"


@pytest.fixture
def tampered(release: Project, projects: Path) -> Iterator[Project]:
    """Return a copy of the published release that a test may spoil."""
    with tempfile.TemporaryDirectory(dir=projects) as folder:
        yield release.copy(Path(folder) / "tampered")


@pytest.fixture
def machine(base: Path, release: Project, tampered: Project) -> Iterator[Machine]:
    """Return a machine with the good keyring package and the archive that may be spoilt."""
    with off_server(base, tampered) as new:
        install_keyring(new, release)
        yield new


def pooled(project: Project, package: str) -> Path:
    """Return the file of a package in the archive."""
    (found,) = project.archive.glob(f"pool/**/{package}_*.deb")
    return found


def replace_content(file: Path, content: bytes) -> None:
    """Give a file of the archive another content and the time that it had."""
    status = file.stat()
    file.unlink()  # it may be a link to the good one
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip_a_byte(file: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    replace_content(file, bytes(content))


def nothing_is_installed(machine: Machine) -> bool:
    """Return whether no package of ours but the keyring is there."""
    unpacked = machine.chroot_run("sh", "-c", "ls -d /opt/trading /usr/lib/trading", check=False)
    return set(installed(machine)) == {KEYRING} and not unpacked.stdout


def test_good_archive_is_accepted_on_this_machine(machine: Machine) -> None:
    apt(machine, "update")
    offered = apt(machine, "install", "--simulate", "traderunner-stack").stdout
    assert "Inst traderunner-stack" in offered


@pytest.mark.parametrize("package", ["marketdata-stream", "traderunner-stack"])
def test_changed_package_is_refused(machine: Machine, tampered: Project, package: str) -> None:
    flip_a_byte(pooled(tampered, package))
    refused = install_stack(machine, check=False)
    assert refused.returncode == 100
    assert "Hash Sum mismatch" in refused.output
    assert nothing_is_installed(machine)


def test_other_package_in_place_of_one_is_refused(machine: Machine, tampered: Project) -> None:
    other = pooled(tampered, "marketdata-stream").read_bytes()
    replace_content(pooled(tampered, "traderunner-stack"), other)
    refused = install_stack(machine, check=False)
    assert refused.returncode == 100
    assert "Hash Sum mismatch" in refused.output
    assert nothing_is_installed(machine)


def test_changed_index_is_refused(machine: Machine, tampered: Project) -> None:
    for index in indexes(tampered):
        packing = gzip if index.read_bytes().startswith(b"\x1f\x8b") else lzma
        text = packing.decompress(index.read_bytes())
        changed = text.replace(b"Priority: optional", b"Priority: required")
        replace_content(index, packing.compress(changed))
    refuse_the_archive(machine, "Failed to fetch")


def test_changed_index_that_the_release_file_names_is_refused(
    machine: Machine, tampered: Project
) -> None:
    inrelease = suite(tampered) / "InRelease"
    lines = inrelease.read_text().replace("Label: traderunner", "Label: somebody else's")
    replace_content(inrelease, lines.encode())
    refuse_the_archive(machine, "signatures were invalid: BADSIG")


def test_unsigned_archive_is_refused(machine: Machine, tampered: Project) -> None:
    (suite(tampered) / "InRelease").unlink()
    (suite(tampered) / "Release.gpg").unlink()
    refuse_the_archive(machine, "is not signed")


def test_another_key_is_refused(machine: Machine) -> None:
    # The key that signs packages is a real key, and not the one that signs repositories.
    machine.chroot_run("sh", "-c", f"cp /usr/share/debsig/keyrings/*/traderunner.pgp {KEY_FILE}")
    refuse_the_archive(machine, "NO_PUBKEY")


def test_key_for_this_archive_is_trusted_for_no_other(machine: Machine) -> None:
    other = "/etc/apt/sources.list.d/other.list"
    machine.chroot_run("rm", "/etc/apt/sources.list.d/traderunner.sources")
    machine.write(other, f"deb file:{ARCHIVE} bookworm-staging main\n")
    refuse_the_archive(machine, "NO_PUBKEY")


def suite(project: Project) -> Path:
    """Return the folder of the published suite."""
    return (project.archive / "dists" / "bookworm-staging").resolve()


def indexes(project: Project) -> list[Path]:
    """Return every file that is the suite's list of packages."""
    found = [path for path in suite(project).glob("main/**/*") if path.is_file()]
    assert len(found) == 4, "gzip and xz, each by name and by hash"
    return found


def refuse_the_archive(machine: Machine, why: str) -> None:
    """Assert that apt does not take the archive, for this reason, and can install nothing of it."""
    updated = apt(machine, "update", check=False)
    assert updated.returncode == 100, updated.output
    assert why in updated.output
    installing = apt(machine, "install", "traderunner-stack", check=False)
    assert installing.returncode == 100
    assert "Unable to locate package traderunner-stack" in installing.output
    assert nothing_is_installed(machine)
