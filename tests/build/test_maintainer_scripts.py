"""What maintainer scripts do with the programs that they call, in a tree of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from debstack.render import templates_folder

pytestmark = pytest.mark.build

UNIT = "web.service"
BY_HAND = f"/etc/systemd/system/{UNIT}"
INSTALL = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


def run(root: Path, script: str) -> None:
    """Run a piece of a script as dpkg does that installs into another tree."""
    subprocess.run(
        ["/bin/sh", "-e", "-c", script],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DPKG_ROOT": str(root),
            "DPKG_MAINTSCRIPT_PACKAGE": "web",
        },
        check=True,
        stdin=subprocess.DEVNULL,
    )


def enabled(root: Path, target: str) -> Path:
    """Lay out the packaged unit, enabled by a link, as deb-systemd-helper knows it."""
    for folder in ("lib/systemd/system", "etc/systemd/system/multi-user.target.wants"):
        (root / folder).mkdir(parents=True)
    (root / "lib/systemd/system" / UNIT).write_text(INSTALL)
    link = root / "etc/systemd/system/multi-user.target.wants" / UNIT
    link.symlink_to(target)
    run(root, f"deb-systemd-helper update-state {UNIT}")
    assert list(root.glob("var/lib/systemd/deb-systemd-helper-enabled/*.dsh-also"))
    return link


def purge(root: Path) -> None:
    function = (templates_folder() / "_forget_enabling").read_text()
    helper = f"deb-systemd-helper purge {UNIT}"  # the line of debhelper's, which comes next
    run(root, f"{function}\nforget_enabling {UNIT}\n{helper}")
    assert not list(root.glob("var/lib/systemd/deb-systemd-helper-enabled/*"))


@pytest.mark.parametrize("target", [BY_HAND, f"../{UNIT}"])
def test_a_purge_leaves_what_enables_a_unit_laid_out_by_hand(tmp_path: Path, target: str) -> None:
    link = enabled(tmp_path, target)
    (tmp_path / BY_HAND.lstrip("/")).write_text(INSTALL)
    purge(tmp_path)
    assert str(link.readlink()) == target


def test_a_purge_removes_what_enabled_the_packaged_unit(tmp_path: Path) -> None:
    link = enabled(tmp_path, f"/lib/systemd/system/{UNIT}")
    purge(tmp_path)
    assert not link.is_symlink()
