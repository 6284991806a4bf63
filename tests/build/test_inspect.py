"""`debstack inspect`: what is true is verified, what is not at hand is not, and attacks FAIL."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import BuiltProject
from tests.build.project import Project, Run
from tests.build.test_build import PACKAGES

from debstack import gpg, keys
from debstack.process import Runner
from debstack.steps.sign import read_layout, sign

pytestmark = pytest.mark.build
RUNNER = Runner()
API = "automatictrader-api"
ALONE = {"provenance", "changes", "buildinfo", "SHA256SUMS", "release"}
FROM_GIT = {"licences", "installed", "source", "wheels"}
COMPONENT = {"layout", "signature", "files", "lock", "SBOM"} | FROM_GIT
AT_HAND = {"source", "wheels"}


@dataclass(frozen=True)
class Desk:
    """A folder with one package and what lies beside it, and a way to inspect it."""

    folder: Path
    deb: Path
    project: Project

    def inspect(self, *options: str) -> tuple[Run, dict[str, str]]:
        """Return how it ended, and the state of each check."""
        run = self.project.debstack("inspect", "--json", *options, str(self.deb))
        return run, {each["what"]: each["state"] for each in run.document()["checks"]}

    def rebuilt(self, change: Callable[[Path], object], *, sign_it: bool = True) -> None:
        """Put a package in its place that has ``change`` made to it, its files listed anew."""
        tree = self.folder / "tree"
        RUNNER.run(["dpkg-deb", "--raw-extract", self.deb, tree])
        change(tree)
        RUNNER.run(["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", tree, self.deb])
        shutil.rmtree(tree)
        if sign_it:
            sign(self.deb, self.deb, package_key(self.project), RUNNER)


def package_key(project: Project) -> gpg.Key:
    """Return the project's development key."""
    return keys.load(project.root / "build", {}, RUNNER).package


