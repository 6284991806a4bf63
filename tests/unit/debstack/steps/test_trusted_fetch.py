"""Only a commit that the policy accepts is exported, whoever tampers with what."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.unit.debstack.steps.repository import Repository

from debstack import mirror, process, trust
from debstack.errors import SourceError, ToolMissingError
from debstack.gpg import throwaway_home
from debstack.model.trust import Policy
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps.fetch import Exported, Places, Wanted, export

RUNNER = Runner()
if shutil.which("git", path=SYSTEM_PATH) is None:
    pytest.skip("git is not installed", allow_module_level=True)

URL = "demo"
MAIN = Policy((URL,), ("refs/heads/main",), (), "main")
TAGS = Policy((URL,), ("refs/tags/v*",), (), "v1")


@dataclass(frozen=True)
class World:
    """A project beside its repository."""

    folder: Path
    repository: Repository

    def lock(self, commit: str, policy: Policy = MAIN, **values: object) -> Wanted:
        """Accept ``commit`` as `debstack lock` does, and return what the lock then demands."""
        asked = Wanted(URL, commit, policy, locking=True, ask=True, **values)  # type: ignore[arg-type]
        found = self.export(asked)
        return Wanted(URL, commit, policy, found.vouched.refs, found.tree)

    def export(self, wanted: Wanted, *, offline: bool = False) -> Exported:
        """Export with the project's cache."""
        places = Places(self.folder, self.folder / "cache")
        return export(wanted, places, RUNNER, offline=offline)

    def refused(self, wanted: Wanted, *, offline: bool = False) -> SourceError:
        """Export, and demand that it is refused."""
        with pytest.raises(SourceError) as caught:
            self.export(wanted, offline=offline)
        assert caught.value.hint
        return caught.value

    def mirror(self, commit: str) -> Path:
        """Return the file with the mirror of ``commit``."""
        return mirror.place(self.folder / "cache", URL, commit)

    def forget(self) -> None:
        """Be a fresh machine."""
        shutil.rmtree(self.folder / "cache")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, Repository.make(tmp_path / URL))
    # As the big hosting services do, it hands out any commit that it has.
    made.repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    made.repository.git("config", "uploadpack.allowFilter", "true")
    return made


def off_main(world: World) -> str:
    """Return a commit that lies in the repository, on top of main, and on no branch."""
    world.repository.git("checkout", "-q", "--detach")
    commit = world.repository.commit({"app.py": "evil"})
    world.repository.git("checkout", "-q", "main")
    return commit


def test_the_cache_may_lie_on_another_file_system_than_temporary_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Debian 13 /tmp is a file system of its own, in memory."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == world.folder.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    monkeypatch.setenv("TMPDIR", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    commit = world.repository.commit({"app.py": "1"})
    world.lock(commit)
    assert world.mirror(commit).is_file()


def test_a_commit_of_the_branch_is_accepted_also_when_the_branch_has_moved_on(world: World) -> None:
    old = world.repository.commit({"app.py": "1"})
    world.repository.commit({"app.py": "2"})
    wanted = world.lock(old)
    assert set(wanted.refs) == {"refs/heads/main"}
    world.repository.commit({"app.py": "3"})
    world.forget()
    assert world.export(wanted).tree == wanted.tree
    assert world.export(wanted, offline=True).tree == wanted.tree


def test_a_commit_that_is_not_on_the_branch_is_refused(world: World) -> None:
    world.repository.commit({"app.py": "good"})
    evil = off_main(world)
    locking = Wanted(URL, evil, MAIN, locking=True, ask=True)
    error = world.refused(locking)
    assert error.message == f"commit {evil} of demo is in the history of none of: branch main"


