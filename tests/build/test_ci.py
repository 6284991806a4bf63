"""The scripts that CI runs, with the real gpg and rsync."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from tests.build.test_signing import user_key

from debstack import gpg
from debstack.archive.tree import Tree, locked
from debstack.errors import ArchiveError
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


def test_a_folder_that_rsync_could_not_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run("ci-keys", "my keys", cwd=tmp_path, ARCHIVE_SSH_KEY="key")
    assert list(tmp_path.iterdir()) == []


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


def test_a_push_to_a_folder_of_other_things_takes_none_of_them_away(tmp_path: Path) -> None:
    lay_out(tmp_path / "dist/apt")
    (tmp_path / "srv").mkdir()
    run("copy-archive", "push", str(tmp_path / "srv"), cwd=tmp_path)
    # One that was stopped before dists/ was there.
    shutil.rmtree(tmp_path / "srv/dists")
    run("copy-archive", "push", str(tmp_path / "srv"), cwd=tmp_path)
    assert content(tmp_path / "srv") == content(tmp_path / "dist/apt")
    other = tmp_path / "other"
    (other / "backtests").mkdir(parents=True)
    with pytest.raises(subprocess.CalledProcessError):
        run("copy-archive", "push", str(other), cwd=tmp_path)
    assert list(other.rglob("*")) == [other / "backtests"]


def lay_out_published(archive: Path) -> None:
    """Make an archive with two packages, one of which a transfer that ends early does not reach."""
    lay_out(archive)
    (archive / "pool").mkdir()
    for name in ("a.deb", "b.deb"):
        (archive / "pool" / name).write_text(name)


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("transfer", [1, 2])
@pytest.mark.parametrize("earlier", [False, True])
def test_what_was_not_fetched_to_the_end_replaces_nothing(
    transfer: int, earlier: bool, tmp_path: Path
) -> None:
    place, working, programs = (tmp_path / name for name in ("place", "working", "programs"))
    lay_out_published(place)
    working.mkdir()
    if earlier:
        lay_out(working / "dist/apt")
        (place / ".gen/bookworm-staging/1/InRelease").write_text("newer")
    programs.mkdir()
    (programs / "rsync").write_text(
        f"""#!/bin/sh
        case "$*" in *--list-only*) exec env PATH={SYSTEM_PATH} rsync "$@" ;; esac
        echo >> {programs}/transfers
        [ "$(wc -l < {programs}/transfers)" = {transfer} ] || exec env PATH={SYSTEM_PATH} rsync "$@"
        env PATH={SYSTEM_PATH} rsync --exclude=b.deb "$@"
        kill -KILL $PPID
        """
    )
    (programs / "rsync").chmod(0o755)
    published = content(place)
    fetched = subprocess.run(
        [ROOT / "scripts/copy-archive", "fetch", place],
        cwd=working, env={"PATH": f"{programs}:{SYSTEM_PATH}"}, check=False,
    )  # fmt: skip
    assert fetched.returncode == -signal.SIGKILL
    with pytest.raises(subprocess.CalledProcessError):
        run("copy-archive", "push", str(place), cwd=working)
    with (
        pytest.raises(ArchiveError, match="was not fetched to the end"),
        locked(Tree(working / "dist/apt"), lambda: None),
    ):
        pass
    assert content(place) == published
    run("copy-archive", "fetch", str(place), cwd=working)
    run("copy-archive", "push", str(place), cwd=working)
    assert content(place) == content(working / "dist/apt") == published


@pytest.mark.parametrize("lost", ["place", "place/dists", "place/.gen", "place/*"])
def test_a_place_without_an_archive_takes_none_away(lost: str, tmp_path: Path) -> None:
    """It may not be mounted, or be spelled wrongly, or be a copy that has no history."""
    lay_out_published(tmp_path / "place")
    lay_out_published(tmp_path / "dist/apt")
    for path in tmp_path.glob(lost):
        shutil.rmtree(path)
    before = content(tmp_path / "dist")
    with pytest.raises(subprocess.CalledProcessError):
        run("copy-archive", "fetch", str(tmp_path / "place"), cwd=tmp_path)
    assert content(tmp_path / "dist") == before


@pytest.mark.parametrize(
    ("direction", "transfers"),
    [
        ("push", ["-a --exclude=/dists dist/apt/ place/",
                  "-a --delete-after --exclude=/.fetching dist/apt/ place/"]),
        ("fetch", ["-a --exclude=/dists place/ dist/apt/",
                   "-a --delete-after --exclude=/.fetching place/ dist/apt/"]),
    ],
)  # fmt: skip
def test_dists_names_nothing_that_is_not_there(
    direction: str, transfers: list[str], tmp_path: Path
) -> None:
    """Of the two runs of rsync the first brings everything that the second one's dists names."""
    log = tmp_path / "log"
    fake = tmp_path / "rsync"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    fake.chmod(0o755)
    if direction == "push":
        lay_out(tmp_path / "dist/apt")
    subprocess.run(
        [ROOT / "scripts/copy-archive", direction, "place"],
        cwd=tmp_path, env={"PATH": f"{tmp_path}:{SYSTEM_PATH}"}, check=True,
    )  # fmt: skip
    asked = log.read_text().splitlines()
    assert [each for each in asked if "--list-only" not in each] == transfers