@pytest.fixture
def desk(built: BuiltProject, tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    (entry,) = (each for each in built.packages if each["package"] == API)
    deb = built.deb(API)
    for name in (entry["file"], *entry["beside"], "SHA256SUMS", "SHA256SUMS.asc", "repos.lock"):
        shutil.copy2(deb.with_name(name), folder / name)
    return Desk(folder, folder / deb.name, built.project)


@pytest.fixture
def alone(desk: Desk) -> Desk:
    """Return a package with nothing beside it."""
    for path in desk.folder.iterdir():
        if path != desk.deb:
            path.unlink()
    return desk


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_about_every_package_is_verified(package: str, built: BuiltProject) -> None:
    run = built.project.need("inspect", "--json", str(built.deb(package)))
    states = {each["what"]: each["state"] for each in run.document()["checks"]}
    from_git = package in PACKAGES[:3]
    wanted = COMPONENT if from_git else COMPONENT - FROM_GIT
    unknown = {"byte code": "not verified"} if from_git else {}
    assert states == dict.fromkeys(wanted | ALONE, "verified") | unknown, run.stdout


def test_it_says_which_commit_which_wheels_and_who_signed(built: BuiltProject, desk: Desk) -> None:
    run = desk.project.need("inspect", str(desk.deb))
    (entry,) = (each for each in built.packages if each["package"] == API)
    commit = RUNNER.capture(["dpkg-deb", "--field", desk.deb, "Git-Commit"]).text.strip()
    for text in (entry["version"], entry["sha256"], entry["payload"], commit, entry["key"]):
        assert text in run.stdout
    lock = (desk.project.root / f"packaging/locks/bookworm/{API}.txt").read_text()
    hashes = [line.split("sha256:")[1][:64] for line in lock.splitlines() if " --hash=" in line]
    assert len(hashes) > 10
    assert [each for each in hashes if each not in run.stdout] == []
    assert "signing with DEVELOPMENT KEYS" not in run.stderr
    assert "DEVELOPMENT key" in run.stdout


def test_a_package_alone_is_verified_with_a_key_and_nothing_else(
    alone: Desk, built: BuiltProject, tmp_path: Path
) -> None:
    keyring = tmp_path / "key.asc"
    with gpg.signing([package_key(built.project)], RUNNER) as ring:
        keyring.write_bytes(gpg.armor(ring.public, "PUBLIC KEY BLOCK"))
    run, states = elsewhere(alone, tmp_path).inspect("--keyring", str(keyring))
    assert run.returncode == 0
    assert {what for what, state in states.items() if state == "verified"} == COMPONENT - AT_HAND
    unknown = {what for what, state in states.items() if state == "not verified"}
    assert unknown == ALONE | AT_HAND | {"byte code"}


def test_without_a_key_nothing_is_called_verified_that_needs_one(
    desk: Desk, tmp_path: Path
) -> None:
    run, states = elsewhere(desk, tmp_path).inspect()
    assert run.returncode == 3
    assert "who signed it is not verified" in run.stderr
    assert "--keyring" in run.stderr
    needs_one = {"signature", "provenance", "changes", "buildinfo", "SHA256SUMS"}
    unknown = {what for what, state in states.items() if state == "not verified"}
    assert unknown == needs_one | AT_HAND | {"byte code"}
    assert run.document()["signer"] == package_key(desk.project).fingerprint


def elsewhere(desk: Desk, tmp_path: Path) -> Desk:
    """Return the desk of somebody who has neither the project nor its wheels."""
    (tmp_path / "nowhere").mkdir()
    code = Project(desk.project.root, {"DEBSTACK_CACHE_DIR": str(tmp_path / "no-cache")})

    class Elsewhere(Desk):
        def inspect(self, *options: str) -> tuple[Run, dict[str, str]]:
            place = ["--project", str(tmp_path / "nowhere")]
            run = code.debstack(*place, "inspect", "--json", *options, str(self.deb))
            return run, {each["what"]: each["state"] for each in run.document()["checks"]}

    return Elsewhere(desk.folder, desk.deb, code)


def failures(desk: Desk, *options: str) -> set[str]:
    """Return the checks that FAILED, after the exit code has said so too."""
    run, states = desk.inspect(*options)
    failed = {what for what, state in states.items() if state == "FAILED"}
    assert run.returncode == (10 if failed else 0), run.stdout
    if failed:
        assert f"{desk.deb.name}: FAILED: " in run.stderr
    return failed


def test_another_key(alone: Desk, tmp_path: Path) -> None:
    with gpg.throwaway_home(RUNNER) as home:
        _, secret = gpg.generate("somebody", home, RUNNER)
        public = RUNNER.capture(["gpg", "--homedir", home, "--armor", "--export"]).stdout
    assert secret
    (tmp_path / "other.asc").write_bytes(public)
    assert failures(alone, "--keyring", str(tmp_path / "other.asc")) == {"signature"}


def test_a_package_that_is_not_signed(alone: Desk) -> None:
    alone.rebuilt(lambda tree: None, sign_it=False)
    assert failures(alone) == {"signature"}


def test_one_byte_changed(alone: Desk) -> None:
    member = read_layout(alone.deb).payload[2]
    content = bytearray(alone.deb.read_bytes())
    content[member.start + member.size // 2] ^= 1
    alone.deb.write_bytes(content)
    assert {"signature"} <= failures(alone)


def test_an_extra_member(alone: Desk, tmp_path: Path) -> None:
    (tmp_path / "control.tar.xz").write_bytes(b"\xfd7zXZ\x00")
    RUNNER.run(["ar", "r", alone.deb, tmp_path / "control.tar.xz"])
    run, states = alone.inspect()
    # Nothing in such a file is looked at.
    assert (run.returncode, states) == (10, {"layout": "FAILED"})


def test_a_repacked_package_with_the_old_signature(alone: Desk) -> None:
    layout = read_layout(alone.deb)
    assert layout.signature
    old = alone.deb.read_bytes()[layout.signature.header :]
    alone.rebuilt(lambda tree: (tree / "usr/evil").write_text("evil"), sign_it=False)
    with alone.deb.open("ab") as file:
        file.write(old)
    # The list of files is still the old one as well.
    assert failures(alone) == {"signature", "files"}


def replace_text(tree: Path, path: str, old: str, new: str) -> None:
    """Change a file of the package, and have md5sums say that it is right."""
    (file,) = tree.glob(path)
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    list_anew(tree)


def add(tree: Path, path: str, text: str) -> None:
    """Add a file to the package, and have md5sums say that it is right."""
    (tree / path).write_text(text, "utf-8")
    list_anew(tree)


def list_anew(tree: Path) -> None:
    lines = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"  # noqa: S324
        for path in sorted(tree.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.relative_to(tree).parts[0] not in ("DEBIAN", "etc")
    ]
    (tree / "DEBIAN/md5sums").write_text("".join(lines))


TREE = f"usr/lib/trading/{API}"
SITE = f"{TREE}/.venv/lib/python3.11/site-packages"
DOC = f"usr/share/doc/{API}"


def an_evil_distribution(tree: Path) -> None:
    folder = tree / SITE / "evil-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n{folder.name}/RECORD,,\n")
    list_anew(tree)


# By somebody who has the key, so that only what the package says can give it away.
LIES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "code that is not the wheel's": (
        lambda tree: replace_text(tree, f"{SITE}/fastapi/__init__.py", "from ", "from evil"),
        {"installed", "wheels"},
    ),
    "code that is not the commit's": (
        lambda tree: replace_text(tree, f"{TREE}/app.py", "import ", "import evil, "),
        {"source"},
    ),
    "code that the commit does not have": (
        lambda tree: add(tree, f"{TREE}/automatictrader/evil.py", "evil"),
        {"source"},
    ),
    "code that no wheel brings": (
        lambda tree: add(tree, f"{SITE}/evil.pth", "import os"),
        {"installed"},
    ),
    "another list of files": (
        lambda tree: (tree / SITE / "fastapi/__init__.py").write_text("evil"),
        {"files", "installed", "wheels"},
    ),
    "a distribution that the SBOM hides": (an_evil_distribution, {"SBOM", "installed"}),
    "another hash in the SBOM": (
        lambda tree: replace_text(tree, f"{DOC}/sbom.cdx.json", '"content": "', '"content": "0'),
        {"SBOM"},
    ),
    "an SBOM that is not JSON": (
        lambda tree: replace_text(tree, f"{DOC}/sbom.cdx.json", '"bomFormat"', "bomFormat"),
        {"SBOM"},
    ),
    "an SBOM of strange types": (
        lambda tree: replace_text(
            tree, f"{DOC}/sbom.cdx.json", '"licenses": [', '"licenses": 3, "x": ['
        ),
        set(),
    ),
    "another commit": (
        lambda tree: replace_text(tree, "DEBIAN/control", "Git-Commit: ", "Git-Commit: 0"),
        {"lock", "SBOM"},
    ),
    "a lock edited by hand": (
        lambda tree: replace_text(tree, f"{DOC}/repos.lock", 'changed_in = "2', 'changed_in = "1'),
        {"lock"},
    ),
    "other dependencies": (
        lambda tree: replace_text(tree, f"{DOC}/requirements.txt", "sha256:", "sha256:0"),
        {"lock", "SBOM"},
    ),
    "a licence left out": (
        lambda tree: replace_text(tree, f"{DOC}/copyright", "fastapi-", "quickapi-"),
        {"licences"},
    ),
    "a licence reworded": (
        lambda tree: replace_text(tree, f"{DOC}/copyright", "Permission", "Prohibition"),
        {"licences"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_a_package_says_is_compared(lie: str, alone: Desk) -> None:
    change, expected = LIES[lie]
    alone.rebuilt(change)
    assert failures(alone) == expected


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def signed_again(desk: Desk, path: Path) -> None:
    with gpg.signing([package_key(desk.project)], RUNNER) as ring:
        path.with_name(f"{path.name}.asc").write_bytes(ring.armored(path.read_bytes()))


@pytest.mark.parametrize("ending", [".provenance.json", ".changes", ".buildinfo", "SHA256SUMS"])
def test_what_lies_beside_it_cannot_be_edited(ending: str, desk: Desk) -> None:
    (path,) = (each for each in desk.folder.iterdir() if each.name.endswith(ending))
    content = path.read_bytes()
    position = content.index(b"amd64")
    path.write_bytes(content[:position] + b"arm64" + content[position + 5 :])
    what = {".provenance.json": "provenance", "SHA256SUMS": "SHA256SUMS"}.get(ending, ending[1:])
    # .changes has the digest of the .buildinfo.
    assert failures(desk) == {what} | ({"changes"} if ending == ".buildinfo" else set())


def test_what_lies_beside_it_is_about_another_file(desk: Desk) -> None:
    desk.rebuilt(lambda tree: None)
    assert failures(desk) == {"provenance", "changes", "buildinfo", "SHA256SUMS"}


@pytest.mark.parametrize("fact", ["gitCommit", "inputs", "openpgp4fpr:", "run", "version"])
def test_a_provenance_that_is_signed_and_wrong(fact: str, desk: Desk) -> None:
    (path,) = desk.folder.glob("*.provenance.json")
    document: dict[str, Any] = json.loads(path.read_text())
    predicate = document["predicate"]
    definition = predicate["buildDefinition"]
    if fact == "gitCommit":
        definition["resolvedDependencies"][1]["digest"]["gitCommit"] = "0" * 40
    elif fact == "run":
        del definition["resolvedDependencies"][5]
    elif fact == "version":
        definition["externalParameters"]["version"] = "1"
    elif fact == "inputs":
        definition["resolvedDependencies"][0]["digest"]["sha256"] = "0" * 64
    else:
        predicate["runDetails"]["builder"]["id"] = f"openpgp4fpr:{'0' * 40}"
    path.write_text(json.dumps(document))
    signed_again(desk, path)
    assert failures(desk) == {"provenance"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"predicate": 3}', "[" * 100_000])
def test_a_provenance_that_is_signed_and_malformed(content: str, desk: Desk) -> None:
    (path,) = desk.folder.glob("*.provenance.json")
    path.write_text(content)
    signed_again(desk, path)
    assert failures(desk) == {"provenance"}


def test_the_lock_of_another_release(desk: Desk) -> None:
    edit(desk.folder / "repos.lock", 'ref = "main"', 'ref = "evil"')
    assert failures(desk) == {"release"}


def test_a_wheel_that_was_replaced_in_the_cache_proves_nothing(alone: Desk, tmp_path: Path) -> None:
    lock = (alone.project.root / f"packaging/locks/bookworm/{API}.txt").read_text()
    line = next(line for line in lock.splitlines() if line.startswith("click=="))
    digest = line.split("sha256:")[1][:64]
    file = tmp_path / "cache/wheels" / digest / line.split()[3]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"evil")
    project = Project(alone.project.root, {"DEBSTACK_CACHE_DIR": str(tmp_path / "cache")})
    run, states = Desk(alone.folder, alone.deb, project).inspect()
    assert (run.returncode, states["wheels"]) == (0, "not verified")


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"\x7fELF" * 100, os.urandom(4096)])
def test_what_is_no_package(alone: Desk, content: bytes) -> None:
    alone.deb.write_bytes(content)
    assert failures(alone) == {"layout"}
    assert alone.project.debstack("inspect", str(alone.deb)).returncode == 10


def test_nothing_that_a_package_says_reaches_the_terminal(alone: Desk) -> None:
    alone.rebuilt(
        lambda tree: replace_text(tree, f"{DOC}/sbom.cdx.json", '"expression": "MIT"',
                                  '"expression": "\\u001b[2J\\nverified"')
    )  # fmt: skip
    run = alone.project.debstack("inspect", str(alone.deb))
    assert "\x1b" not in run.stdout
    assert "\nverified" not in run.stdout
