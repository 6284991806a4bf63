"""What maintainer scripts do with the programs that they call, in a tree of its own."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.golden.trees import rendered

from debstack.process import SYSTEM_PATH
from debstack.render import render_one, templates_folder

pytestmark = pytest.mark.build

NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
API = "automatictrader-api"
GATEWAY = "ibgateway/trading-ibgateway"
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


@functools.cache
def script(package: str, name: str) -> str:
    """Return what a script of ``<kind>/<package>`` is rendered to; one of debian/, or a path."""
    return rendered()[package][name if "/" in name else f"debian/{name}"][0]


def with_programs(root: Path, *names: str, **scripts: str) -> Path:
    """Give the scripts some programs of the host, and others that do what is given."""
    programs = root / "programs"
    programs.mkdir(exist_ok=True)
    for name in names:
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return programs


def purged(root: Path, package: str, mounted: Sequence[str] = ()) -> str:
    """Run a postrm as a purge does; see ``ran``."""
    return ran(root, package, "postrm", "purge", mounted=mounted)


def ran(root: Path, package: str, *words: str, mounted: Sequence[str] = ()) -> str:
    """Run a script, with every path below ``root``; return what it says.

    ``words`` are its name and its arguments. Something is mounted on the folders ``mounted``.
    """
    text = script(package, words[0]).removeprefix("#!/bin/sh\n")
    text = re.sub(r"(?<!\w)/(?=(?:etc|opt|usr|var)/)", f"{root}/", text)
    # Nothing of the machine that runs the tests is in reach.
    others = text.replace(f"{root}/", "").replace("$DPKG_ROOT/etc/", "").replace("/dev/null", "")
    assert not re.search(r"(?<![\w*\"}])/(?!lib/systemd)\w", others)
    # And none of the host's own registers, such as ucf's.
    programs = with_programs(root, "find", "mv", "readlink", "rm", "rmdir", "sed", "tail")
    command = ["/bin/sh", "-c", text, *words]
    if mounted:
        mounts = "".join(f"mount --bind {root}/{each} {root}/{each}\n" for each in mounted)
        command = [*NAMESPACE, "/bin/sh", "-e", "-c", f'{mounts}PATH={programs}\nexec "$@"', "sh",
                   *command]  # fmt: skip
    done = subprocess.run(
        command,
        env={"PATH": SYSTEM_PATH if mounted else str(programs), "DPKG_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def left(root: Path) -> set[str]:
    """Return the files below ``root``."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {each for each in found if not each.startswith("programs/")}


