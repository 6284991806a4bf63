"""What the packages say of themselves is complete and true, by the judgement of others."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from debian.copyright import Copyright
from debian.deb822 import BuildInfo, Changes
from packaging.utils import canonicalize_name
from tests.build.conftest import BuiltProject
from tests.build.project import cache_folder, sha256
from tests.build.test_build import PACKAGES
from tests.unit.debstack.accounting.test_provenance import validated

from debstack import gpg
from debstack.digest import sha256_of
from debstack.model.lock import read_lock
from debstack.process import SYSTEM_PATH, Runner
from debstack.steps.sign import payload_digest

pytestmark = pytest.mark.build
COMPONENTS = PACKAGES[:3]
RUNNER = Runner()
# Run by the system's own Python, which knows nothing of debstack.
FIND_DISTRIBUTIONS = """
import importlib.metadata, sys
for each in importlib.metadata.distributions(path=[sys.argv[1]]):
    print(each.metadata["Name"], each.version)
"""
LOCKED = re.compile(r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})  # (\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def unpacked(
    built: BuiltProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """Give each component as it is installed."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name in COMPONENTS:
        RUNNER.run(["dpkg-deb", "--extract", built.deb(name), folder / name])
    yield {name: folder / name for name in COMPONENTS}
    shutil.rmtree(folder)


def doc(built: BuiltProject, package: str, name: str, folder: Path) -> bytes:
    """Return a file of the package's folder below /usr/share/doc."""
    tar = folder / "data.tar"
    if not tar.is_file():
        with tar.open("wb") as file, RUNNER.stream(
            ["dpkg-deb", "--fsys-tarfile", built.deb(package)]
        ) as stream:  # fmt: skip
            shutil.copyfileobj(stream, file)
    path = f"./usr/share/doc/{package}/{name}"
    return RUNNER.capture(["tar", "--extract", "--to-stdout", "--file", tar, path]).stdout


def installed(root: Path, component: str) -> set[tuple[str, str]]:
    """Return name and version of what importlib.metadata finds."""
    (site_packages,) = root.glob(f"usr/lib/trading/{component}/.venv/lib/python*/site-packages")
    found = RUNNER.capture(["/usr/bin/python3", "-IB", "-c", FIND_DISTRIBUTIONS, site_packages])
    pairs = [line.split() for line in found.text.splitlines()]
    assert pairs
    return {(canonicalize_name(name), version) for name, version in pairs}


