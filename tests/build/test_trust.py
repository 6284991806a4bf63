"""Attacks on where a release comes from: each is caught, and nothing appears in dist/."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.build.project import Project, Run, missing_tools, snapshot
from tests.build.server import wheel
from tests.unit.debstack.steps.repository import Repository

from debstack.model.lock import Lock, read_lock
from debstack.process import Runner

pytestmark = pytest.mark.build
NAME = "automatictrader-api"
WHEEL = "marketdata-stream"


@dataclass(frozen=True)
class Attacked:
    """A project with caches of its own, and a work tree of one component's repository."""

    project: Project
    work: Repository
    cache: Path

    @property
    def lock(self) -> Lock:
        """What packaging/repos.lock says."""
        return read_lock(self.project.lock_file)

    def push(self, ref: str, *, parent: str = "main", sign_with: Path | None = None) -> str:
        """Push a commit on top of ``parent`` to ``ref`` and return it."""
        self.work.git("checkout", "-q", "--detach", parent)
        with (self.work.root / "app.py").open("a") as file:
            file.write(f"# {ref}\n")
        self.work.git("add", "-A")
        sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={sign_with}"] if sign_with else []
        self.work.git(*sign, "commit", "-q", *(["-S"] if sign_with else []), "-m", "change")
        self.work.git("push", "-q", "-f", "origin", f"HEAD:{ref}")
        return self.work.git("rev-parse", "HEAD")

    def edit_lock(self, **changes: object) -> None:
        """Edit the component in the lock by hand, and every digest so that it looks right."""
        lock = self.lock
        component = replace(lock.components[NAME], **changes)  # type: ignore[arg-type]
        replace(lock, components={**lock.components, NAME: component}).write(self.project.lock_file)
        self.project.adjust_lock()

    def trust(self, text: str) -> None:
        """Replace what the component's policy says."""
        self.project.edit(f"components/{NAME}.toml", 'branches = ["main"]', text)


@pytest.fixture
def attacked(template: Project, tmp_path: Path) -> Iterator[Attacked]:
    cache = tmp_path / "cache"
    project = template.fork(tmp_path / "project", {"DEBSTACK_CACHE_DIR": str(cache)})
    work = Repository(tmp_path / "work")
    bare = project.root / f"build/samples/{NAME}.git"
    Runner().run(["git", "clone", "-q", bare, work.root])
    (project.dist / "2026.01.01.1").mkdir(parents=True)
    (project.dist / "2026.01.01.1/SHA256SUMS").write_text("an earlier release\n")
    before = snapshot(project.dist)
    yield Attacked(project, work, cache)
    assert snapshot(project.dist) == before


def refused(run: Run, code: int, said: str) -> None:
    assert run.returncode == code, run.stderr
    assert said in run.stderr
    assert "next: " in run.stderr
    assert "Traceback" not in run.stderr


def test_a_lock_that_was_edited_to_a_commit_that_nobody_reviewed(attacked: Attacked) -> None:
    # As it lies on a hosting service when somebody proposes a change.
    evil = attacked.push("refs/pull/1/head")
    tree = "0" * 64
    for refs in (attacked.lock.components[NAME].refs, {"refs/heads/main": evil}):
        attacked.edit_lock(commit=evil, tree=tree, refs=refs)
        run = attacked.project.debstack("fetch")
        refused(run, 6, f"commit {evil} of build/samples/{NAME}.git is in the history of none of")


def test_a_lock_that_was_edited_to_another_address(attacked: Attacked) -> None:
    attacked.edit_lock(url=str(attacked.work.root))
    refused(attacked.project.debstack("build", NAME), 6, "not an address that this component may")


def test_a_ref_that_leads_to_a_commit_that_is_not_on_the_trusted_branch(
    attacked: Attacked,
) -> None:
    attacked.push("refs/heads/feature")
    attacked.project.edit(f"components/{NAME}.toml", 'ref = "main"', 'ref = "feature"')
    before = attacked.project.lock_file.read_bytes()
    refused(attacked.project.debstack("lock"), 6, "history of none of: branch main")
    assert attacked.project.lock_file.read_bytes() == before
    # Reviewed and merged, it is accepted.
    attacked.work.git("push", "-q", "origin", "HEAD:main")
    attacked.project.need("lock", "--component", NAME)