def laid_out(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret\n")


STAMP = "20261124T030000Z"
SECRET = f"etc/trading/secrets/{API}.env"
RECORD = "var/lib/trading/adoption/record.json"
CONFMODULE = "usr/share/debconf/confmodule"
COPY = f"var/lib/trading/adoption/settings/{STAMP}/{API}.env"


def test_a_purge_takes_secrets_that_were_put_aside_or_copied(tmp_path: Path) -> None:
    aside = [f"{SECRET}.{word}-{STAMP}" for word in ("undone", "before-adoption", "before-restore")]
    other = f"{SECRET}.by-me", "etc/trading/secrets/traderunner.env"
    laid_out(tmp_path, SECRET, *aside, COPY, RECORD, *other)
    purged(tmp_path, f"component/{API}")
    assert left(tmp_path) == {RECORD, *other}


@pytest.mark.parametrize(("package", "names"), [
    (f"component/{API}", (SECRET, f"etc/trading/{API}.env", f"etc/trading/secrets/{API}")),
    (GATEWAY,
     ("etc/trading/ibgateway.env", "etc/trading/secrets/ibgateway.env",
      "etc/trading/secrets/ibc.ini")),
    ("common/traderunner-common",
     ("etc/trading/backup.env", "etc/trading/environment", "etc/trading/deploy.conf",
      "etc/trading/orders-on-staging")),
])  # fmt: skip
def test_a_purge_takes_what_was_kept_beside_a_file_or_is_half_written(
    tmp_path: Path, package: str, names: tuple[str, ...]
) -> None:
    other = []
    (tmp_path / "var/backups/trading").mkdir(parents=True)
    for name in names:
        folder, _, file = name.rpartition("/")
        laid_out(
            tmp_path, f"{name}.before-restore-{STAMP}", f"{name}.before-restore-{STAMP}-2/x",
            f"{folder}/.{file}.restoring", f"{folder}/.{file}.k3_x9a0b",
        )  # fmt: skip
        other += [f"{name}2.before-restore-{STAMP}", f"{folder}/.{file}.by-me", f"{folder}/.{file}"]
    to_be_deleted(tmp_path)
    laid_out(tmp_path, *other)
    purged(tmp_path, package)
    assert left(tmp_path) == {CONFMODULE, *other}


def test_a_purge_keeps_the_password_of_backups_that_stay(tmp_path: Path) -> None:
    settings = "etc/trading/backup.env"
    laid_out(tmp_path, settings, f"{settings}.before-restore-{STAMP}")
    assert "backup.env stays" in purged(tmp_path, "common/traderunner-common")
    assert left(tmp_path) == {settings, f"{settings}.before-restore-{STAMP}"}


@pytest.mark.parametrize("owner", ["", API, "gone"])
def test_a_purge_leaves_settings_that_went_over_to_another_package(
    tmp_path: Path, owner: str
) -> None:
    settings = f"etc/trading/{API}.env"
    laid_out(tmp_path, settings, SECRET)
    with_programs(tmp_path, "cut", ucfq=f"echo $2:{owner}:Yes:No", ucf="exit 1", ucfr="exit 5")
    purged(tmp_path, f"component/{API}")
    assert left(tmp_path) == ({settings} if owner == "gone" else set())


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_purge_leaves_settings_where_what_was_by_hand_is_in_service(
    tmp_path: Path, by_hand: bool
) -> None:
    settings = f"etc/trading/{API}.env"
    tree = f"opt/trading/{API}/.env"
    aside = f"{SECRET}.undone-{STAMP}"
    laid_out(tmp_path, settings, f"{settings}.ucf-dist", SECRET, aside, *[tree] * by_hand)
    said = purged(tmp_path, f"component/{API}")
    assert ("its settings in" in said) == by_hand
    assert left(tmp_path) == ({settings, SECRET, tree} if by_hand else set())


def test_a_purge_forgets_an_adoption_of_which_nothing_is_left(tmp_path: Path) -> None:
    laid_out(tmp_path, RECORD, COPY, f"var/lib/trading/adoption/owners/{STAMP}/x.json.done")
    assert "by hand" not in purged(tmp_path, "common/traderunner-common")
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    "kept",
    [
        "opt/trading/adopted/traderunner/.env",
        f"var/lib/trading/adoption/units/{STAMP}/{UNIT}",
        f"var/lib/trading/adoption/crontabs/{STAMP}-0-admin",
    ],
)
def test_a_purge_leaves_what_was_installed_by_hand_and_says_so(tmp_path: Path, kept: str) -> None:
    laid_out(tmp_path, RECORD, COPY, kept)
    assert "what was installed by hand stays in" in purged(tmp_path, "common/traderunner-common")
    assert left(tmp_path) == {RECORD, kept}


@pytest.mark.parametrize("kept", [False, True])
def test_a_purge_that_forgets_an_undo_removes_its_masks_and_no_other(
    tmp_path: Path, kept: bool
) -> None:
    names = ("ours.service", "written-since.service", "of-the-administrator.service")
    ours, since, other = (tmp_path / "etc/systemd/system" / name for name in names)
    laid_out(tmp_path, RECORD, str(since.relative_to(tmp_path)))
    laid_out(tmp_path, *(f"var/lib/trading/adoption/masks/{name}" for name in names[:2]))
    laid_out(tmp_path, *["opt/trading/adopted/traderunner/.env"] * kept)
    for mask in (ours, other):
        mask.symlink_to("/dev/null")
    purged(tmp_path, "common/traderunner-common")
    assert ours.is_symlink() is kept
    assert since.is_file()
    assert other.is_symlink()


def to_be_deleted(root: Path) -> None:
    """Lay out a debconf that was told that the data may go."""
    answers = "db_input() { :; }\ndb_go() { :; }\ndb_get() { RET=true; }\n"
    laid_out(root, CONFMODULE)
    (root / CONFMODULE).write_text(answers)