def document(root: Path, component: str) -> dict[str, Any]:
    text = (root / f"usr/share/doc/{component}/sbom.cdx.json").read_text("utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


@pytest.mark.parametrize("package", PACKAGES)
def test_the_sbom_of_every_package_is_valid(
    package: str, built: BuiltProject, tmp_path: Path
) -> None:
    text = doc(built, package, "sbom.cdx.json", tmp_path).decode()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, str(error)
    about = json.loads(text)["metadata"]["component"]
    (entry,) = (each for each in built.packages if each["package"] == package)
    assert (about["name"], about["version"]) == (package, entry["version"])


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_sbom_names_what_importlib_finds_installed(
    component: str, unpacked: dict[str, Path]
) -> None:
    named = {
        (canonicalize_name(each["name"]), each["version"])
        for each in document(unpacked[component], component)["components"]
    }
    assert named == installed(unpacked[component], component)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_sbom_has_the_hash_of_every_wheel_and_the_commit(
    component: str, built: BuiltProject, unpacked: dict[str, Path]
) -> None:
    found = document(unpacked[component], component)
    lock = (built.project.root / f"packaging/locks/bookworm/{component}.txt").read_text()
    locked = {name: (version, digest) for name, version, digest, _ in LOCKED.findall(lock)}
    assert locked
    hashed = {
        canonicalize_name(each["name"]): (each["version"], each["hashes"][0]["content"])
        for each in found["components"]
        if "hashes" in each
    }
    assert hashed == locked
    others = [each["name"] for each in found["components"] if "hashes" not in each]
    assert others == (["marketdata-stream"] if component == "marketdata-stream" else [])
    commit = read_lock(built.project.lock_file).components[component].commit
    assert found["metadata"]["component"]["pedigree"]["commits"][0]["uid"] == commit


def test_what_a_wheel_says_of_its_parts_is_in_the_sbom(unpacked: dict[str, Path]) -> None:
    found = document(unpacked["automatictrader-api"], "automatictrader-api")
    (core,) = (each for each in found["components"] if each["name"] == "pydantic_core")
    crates = [
        each["purl"] for each in core["components"] if each.get("purl", "").startswith("pkg:cargo/")
    ]
    assert len(crates) > 50
    (reference,) = core["externalReferences"]
    path = unpacked["automatictrader-api"] / reference["url"].removeprefix("file:///")
    assert json.loads(path.read_text())["bomFormat"] == "CycloneDX"


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_licence_file_of_the_wheels_is_in_the_copyright(
    component: str, built: BuiltProject, unpacked: dict[str, Path]
) -> None:
    path = unpacked[component] / f"usr/share/doc/{component}/copyright"
    with path.open(encoding="utf-8") as file:
        parsed = Copyright(file, strict=True)
    text = path.read_text("utf-8")
    texts = [_words(str(each["License"])) for each in parsed.all_license_paragraphs()]
    common = {
        _words(file.read_text("utf-8", "replace")): file.name
        for file in Path("/usr/share/common-licenses").iterdir()
    }
    lock = (built.project.root / f"packaging/locks/bookworm/{component}.txt").read_text()
    missing, found = [], 0
    for name, _, digest, filename in LOCKED.findall(lock):
        for licence, content in _licences(cache_folder() / "wheels" / digest / filename):
            found += 1
            words = _words(_decoded(content))
            given = any(each.endswith(words) for each in texts) or (
                words in common and f"{licence}: /usr/share/common-licenses/" in text
            )
            if not given or f" {licence}: " not in text:
                missing.append(f"{name}: {licence}")
    assert found >= 10
    assert missing == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_distribution_has_a_paragraph_that_states_its_licence(
    component: str, unpacked: dict[str, Path]
) -> None:
    root = unpacked[component]
    with (root / f"usr/share/doc/{component}/copyright").open(encoding="utf-8") as file:
        parsed = Copyright(file, strict=True)
    inside = root / f"usr/lib/trading/{component}"
    for metadata in inside.glob(".venv/lib/python*/site-packages/*.dist-info/METADATA"):
        paragraph = parsed.find_files_paragraph(metadata.relative_to(root).as_posix())
        assert paragraph is not None
        assert metadata.parent.name.partition("-")[0].lower() in "".join(paragraph.files).lower()
        assert str(paragraph["License"]).split("\n")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_lock_and_the_changelog_are_inside(
    package: str, built: BuiltProject, tmp_path: Path
) -> None:
    lock = read_lock(built.project.lock_file)
    (tmp_path / "repos.lock").write_bytes(doc(built, package, "repos.lock", tmp_path))
    inside = read_lock(tmp_path / "repos.lock")
    if package == "traderunner-stack":
        assert inside == lock
    else:
        locked = lock.packages[package]
        own = {"bookworm": locked.inputs["bookworm"]}
        assert inside.packages == {package: replace(locked, inputs=own)}
    ending = "changelog.Debian.gz" if package in COMPONENTS else "changelog.gz"
    changelog = gzip.decompress(doc(built, package, ending, tmp_path)).decode()
    assert f"Release {lock.packages[package].changed_in}" in changelog
    if package not in COMPONENTS:
        return
    component = lock.components[package]
    assert f"commit {component.commit[:12]}" in " ".join(changelog.split())
    requirements = doc(built, package, "requirements.txt", tmp_path)
    file = built.project.root / f"packaging/locks/bookworm/{package}.txt"
    assert requirements == file.read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_provenance_is_signed_and_about_the_package(
    package: str, built: BuiltProject, package_key: Path
) -> None:
    deb = built.deb(package)
    statement = deb.with_name(f"{deb.stem}.provenance.json")
    signature = statement.with_name(f"{statement.name}.asc").read_bytes()
    (signer,) = gpg.verify(signature, [statement.read_bytes()], package_key, RUNNER)
    found = validated(statement.read_text())
    assert found["subject"] == [{"name": deb.name, "digest": {"sha256": sha256(deb)}}]
    predicate = found["predicate"]
    assert predicate["runDetails"]["builder"]["id"] == f"openpgp4fpr:{signer}"
    assert predicate["runDetails"]["byproducts"][0]["digest"]["sha256"] == payload_digest(deb)
    materials = predicate["buildDefinition"]["resolvedDependencies"]
    if package not in COMPONENTS:
        assert [each["name"] for each in materials] == ["repos.lock"]
        return
    commit = read_lock(built.project.lock_file).components[package].commit
    assert materials[1]["digest"] == {"gitCommit": commit}
    lock = (built.project.root / f"packaging/locks/bookworm/{package}.txt").read_text()
    wheels = {each["digest"]["sha256"] for each in materials[2:]}
    assert {digest for _, _, digest, _ in LOCKED.findall(lock)} <= wheels


@pytest.mark.parametrize("package", PACKAGES)
def test_changes_and_buildinfo_are_signed_and_about_the_package(
    package: str, built: BuiltProject, package_key: Path
) -> None:
    deb = built.deb(package)
    (entry,) = (each for each in built.packages if each["package"] == package)
    files = {name.rpartition(".")[2]: deb.with_name(name) for name in entry["beside"]}
    text, signers = gpg.verify_clear(files["changes"].read_bytes(), package_key, RUNNER)
    assert len(signers) == 1
    listed = {each["name"]: each["sha256"] for each in Changes(text.decode())["Checksums-Sha256"]}
    assert listed == {
        path.name: sha256_of(path) for path in (deb, files["buildinfo"])
    }  # fmt: skip
    text, _ = gpg.verify_clear(files["buildinfo"].read_bytes(), package_key, RUNNER)
    (made,) = BuildInfo(text.decode())["Checksums-Sha256"]
    assert made["sha256"] == entry["payload"] == payload_digest(deb)
    assert "debhelper (=" in text.decode()
    if shutil.which("dscverify", path=SYSTEM_PATH):
        RUNNER.capture(["dscverify", "--keyring", package_key, files["changes"]])


@pytest.fixture(scope="module")
def package_key(built: BuiltProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the public half of the key that signs packages, taken out of the keyring package."""
    folder = tmp_path_factory.mktemp("key")
    RUNNER.run(["dpkg-deb", "--extract", built.deb("traderunner-archive-keyring"), folder])
    (found,) = (folder / "usr/share/debsig/keyrings").glob("*/*.pgp")
    return found


def _licences(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each licence file of a wheel, found by a rule that is not debstack's."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        folder = metadata.rpartition("/")[0]
        headers = BytesParser().parsebytes(archive.read(metadata), headersonly=True)
        declared = {
            f"{folder}{place}/{each}"
            for each in headers.get_all("License-File", [])
            for place in ("", "/licenses")
        }
        for name in names:
            base = name.rpartition("/")[2]
            if name in declared or (
                base.startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
                and ".data/" not in name
                and not name.endswith((".py", ".js"))
            ):
                yield name, archive.read(name)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _words(text: str) -> str:
    """Return a text without what a deb822 file changes in it: spaces, and dots for empty lines."""
    lines = (line.strip() for line in text.replace("\x0c", "").splitlines())
    return " ".join(" ".join(line for line in lines if line != ".").split())