def test_a_lock_that_was_edited_to_another_commit_is_refused(world: World) -> None:
    good = world.repository.commit({"app.py": "good"})
    wanted = world.lock(good)
    evil = off_main(world)
    # Whoever edits the commit can edit the branch's tip as well.
    for refs in (wanted.refs, {"refs/heads/main": evil}):
        edited = replace(wanted, commit=evil, refs=refs, tree=None)
        assert "history of none of: branch main" in world.refused(edited).message
    # Also where somebody, with another policy, had good reasons to fetch it before.
    world.repository.git("branch", "feature", evil)
    world.lock(evil, replace(MAIN, refs=("refs/heads/feature",)))
    edited = replace(wanted, commit=evil, refs={"refs/heads/main": evil}, tree=None)
    for offline in (True, False):
        assert "history of none of" in world.refused(edited, offline=offline).message


def test_a_lock_that_does_not_say_who_vouches_is_refused(world: World) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "1"}))
    for refs in ({}, {"refs/heads/other": wanted.commit}):
        error = world.refused(replace(wanted, refs=refs), offline=True)
        assert error.message.startswith("packaging/repos.lock does not say which of these has")


def test_a_branch_that_was_rewritten_does_not_vouch_any_more(world: World) -> None:
    world.repository.commit({"app.py": "0"})
    commit = world.repository.commit({"app.py": "1"})
    wanted = world.lock(commit)
    world.repository.git("reset", "-q", "--hard", "HEAD~1")
    world.repository.commit({"app.py": "2"})
    assert world.export(wanted, offline=True).tree == wanted.tree
    world.forget()
    assert "history of none of" in world.refused(wanted).message
    assert "history of none of" in world.refused(replace(wanted, locking=True, ask=True)).message


def test_another_address_than_the_allowed_ones_is_refused(world: World) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "1"}))
    world.repository.root.rename(world.folder / "fork")
    error = world.refused(replace(wanted, url="fork"))
    assert "fork is not an address that this component may come from" in error.message
    assert error.details == ("allowed: demo",)


def test_a_policy_that_names_nobody_accepts_nothing(world: World) -> None:
    commit = world.repository.commit({"app.py": "1"})
    wanted = Wanted(URL, commit, Policy((URL,), (), (), commit), locking=True, ask=True)
    assert "nobody vouches for commit" in world.refused(wanted).message


@pytest.mark.parametrize("kind", [("-a", "-m", "release"), ()])
def test_a_tag_that_was_moved_is_refused(world: World, kind: tuple[str, ...]) -> None:
    first = world.repository.commit({"app.py": "1"})
    world.repository.git("tag", *kind, "v1")
    wanted = world.lock(first, TAGS)
    object_id = world.repository.git("rev-parse", "v1")
    assert wanted.refs == {"refs/tags/v1": object_id}
    second = world.repository.commit({"app.py": "2"})
    world.repository.git("tag", "-f", *kind, "v1")
    # The lock again, to what the tag means now; a machine that never saw the first one.
    moved = replace(wanted, commit=second, tree=None, locking=True, ask=True)
    error = world.refused(moved)
    assert error.message == "the tag v1 of demo was moved"
    assert error.details[0] == f"in the lock: {object_id}"
    assert error.hint.endswith("debstack lock --accept-moved-tags")
    assert world.export(wanted, offline=True).tree == wanted.tree
    world.forget()
    assert world.refused(wanted).message == "the tag v1 of demo was moved"
    # Who accepts it forgets what the lock said.
    assert world.lock(second, TAGS).refs != wanted.refs


def test_a_tag_made_again_on_the_same_commit_has_moved_too(world: World) -> None:
    commit = world.repository.commit({"app.py": "1"})
    world.repository.git("tag", "-a", "-m", "reviewed by Alice", "v1")
    wanted = world.lock(commit, TAGS)
    world.repository.git("tag", "-f", "-a", "-m", "reviewed by Mallory", "v1")
    world.forget()
    assert world.refused(wanted).message == "the tag v1 of demo was moved"


def test_the_followed_tag_is_known_where_a_branch_vouches(world: World) -> None:
    commit = world.repository.commit({"app.py": "1"})
    world.repository.git("tag", "v1")
    wanted = world.lock(commit, replace(MAIN, follows="v1"))
    assert wanted.refs == {"refs/heads/main": commit, "refs/tags/v1": commit}


