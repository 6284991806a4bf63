"""Fetching one commit from real repositories, and what is refused."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path

import pytest
from tests.unit.debstack.steps.repository import Repository

from debstack.errors import SourceError
from debstack.git import fetch_url
from debstack.model.trust import Policy
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps import fetch
from debstack.steps.fetch import (
    Exported,
    Places,
    Wanted,
    resolve_ref,
    subjects,
    tree_digest,
)

RUNNER = Runner()
if shutil.which("git", path=SYSTEM_PATH) is None:
    pytest.skip("git is not installed", allow_module_level=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.make(tmp_path / "demo")


def export(
    repository: Repository,
    commit: str,
    cache: str = "cache",
    *,
    offline: bool = False,
    expected_tree: str | None = None,
    branches: dict[str, str] | None = None,
) -> Exported:
    project, url = repository.root.parent, repository.root.name
    anything = Policy((url,), ("refs/heads/*", "refs/tags/*"), (), "main")
    refs = {f"refs/heads/{name}": tip for name, tip in (branches or {}).items()}
    wanted = Wanted(url, commit, anything, refs, expected_tree, locking=not refs)
    return fetch.export(wanted, Places(project, project / cache), RUNNER, offline=offline)


def files(exported: Exported) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(exported.tar, errors="surrogateescape") as archive:
        return {member.name: member for member in archive if not member.isdir()}


def content(exported: Exported, name: str) -> bytes:
    with tarfile.open(exported.tar) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def test_refs_are_resolved_to_commits(repository: Repository) -> None:
    first = repository.commit({"a": "1"})
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "release", "annotated")
    repository.git("checkout", "-q", "-b", "feature/x")
    second = repository.commit({"a": "2"})
    project, url = repository.root.parent, repository.root.name
    for ref, commit in {
        "main": first, "light": first, "annotated": first, "feature/x": second, first: first,
        "0" * 40: "0" * 40,
    }.items():  # fmt: skip
        assert resolve_ref(url, ref, project, RUNNER) == commit


def test_a_name_with_an_end_of_line_of_unicode_is_one_name(repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    repository.git("tag", "one\u2028two")
    assert resolve_ref("demo", "main", repository.root.parent, RUNNER) == commit


def test_a_branch_wins_over_a_tag_of_the_same_name(repository: Repository) -> None:
    repository.commit({"a": "1"})
    repository.git("tag", "main")
    newer = repository.commit({"a": "2"})
    assert resolve_ref("demo", "main", repository.root.parent, RUNNER) == newer


@pytest.mark.parametrize("ref", ["mian", "HEAD", "ain", "0" * 7, "x/main"])
def test_an_unknown_ref_is_named(repository: Repository, ref: str) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(SourceError, match=f"demo has no branch or tag called '{ref}'"):
        resolve_ref("demo", ref, repository.root.parent, RUNNER)


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere cannot be fetched from"):
        resolve_ref("nowhere", "main", tmp_path, RUNNER)


def test_addresses_and_paths(tmp_path: Path) -> None:
    assert fetch_url("https://h/r.git", tmp_path) == "https://h/r.git"
    assert fetch_url("git@h:r.git", tmp_path) == "git@h:r.git"
    assert fetch_url("build/r.git", tmp_path) == f"file://{tmp_path}/build/r.git"
    assert fetch_url("/srv/r.git", tmp_path) == "file:///srv/r.git"


def test_files_keep_their_kind_and_their_names(repository: Repository) -> None:
    repository.write("run.sh", "#!/bin/sh\n", mode=0o755)
    repository.write("plain.txt", "text\n")
    repository.write("docs/Börse, a (draft).md", "Börse\n")
    repository.write("empty")
    (repository.root / "link").symlink_to("docs/Börse, a (draft).md")
    exported = export(repository, repository.commit())
    found = files(exported)
    assert sorted(found) == ["docs/Börse, a (draft).md", "empty", "link", "plain.txt", "run.sh"]
    assert (found["run.sh"].mode, found["plain.txt"].mode) == (0o755, 0o644)
    assert found["link"].linkname == "docs/Börse, a (draft).md"
    assert content(exported, "docs/Börse, a (draft).md") == "Börse\n".encode()


def test_a_name_that_is_not_utf_8_is_kept(repository: Repository) -> None:
    (Path(str(repository.root).encode().decode()) / "b\udcf6rse").write_text("x")
    exported = export(repository, repository.commit())
    assert list(files(exported)) == ["b\udcf6rse"]


def test_attributes_of_the_author_have_no_effect(repository: Repository) -> None:
    attributes = "secret export-ignore\nversion.py export-subst\n*.txt text eol=crlf\n*.bin ident\n"
    written = {
        ".gitattributes": attributes, "secret": "shipped\n", "version.py": "$Format:%H$\n",
        "a.txt": "a\nb\n", "b.bin": "$Id$\n", "sub/.gitattributes": "* export-ignore\n",
        "sub/x": "x\n",
    }  # fmt: skip
    exported = export(repository, repository.commit(written))
    assert {name: content(exported, name).decode() for name in files(exported)} == written


def test_a_commit_that_no_ref_points_at_is_fetched_from_a_server_that_allows_it(
    repository: Repository,
) -> None:
    old = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    assert content(export(repository, old), "a") == b"1"


def test_an_older_commit_of_a_branch_is_fetched(repository: Repository) -> None:
    old = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    assert content(export(repository, old), "a") == b"1"


def test_a_commit_that_is_not_there_is_named(repository: Repository) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(SourceError, match=f"demo has no commit {'0' * 40}"):
        export(repository, "0" * 40)
    assert not list(repository.root.parent.glob("cache/sources/*"))


def test_a_repository_that_is_gone_is_told_with_what_to_type(repository: Repository) -> None:
    commit = repository.commit({"a": "b\n"})
    repository.root.rename(repository.root.with_name("elsewhere"))
    with pytest.raises(SourceError, match="cannot be fetched from") as caught:
        export(repository, commit)
    address = repository.root.resolve().as_uri()
    assert caught.value.hint.endswith(f"git ls-remote {address}")
    assert any("does not appear to be a git repository" in line for line in caught.value.details)


def test_a_tree_is_not_taken_for_a_commit(repository: Repository) -> None:
    repository.commit({"a": "1"})
    tree = repository.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(SourceError):
        export(repository, tree)


@pytest.mark.parametrize("commit", ["main", "a" * 39, "A" * 40, ""])
def test_only_a_full_sha_is_exported(repository: Repository, commit: str) -> None:
    with pytest.raises(SourceError, match="is not a full commit SHA"):
        export(repository, commit)


def test_submodules_are_refused(repository: Repository, tmp_path: Path) -> None:
    other = Repository.make(tmp_path / "other").commit({"x": "x"})
    repository.commit({"a": "1"})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{other},vendor/other")
    repository.git("commit", "-q", "-m", "submodule")
    with pytest.raises(SourceError, match="has submodules") as caught:
        export(repository, repository.git("rev-parse", "HEAD"))
    assert caught.value.details == ("vendor/other",)


def test_git_lfs_pointers_are_refused(repository: Repository) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(
        SourceError, match=r"data/prices\.parquet in commit .* is a Git LFS pointer"
    ):
        export(repository, repository.commit({"data/prices.parquet": pointer}))


def test_a_changed_object_in_a_local_mirror_is_noticed(repository: Repository) -> None:
    commit = repository.commit({"app.py": "print('good')\n"})
    blob = repository.git("rev-parse", "HEAD:app.py")
    loose = repository.root / ".git/objects" / blob[:2] / blob[2:]
    evil = b"print('evil')\n"
    loose.chmod(0o644)
    loose.write_bytes(zlib.compress(b"blob %d\0" % len(evil) + evil))
    with pytest.raises(SourceError):
        export(repository, commit)
    assert not list(repository.root.parent.glob("cache/sources/*"))


def test_replaced_objects_are_not_followed(repository: Repository) -> None:
    commit = repository.commit({"app.py": "good"})
    good = repository.git("rev-parse", "HEAD:app.py")
    repository.write("evil", "evil")
    repository.git("replace", good, repository.git("hash-object", "-w", "evil"))
    assert content(export(repository, commit), "app.py") == b"good"


def test_two_clones_have_the_same_tree_digest(repository: Repository, tmp_path: Path) -> None:
    repository.write("run", "#!/bin/sh\n", mode=0o755)
    commit = repository.commit({"a": "1", "b/c": "2"})
    repository.git("clone", "-q", "--bare", repository.root, tmp_path / "clone")
    one = export(repository, commit, "cache-1")
    two = export(Repository(tmp_path / "clone"), commit, "cache-2")
    assert one.tar != two.tar
    assert one.tree == two.tree


def test_the_tree_digest_tells_content_names_and_kinds_apart(repository: Repository) -> None:
    digests = [export(repository, repository.commit({"a": "1"})).tree]
    digests.append(export(repository, repository.commit({"a": "2"})).tree)
    repository.write("a", "2", mode=0o755)
    digests.append(export(repository, repository.commit()).tree)
    repository.git("mv", "a", "b")
    digests.append(export(repository, repository.commit()).tree)
    (repository.root / "b").unlink()
    (repository.root / "b").symlink_to("2")
    digests.append(export(repository, repository.commit()).tree)
    assert len(set(digests)) == 5


def test_another_tree_than_expected_is_refused_with_both_digests(repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    right = export(repository, commit).tree
    assert export(repository, commit, expected_tree=right).tree == right
    with pytest.raises(SourceError, match="is not the one in the lock") as caught:
        export(repository, commit, expected_tree="f" * 64)
    assert caught.value.details == (
        f"in the lock: sha256 {'f' * 64}",
        f"fetched:     sha256 {right}",
    )


def test_the_cache_is_enough_and_what_was_changed_there_is_noticed(repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    exported = export(repository, commit)
    shutil.rmtree(repository.root)
    assert export(repository, commit, offline=True) == exported
    with tarfile.open(exported.tar, "a") as archive:
        archive.addfile(tarfile.TarInfo("smuggled"))
    with pytest.raises(SourceError, match="is not what commit") as caught:
        export(repository, commit, offline=True, expected_tree=exported.tree)
    assert caught.value.details == ("smuggled",)


def test_without_network_and_cache_it_says_what_to_do(repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    with pytest.raises(SourceError, match=f"commit {commit} of demo is not in the cache") as caught:
        export(repository, commit, offline=True)
    assert caught.value.hint == "run: debstack fetch"


def test_the_users_git_configuration_does_not_count(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[tar]\n\tumask = 0077\n")
    monkeypatch.setenv("HOME", str(home))
    commit = repository.commit({"a.txt": "a\nb\n"})
    exported = export(repository, commit)
    assert content(exported, "a.txt") == b"a\nb\n"
    assert files(exported)["a.txt"].mode == 0o644


def test_subjects_between_two_commits(repository: Repository) -> None:
    first = repository.commit({"a": "1"})
    repository.git("commit", "-q", "--allow-empty", "-m", "Teach it to sell")
    repository.git("commit", "-q", "--allow-empty", "-m", "Make it faster")
    last = repository.git("rev-parse", "HEAD")
    project = repository.root.parent
    found = subjects("demo", first, last, project=project, runner=RUNNER)
    assert found is not None
    assert [line.partition(" ")[2] for line in found] == ["Make it faster", "Teach it to sell"]
    assert subjects("demo", last, first, project=project, runner=RUNNER) is None
    assert subjects("demo", first, "0" * 40, project=project, runner=RUNNER) is None


def test_tree_digest_needs_no_order(tmp_path: Path) -> None:
    for name, order in (("1.tar", "ab"), ("2.tar", "ba")):
        with tarfile.open(tmp_path / name, "w") as archive:
            for each in order:
                archive.addfile(tarfile.TarInfo(each))
    assert tree_digest(tmp_path / "1.tar") == tree_digest(tmp_path / "2.tar")
