"""The scripts that CI runs, with the real gpg and rsync."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from tests.build.test_signing import user_key

from debstack import gpg
from debstack.process import SYSTEM_PATH, Runner

pytestmark = pytest.mark.build
ROOT = Path(__file__).parents[2]
RUNNER = Runner()
for _program in ("gpg", "rsync"):
    if shutil.which(_program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)


def run(script: str, *words: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [ROOT / "scripts" / script, *words],
        cwd=cwd,
        env={"PATH": SYSTEM_PATH, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


def test_secrets_become_files_that_nobody_else_reads() -> None:
    with gpg.throwaway_home(RUNNER) as home, gpg.throwaway_home(RUNNER) as folder:
        fingerprint = user_key(home)
        export: list[str | Path] = ["gpg", "--homedir", home, "--armor", "--export-secret-keys"]
        secret = RUNNER.capture([*export, fingerprint]).text
        said = run(
            "ci-keys", "keys", cwd=folder, SIGNING_KEYS=secret, SIGNING_PASSPHRASE="correct horse",
            ARCHIVE_SSH_KEY="-----BEGIN KEY-----", ARCHIVE_HOST_KEY="apt.example.org ssh-ed25519 A",
        )  # fmt: skip
        variables = dict(line.split("=", 1) for line in said.splitlines())
        keys = folder / "keys"
        assert variables["GNUPGHOME"] == str(keys / "gnupg")
        key = gpg.Key(fingerprint, keys / "gnupg", None, None, development=False)
        gpg.require_usable(key, keys / "gnupg", RUNNER)
        for name in ("DEBSTACK_PACKAGE_KEY", "DEBSTACK_REPO_KEY"):
            file = Path(variables[f"{name}_PASSPHRASE_FILE"])
            assert file.read_text() == "correct horse"
        assert "StrictHostKeyChecking=yes" in variables["RSYNC_RSH"]
        for path in (keys, *keys.iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert "correct horse" not in said
        assert "BEGIN" not in said
        RUNNER.capture(["gpgconf", "--homedir", keys / "gnupg", "--kill", "all"], check=False)


def test_without_secrets_nothing_is_said(tmp_path: Path) -> None:
    assert run("ci-keys", "keys", cwd=tmp_path) == ""
    assert run("ci-keys", "keys", cwd=tmp_path, SIGNING_KEYS="", ARCHIVE_SSH_KEY="") == ""


def lay_out(archive: Path) -> None:
    """Make a suite with one generation, and the lock of its publishers."""
    generation = archive / ".gen/bookworm-staging/1"
    generation.mkdir(parents=True)
    (archive / ".gen/.lock").touch()
    (generation / "InRelease").write_text("one")
    (archive / "dists").mkdir()
    (archive / "dists/bookworm-staging").symlink_to("../.gen/bookworm-staging/1")


def test_an_archive_is_fetched_and_pushed_with_its_links(tmp_path: Path) -> None:
    place, working = tmp_path / "place", tmp_path / "working"
    place.mkdir()
    working.mkdir()
    run("copy-archive", "fetch", str(place), cwd=working)
    archive = working / "dist/apt"
    assert archive.is_dir()
    lay_out(archive)
    run("copy-archive", "push", str(place), cwd=working)
    assert (place / "dists/bookworm-staging/InRelease").read_text() == "one"
    assert os.readlink(place / "dists/bookworm-staging") == "../.gen/bookworm-staging/1"  # noqa: PTH115
    shutil.rmtree(archive)
    run("copy-archive", "fetch", f"{place}/", cwd=working)
    assert (archive / "dists/bookworm-staging/InRelease").read_text() == "one"


@pytest.mark.parametrize("lost", ["dist", "dist/apt/.gen/.lock", "dist/apt/dists"])
def test_what_is_no_archive_takes_the_place_of_none(lost: str, tmp_path: Path) -> None:
    """A push from the wrong folder, or after a fetch that failed, would delete what is there."""
    place = tmp_path / "place"
    lay_out(place)
    lay_out(tmp_path / "dist/apt")
    gone = tmp_path / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(subprocess.CalledProcessError):
        run("copy-archive", "push", str(place), cwd=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_dists_names_nothing_that_is_not_there(tmp_path: Path) -> None:
    """Of the two runs of rsync the first brings everything that the second one's dists names."""
    log = tmp_path / "log"
    fake = tmp_path / "rsync"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    fake.chmod(0o755)
    lay_out(tmp_path / "dist/apt")
    subprocess.run(
        [ROOT / "scripts/copy-archive", "push", "place"],
        cwd=tmp_path, env={"PATH": f"{tmp_path}:{SYSTEM_PATH}"}, check=True,
    )  # fmt: skip
    assert log.read_text().splitlines() == [
        "-a --exclude=/dists dist/apt/ place/",
        "-a --delete-after dist/apt/ place/",
    ]