def test_what_the_lock_says_stays_while_it_holds(world: World) -> None:
    commit = world.repository.commit({"app.py": "1"})
    wanted = world.lock(commit)
    world.repository.commit({"app.py": "2"})
    again = world.lock(commit, refs=wanted.refs)
    assert again.refs == wanted.refs
    assert world.lock(commit).refs != wanted.refs


# What lies in the cache, or in a folder that somebody else vendored.


@pytest.mark.parametrize("offset", [20, 200, -100, -10])
def test_a_byte_changed_in_a_mirror_is_noticed(world: World, offset: int) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "good " * 50}))
    file = world.mirror(wanted.commit)
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    file.write_bytes(content)
    for offline in (True, False):
        error = world.refused(wanted, offline=offline)
        assert error.message.startswith(f"the mirror {file} is damaged, or was changed")


def test_an_object_replaced_in_a_mirror_is_noticed(world: World, tmp_path: Path) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "good", "b.py": "b"}))
    other = Repository.make(tmp_path / "other")
    blob = world.repository.git("rev-parse", "HEAD:app.py")
    objects = set(world.repository.git("rev-list", "--objects", "--all").split()) - {blob}
    for name in ("app.py", "b.py"):
        objects.discard(name)
    # A whole and sound pack, in which an evil blob is in the good one's place.
    world.repository.write("evil", "evil")
    evil = world.repository.git("hash-object", "-w", "evil")
    listing = other.write("list", "".join(f"{each}\n" for each in {*objects, evil}))
    RUNNER.run(
        ["sh", "-c", f"git -C {world.repository.root} pack-objects -q {tmp_path}/p < {listing}"]
    )
    (pack,) = tmp_path.glob("p-*.pack")
    file = world.mirror(wanted.commit)
    header = file.read_bytes().partition(b"\n\nPACK")[0]
    file.write_bytes(header + b"\n\n" + pack.read_bytes())
    world.folder.joinpath("cache/sources", f"{wanted.commit}.tar").unlink()
    assert "is damaged, or was changed" in world.refused(wanted, offline=True).message


def test_the_mirror_of_another_commit_is_noticed(world: World) -> None:
    first = world.lock(world.repository.commit({"app.py": "1"}))
    second = world.lock(world.repository.commit({"app.py": "2"}))
    shutil.copy(world.mirror(first.commit), world.mirror(second.commit))
    assert "does not hold what its name says" in world.refused(second, offline=True).message


def test_an_exported_tree_that_was_changed_is_noticed_though_the_lock_was_edited_too(
    world: World,
) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "good"}))
    tar = world.export(wanted).tar
    tar.write_bytes(tar.read_bytes().replace(b"good", b"evil"))
    for tree in (wanted.tree, None):
        error = world.refused(replace(wanted, tree=tree), offline=True)
        assert error.message == f"{tar} is not what commit {wanted.commit} of demo has"
        assert error.details == ("app.py",)


def test_a_folder_of_mirrors_is_enough(world: World) -> None:
    wanted = world.lock(world.repository.commit({"app.py": "1"}))
    vendor = world.folder / "vendor"
    (world.folder / "cache").rename(vendor)
    shutil.rmtree(world.repository.root)
    places = Places(world.folder, world.folder / "cache", vendor)
    assert export(wanted, places, RUNNER).tree == wanted.tree


def test_the_mirror_knows_what_happened_between_two_commits(world: World) -> None:
    first = world.repository.commit({"app.py": "1"})
    world.repository.git("commit", "-q", "--allow-empty", "-m", "Make it faster")
    last = world.repository.git("rev-parse", "HEAD")
    world.lock(last)
    file = world.mirror(last)
    found = mirror.subjects(file, first, last, RUNNER)
    assert found is not None
    assert [each.partition(" ")[2] for each in found] == ["Make it faster"]
    assert mirror.subjects(file, "0" * 40, last, RUNNER) is None