def need_mounts() -> None:
    probe = [*NAMESPACE, "mount", "--bind", "/usr", "/usr"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a process may not mount anything here")


@pytest.mark.parametrize(("package", "secret", "data", "mounted"), [
    (f"component/{API}", SECRET, f"var/lib/trading/{API}", "data"),
    (f"component/{API}", SECRET, f"var/lib/trading/{API}", "."),
    (f"component/{API}", SECRET, f"var/log/trading/{API}", "."),
    (GATEWAY, "etc/trading/secrets/ibc.ini",
     "var/lib/trading/ibgateway", "Jts"),
    ("common/traderunner-common", "etc/trading/backup.env", "var/backups/trading", "databases"),
    ("common/traderunner-common", "etc/trading/backup.env", "var/backups/trading", "."),
])  # fmt: skip
def test_a_purge_ends_where_something_is_mounted_and_says_what_stays(
    tmp_path: Path, package: str, secret: str, data: str, mounted: str
) -> None:
    need_mounts()
    to_be_deleted(tmp_path)
    laid_out(tmp_path, secret, f"{data}/{mounted}/x", f"{data}/y")
    said = purged(tmp_path, package, [os.path.normpath(f"{data}/{mounted}")])
    assert re.search(rf"stays? in {tmp_path}/{data}|{tmp_path}/{data} stays", said)
    assert left(tmp_path) == {CONFMODULE}


TIMERS = ("trading-market-open.timer", "trading-market-close.timer")


@pytest.mark.parametrize("action", ["configure", "abort-remove"])
@pytest.mark.parametrize("good", [(), TIMERS[:1], TIMERS])
def test_timers_that_a_removal_stopped_are_started_where_they_are_enabled(
    tmp_path: Path, action: str, good: tuple[str, ...]
) -> None:
    started = tmp_path / "started"
    programs = f"""
systemctl() {{ case "$3" in {"|".join(good) or "none"}) ;; *) return 1 ;; esac; }}
deb-systemd-invoke() {{ echo "$@" >> {started}; return 1; }}
environment=
"""

    def run(name: str, *words: str) -> None:
        text = script("common/traderunner-common", name).partition("#DEBHELPER#")[2]
        text = text.replace("/run/systemd/system", str(tmp_path))
        text = text.replace("/run/trading", str(tmp_path / "run"))
        # dash takes no name with a hyphen for a function.
        command = [shutil.which("bash") or "bash", "-e", "-c", programs + text, name, *words]
        subprocess.run(command, env={"PATH": SYSTEM_PATH}, check=True)

    run("postinst", action)
    assert not started.exists(), "an upgrade starts none that somebody stopped"
    run("prerm", "remove")
    run("postinst", action)
    run("postinst", action)
    lines = started.read_text().splitlines() if started.exists() else []
    assert lines == [f"{verb} {timer}" for verb in ("stop", "start") for timer in good]


KEYRING = "keyring/traderunner-archive-keyring"
SOURCES = "etc/apt/sources.list.d/traderunner.sources"
KEY = "usr/share/keyrings/traderunner-archive-keyring.pgp"


@pytest.mark.parametrize("with_key", [False, True])
def test_an_installation_that_fails_leaves_no_source_active_without_its_key(
    tmp_path: Path, with_key: bool
) -> None:
    laid_out(tmp_path, SOURCES, *[KEY] * with_key)
    text = f"Types: deb\nSigned-By: {tmp_path / KEY}\n"
    (tmp_path / SOURCES).write_text(text)
    ran(tmp_path, KEYRING, "postrm", "remove")
    aside = tmp_path / f"{SOURCES}.disabled"
    assert aside.read_text() == text
    ran(tmp_path, KEYRING, "preinst", "install", "1.0", "1.1")
    assert (tmp_path / SOURCES).read_text() == text
    ran(tmp_path, KEYRING, "postrm", "abort-install", "1.0", "1.1")
    assert aside.exists() is not with_key
    assert (tmp_path / SOURCES).exists() is with_key
    if not with_key:
        assert aside.read_text() == text
    ran(tmp_path, KEYRING, "postrm", "purge")
    assert not aside.exists()


SETTINGS = "etc/trading/ibgateway.env"
LATER = "etc/trading/secrets/ibgateway.env"


def checked(root: Path, **variables: str) -> str:
    """Return what the check of the gateway says is missing."""
    text = script(GATEWAY, "payload/usr/lib/trading-ibgateway/check")
    done = subprocess.run(
        ["/bin/sh", "-c", text.replace("/etc/trading", f"{root}/etc/trading")],
        env={"PATH": SYSTEM_PATH, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert all(line.startswith("ibgateway: ") for line in done.stderr.splitlines()), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "line",
    ["IBC_PATH=/srv/my ibc", ' IBC_PATH = "/srv/my ibc" ', "IBC_PATH=/x\nIBC_PATH='/srv/my ibc'"],
)
def test_the_check_reads_settings_and_runs_none(tmp_path: Path, line: str) -> None:
    laid_out(tmp_path, SETTINGS)
    ran_by_it = tmp_path / "ran"
    (tmp_path / SETTINGS).write_text(
        f"JAVA_TOOL_OPTIONS=-Xmx768m -Dfoo\n{line}\n#IBC_PATH=/no\nIBC_PATH2=/no\n"
        f"TWS_PATH=$(touch {ran_by_it})\nTWS_MAJOR_VRSN=\n"
    )
    said = checked(tmp_path, IBC_PATH="/of/another")
    assert "/srv/my ibc/scripts/ibcstart.sh is missing" in said
    assert f"$(touch {ran_by_it})/ibgateway/1030/jars is missing" in said
    assert f"{tmp_path}/etc/trading/secrets/ibc.ini is missing" in said
    assert not ran_by_it.exists()


def test_the_check_takes_what_systemd_gave_to_the_service(tmp_path: Path) -> None:
    laid_out(tmp_path, SETTINGS, LATER)
    (tmp_path / SETTINGS).write_text("TWS_PATH=/first\nIBC_PATH=/first\n")
    (tmp_path / LATER).write_text("TWS_PATH=/later")
    said = checked(tmp_path, INVOCATION_ID="1", IBC_PATH="/service")
    assert "/later/ibgateway/1030/jars is missing" in said
    assert "/service/scripts/ibcstart.sh is missing" in said
    assert "/first/scripts/ibcstart.sh is missing" in checked(tmp_path, IBC_PATH="/service")


def test_the_check_knows_what_is_usual_where_nothing_is_written(tmp_path: Path) -> None:
    said = checked(tmp_path)
    assert "ibgateway: /opt/ibgateway/1030/jars is missing" in said
    assert "ibgateway: /opt/ibc/scripts/ibcstart.sh is missing" in said


GATEWAY_UNIT = "etc/systemd/system/ibgateway.service"


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_removal_stops_the_gateway_and_none_that_was_laid_out_by_hand(
    tmp_path: Path, by_hand: bool
) -> None:
    laid_out(tmp_path, *[GATEWAY_UNIT] * by_hand)
    said = tmp_path / "said"
    with_programs(tmp_path, **{"deb-systemd-invoke": f'echo "$@" > {said}'})
    ran(tmp_path, GATEWAY, "prerm", "remove")
    assert said.exists() is not by_hand


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_purge_leaves_a_gateway_that_was_laid_out_by_hand(tmp_path: Path, by_hand: bool) -> None:
    login = "etc/trading/secrets/ibc.ini"
    laid_out(tmp_path, SETTINGS, login, f"{login}.before-restore-{STAMP}")
    laid_out(tmp_path, *[GATEWAY_UNIT] * by_hand)
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/ibgateway.service"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/{GATEWAY_UNIT}" if by_hand else "/lib/systemd/system/ibgateway.service")
    with_programs(tmp_path, "ln", "mkdir", **{"deb-systemd-helper": f"exec rm -f {link}"})
    said = purged(tmp_path, GATEWAY)
    assert link.is_symlink() is by_hand
    assert ("its settings in" in said) is by_hand
    assert left(tmp_path) == ({GATEWAY_UNIT, SETTINGS, login} if by_hand else set())


def test_directories_of_an_installation_by_hand_keep_their_owner_and_mode(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\ntrading:x:999:999::/:/bin/sh\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\ntrading:x:999:\n")
    data = "/var/lib/trading/web/data"
    by_hand = ["opt/trading", "var/log/trading", data.lstrip("/")]
    for each in by_hand:
        (tmp_path / each).mkdir(parents=True)
        (tmp_path / each).chmod(0o755)
        os.chown(tmp_path / each, 1000, 1000)
    directories = ["/var/lib/trading/web", data, "/var/log/trading/web"]
    values = {"source": "web", "directories": directories}
    texts = [render_one(f"{kind}/debian/tmpfiles", values) for kind in ("common", "component")]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.conf").write_text(text)
        program = ["systemd-tmpfiles", "--create", f"--root={tmp_path}"]
        subprocess.run([*program, str(tmp_path / f"{number}.conf")], check=True)
    for each in by_hand:
        assert owned(tmp_path / each) == (1000, 1000, 0o755)
    assert owned(tmp_path / "opt/trading/releases") == (0, 0, 0o755)
    assert owned(tmp_path / "var/log/trading/web") == (999, 999, 0o750)


def owned(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777