def test_a_commit_that_is_not_signed(attacked: Attacked, tmp_path: Path) -> None:
    if reason := missing_tools("ssh-keygen"):
        pytest.skip(reason)
    for who in ("alice", "mallory"):
        Runner().run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / who])
    key = " ".join((tmp_path / "alice.pub").read_text().split()[:2])
    signers = attacked.project.root / "packaging/keys/allowed-signers"
    signers.parent.mkdir(exist_ok=True)
    signers.write_text(f"alice@example.org {key}\n")
    attacked.trust('branches = ["main"]\nsigners = ["keys/allowed-signers"]')
    lock = ("lock", "--component", NAME)
    refused(attacked.project.debstack(*lock), 6, "is not signed by an allowed key")
    attacked.push("main", sign_with=tmp_path / "mallory")
    refused(attacked.project.debstack(*lock), 6, "is not signed by an allowed key")
    good = attacked.push("main", sign_with=tmp_path / "alice")
    attacked.project.need(*lock)
    assert attacked.lock.components[NAME].signer.endswith(" alice@example.org")
    attacked.project.need("fetch")
    # Built by hand from a commit that the key did not sign, and from a key that is not hers.
    evil = attacked.push("refs/pull/1/head", parent=good)
    attacked.edit_lock(commit=evil, refs={"refs/heads/main": evil})
    assert attacked.project.debstack("fetch").returncode == 6
    attacked.edit_lock(commit=good, refs={"refs/heads/main": good}, signer="ssh:SHA256:other")
    refused(attacked.project.debstack("fetch"), 5, "names another signer")
    # Who leaves is not trusted any more: the lock is not that of these keys.
    signers.write_text("bob@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFh\n")
    refused(attacked.project.debstack("build", NAME), 5, "made from other inputs")
    refused(attacked.project.debstack(*lock), 6, "is not signed by an allowed key")


def test_a_tag_that_was_moved(attacked: Attacked) -> None:
    attacked.work.git("tag", "-a", "-m", "release", "v1")
    attacked.work.git("push", "-q", "origin", "v1")
    attacked.project.edit(f"components/{NAME}.toml", 'ref = "main"', 'ref = "v1"')
    attacked.trust('tags = ["v*"]')
    attacked.project.need("lock", "--component", NAME)
    before = attacked.project.lock_file.read_bytes()
    attacked.push("refs/heads/other")
    attacked.work.git("tag", "-f", "-a", "-m", "release", "v1")
    attacked.work.git("push", "-q", "-f", "origin", "v1")
    moved = f"the tag v1 of build/samples/{NAME}.git was moved"
    refused(attacked.project.debstack("lock"), 6, moved)
    assert attacked.project.lock_file.read_bytes() == before
    attacked.project.need("fetch")  # What was locked is still what it was.
    shutil.rmtree(attacked.cache)
    refused(attacked.project.debstack("build", NAME), 6, moved)
    attacked.project.need("lock", "--accept-moved-tags")


def test_a_mirror_and_a_wheel_that_were_changed(attacked: Attacked) -> None:
    project = replace(attacked.project, environment={})
    project.need("vendor")
    vendor = project.root / "vendor"
    locked = attacked.lock.components[NAME]
    (mirror,) = vendor.glob(f"mirrors/*/{locked.commit}.bundle")
    good = mirror.read_bytes()
    mirror.write_bytes(good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
    build = ("build", NAME, "--offline")
    refused(attacked.project.debstack(*build), 6, f"the mirror {mirror} is damaged, or was changed")
    mirror.write_bytes(good)
    (file,) = vendor.glob("wheels/*/uvicorn-*.whl")
    file.write_bytes(wheel("uvicorn", "1.0", {"uvicorn.py": "evil\n"}).content)
    run = attacked.project.debstack(*build)
    refused(run, 7, f"1 wheel(s) in {vendor} are not the locked ones")
    assert str(file) in run.stderr
    # What the lock does not know cannot be in the folder either.
    file.unlink()
    refused(attacked.project.debstack(*build), 7, "1 of ")


def test_a_vendored_release_builds_without_any_network_and_gives_the_same_bits(
    template: Project, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to take the network away")
    if reason := missing_tools("unshare", "bwrap"):
        pytest.skip(reason)
    with_network = template.fork(tmp_path / "with")
    packages = (NAME, WHEEL)
    first = with_network.need("build", "--json", *packages).document()
    vendored = template.fork(tmp_path / "without", {"DEBSTACK_CACHE_DIR": str(tmp_path / "cache")})
    with_network.need("vendor", str(vendored.root / "vendor"))
    shutil.rmtree(vendored.root / "build/samples")
    environment = os.environ | {
        "PYTHONPATH": str(vendored.root / "src"), "DEBSTACK_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    command = ["unshare", "--net", sys.executable, "-m", "debstack"]

    def without_network(*arguments: str) -> Run:
        done = Runner().capture(
            [*command, *arguments], cwd=vendored.root, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return Run(done.returncode, done.text, done.stderr.decode())

    second = without_network("build", "--json", *packages).document()
    assert [each["payload"] for each in second] == [each["payload"] for each in first]
    assert [each["sha256"] for each in second] == [each["sha256"] for each in first]
    # A source package takes uv along, which no lock of a component has.
    without_network("source", NAME)