@pytest.mark.parametrize("filtering", ["true", "false"])
def test_the_mirror_has_the_files_of_one_commit_and_the_history_of_all(
    world: World, filtering: str
) -> None:
    world.repository.git("config", "uploadpack.allowFilter", filtering)
    world.repository.commit({"old.bin": "x" * 100})
    old = world.repository.git("rev-parse", "HEAD:old.bin")
    (world.repository.root / "old.bin").unlink()
    commit = world.repository.commit({"app.py": "1"})
    world.lock(commit)
    with mirror.opened(world.mirror(commit), commit, RUNNER) as opened:
        assert opened.git.ask("rev-list", "--count", commit).text == "2\n"
        assert opened.git.ask("cat-file", "-t", old, check=False).returncode != 0


# Signatures.


@dataclass(frozen=True)
class Signers:
    """An allowed and another SSH key, and the same of GPG."""

    folder: Path
    allowed: Path
    home: Path
    alice: str
    mallory: str

    def ssh(self, repository: Repository, who: str) -> str:
        """Commit with a signature by an SSH key."""
        return self._commit(repository, "gpg.format=ssh", f"user.signingkey={self.folder / who}")

    def gpg(self, repository: Repository, fingerprint: str) -> str:
        """Commit with a signature by a GPG key."""
        wrapper = self.folder / "gpg"
        wrapper.write_text(f'#!/bin/sh\nexec gpg --homedir {self.home} "$@"\n')
        wrapper.chmod(0o755)
        return self._commit(
            repository, "gpg.format=openpgp", f"gpg.program={wrapper}",
            f"user.signingkey={fingerprint}!",
        )  # fmt: skip

    def export_key(self, fingerprint: str) -> Path:
        """Write the public key to a file and return it."""
        file = self.folder / f"{fingerprint}.asc"
        file.write_bytes(RUNNER.capture(
            ["gpg", "--homedir", self.home, "--armor", "--export", fingerprint]
        ).stdout)  # fmt: skip
        return file

    def _commit(self, repository: Repository, *settings: str) -> str:
        options = [word for each in settings for word in ("-c", each)]
        repository.write("signed.py", " ".join(settings))
        repository.git("add", "-A")
        repository.git(*options, "commit", "-q", "-S", "--allow-empty", "-m", "signed")
        return repository.git("rev-parse", "HEAD")


@pytest.fixture
def signers(tmp_path: Path) -> Iterator[Signers]:
    for program in ("ssh-keygen", "gpg"):
        if shutil.which(program, path=SYSTEM_PATH) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path / "signers"
    folder.mkdir()
    for who in ("alice", "mallory"):
        RUNNER.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / who])
    key = (folder / "alice.pub").read_text().split()[:2]
    allowed = folder / "allowed-signers"
    allowed.write_text(f"# who may\nalice@example.org {' '.join(key)}")
    with throwaway_home(RUNNER) as home:
        fingerprints = []
        for who in ("alice", "mallory"):
            gpg: list[str | Path] = [
                "gpg",
                "--homedir",
                home,
                "--batch",
                "--passphrase",
                "",
                "--status-fd",
                "1",
            ]
            made = RUNNER.capture([*gpg, "--quick-gen-key", f"{who}@example.org", "ed25519",
                                   "sign", "never"]).text  # fmt: skip
            fingerprints.append(made.split("KEY_CREATED ")[1].split()[1])
        yield Signers(folder, allowed, home, *fingerprints)


def signed(*files: Path) -> Policy:
    return Policy((URL,), (), files, "main")


def test_a_commit_signed_by_an_allowed_ssh_key_is_accepted_and_its_key_known(
    world: World, signers: Signers
) -> None:
    commit = signers.ssh(world.repository, "alice")
    wanted = Wanted(URL, commit, signed(signers.allowed), locking=True, ask=True)
    signer = world.export(wanted).vouched.signer
    assert signer.startswith("ssh:SHA256:")
    assert signer.endswith(" alice@example.org")
    assert world.export(replace(wanted, locking=False, ask=False), offline=True).vouched.signer


def test_a_commit_signed_by_an_allowed_gpg_key_is_accepted_and_its_key_known(
    world: World, signers: Signers
) -> None:
    commit = signers.gpg(world.repository, signers.alice)
    both = signed(signers.allowed, signers.export_key(signers.alice))
    wanted = Wanted(URL, commit, both, locking=True, ask=True)
    assert world.export(wanted).vouched.signer == f"gpg:{signers.alice}"


def test_a_commit_that_is_not_signed_by_an_allowed_key_is_refused(
    world: World, signers: Signers
) -> None:
    ssh, gpg = signed(signers.allowed), signed(signers.export_key(signers.alice))
    for commit, policy, said in (
        (world.repository.commit({"app.py": "1"}), ssh, "it is not signed"),
        (signers.ssh(world.repository, "mallory"), ssh, "No principal matched."),
        (signers.gpg(world.repository, signers.alice), ssh, "it has a signature by GPG"),
        (signers.gpg(world.repository, signers.mallory), gpg, "NO_PUBKEY"),
        (signers.ssh(world.repository, "alice"), gpg, "it has a signature by SSH"),
    ):
        error = world.refused(Wanted(URL, commit, policy, locking=True, ask=True))
        assert error.message == f"commit {commit} of demo is not signed by an allowed key"
        assert any(said in line for line in error.details), error.details


def test_a_key_that_gpg_knows_from_elsewhere_is_not_an_allowed_one(
    world: World, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = signers.gpg(world.repository, signers.mallory)
    policy = signed(signers.export_key(signers.alice))
    monkeypatch.setattr(trust, "throwaway_home", lambda _: nullcontext(signers.home))
    error = world.refused(Wanted(URL, commit, policy, locking=True, ask=True))
    assert any("GOODSIG" in line for line in error.details)
    assert "is not signed by an allowed key" in error.message


def test_a_signature_on_other_content_is_refused(world: World, signers: Signers) -> None:
    commit = signers.ssh(world.repository, "alice")
    raw = world.repository.git("cat-file", "commit", commit)
    forged = world.repository.write("forged", raw.replace("\nsigned", "\nSigned") + "\n")
    evil = world.repository.git("hash-object", "-t", "commit", "-w", forged)
    world.repository.git("update-ref", "refs/heads/main", evil)
    error = world.refused(Wanted(URL, evil, signed(signers.allowed), locking=True, ask=True))
    assert "is not signed by an allowed key" in error.message


def test_a_policy_with_a_branch_and_signers_demands_both(world: World, signers: Signers) -> None:
    both = replace(MAIN, signers=(signers.allowed,))
    good = signers.ssh(world.repository, "alice")
    assert world.lock(good, both).refs == {"refs/heads/main": good}
    unsigned = world.repository.commit({"app.py": "1"})
    assert "not signed" in world.refused(Wanted(URL, unsigned, both, locking=True)).message
    world.repository.git("reset", "-q", "--hard", good)
    world.repository.git("checkout", "-q", "--detach")
    elsewhere = signers.ssh(world.repository, "alice")
    assert "history of none" in world.refused(Wanted(URL, elsewhere, both, locking=True)).message


def test_without_ssh_keygen_a_signature_is_not_called_a_bad_one(
    world: World, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = signers.ssh(world.repository, "alice")
    tools = world.folder / "tools"
    tools.mkdir()
    git = shutil.which("git", path=SYSTEM_PATH)
    assert git
    (tools / "git").symlink_to(git)
    monkeypatch.setattr(process, "SYSTEM_PATH", str(tools))
    with pytest.raises(ToolMissingError, match="ssh-keygen") as caught:
        world.export(Wanted(URL, commit, signed(signers.allowed), locking=True, ask=True))
    assert caught.value.hint == "apt-get install openssh-client"
