"""The SBOM: valid by the judgement of others, the same for the same lock, complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.unit.debstack.accounting.wheels import SITE_PACKAGES, install

from debstack.accounting.bundled import read_bundled
from debstack.accounting.sbom import (
    NOT_MERGED,
    Subject,
    sbom,
    sbom_of_packages,
    vcs_uri,
)
from debstack.accounting.wheel_sbom import NotMergeableError, merge
from debstack.model.requirements import LockedWheel

SUBJECT = Subject(
    package="web", version="2026.11.23.1+g1234567-1~deb12", architecture="amd64",
    distribution="bookworm", vendor="demo", release="2026.11.23.1", timestamp=1_795_000_000,
    summary="the website", url="git@git.example.org:web team/web.git", commit="1" * 40,
    tree="2" * 64,
)  # fmt: skip
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
CARGO = {
    "bomFormat": "CycloneDX", "specVersion": "1.5",
    "serialNumber": "urn:uuid:16ff1f8f-d360-44ee-b495-06084e04c7fe",
    "metadata": {"component": {"type": "library", "bom-ref": "root", "name": "demo-core"}},
    "components": [
        {"type": "library", "bom-ref": "a", "name": "ahash", "version": "0.8.12",
         "purl": "pkg:cargo/ahash@0.8.12", "licenses": [{"expression": "MIT OR Apache-2.0"}],
         "hashes": [{"alg": "SHA-256", "content": "5" * 64}]},
        {"type": "library", "bom-ref": "b", "name": "beta", "components": [{"name": "part"}]},
    ],
    "dependencies": [{"ref": "root", "dependsOn": ["a", "b"]}, {"ref": "a", "dependsOn": ["b"]}],
}  # fmt: skip


def valid(text: str) -> dict[str, Any]:
    error = VALIDATOR.validate_str(text)
    assert error is None, str(error)
    document: dict[str, Any] = json.loads(text)
    return document


def document(folder: Path, wheels: Mapping[str, LockedWheel] | None = None) -> str:
    return sbom(SUBJECT, read_bundled(folder), wheels or {}, SITE_PACKAGES)


def wheel(name: str) -> LockedWheel:
    return LockedWheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", "a" * 64, 1)


def test_the_validator_finds_mistakes() -> None:
    text = sbom_of_packages(SUBJECT, {}).replace('"type": "application"', '"type": "nonsense"')
    assert VALIDATOR.validate_str(text) is not None


def test_a_component_names_commit_wheels_hashes_and_licences(tmp_path: Path) -> None:
    install(tmp_path, "Demo-Lib", "1.0", "License-Expression: MIT\nRequires-Dist: other\n"
            'Requires-Dist: win; sys_platform == "win32"\nRequires-Dist: web; extra == "x"\n'
            "Requires-Dist: not a requirement !\n", {"demo/LICENSE": b"text"})  # fmt: skip
    install(tmp_path, "other", "1.0", "License: Public Domain\n")
    install(tmp_path, "unrelated", "1.0")
    install(tmp_path, "web", "1.0")
    found = valid(document(tmp_path, {"demo-lib": wheel("demo_lib"), "other": wheel("other")}))
    about = found["metadata"]["component"]
    assert about["pedigree"]["commits"][0]["uid"] == "1" * 40
    assert about["purl"] == (
        "pkg:deb/demo/web@2026.11.23.1%2Bg1234567-1~deb12?arch=amd64&distro=bookworm"
    )
    components = {each["name"]: each for each in found["components"]}
    assert components["Demo-Lib"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert components["Demo-Lib"]["licenses"][0]["expression"] == "MIT"
    assert components["other"]["licenses"][0]["license"]["name"] == "Public Domain"
    assert "hashes" not in components["web"]
    assert components["web"]["pedigree"]["commits"][0]["uid"] == "1" * 40
    edges = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}
    assert edges["pkg:pypi/demo-lib@1.0"] == ["pkg:pypi/other@1.0"]
    assert len(edges[about["bom-ref"]]) == 4


def test_the_same_lock_gives_the_same_bytes_and_another_one_another_number(tmp_path: Path) -> None:
    install(tmp_path, "demo", "1.0")
    first = document(tmp_path)
    assert document(tmp_path) == first
    other = sbom(replace(SUBJECT, commit="3" * 40), read_bundled(tmp_path), {}, "x")
    assert json.loads(other)["serialNumber"] != json.loads(first)["serialNumber"]
    assert json.loads(first)["metadata"]["timestamp"] == "2026-11-18T11:06:40+00:00"


def test_what_wheels_bring_becomes_part_of_it(tmp_path: Path) -> None:
    for name in ("one", "two"):  # the same document twice: references must not clash
        path = f"{name}-1.0.dist-info/sboms/x y.cdx.json"
        install(tmp_path, name, "1.0", "", {path: json.dumps(CARGO).encode()})
    found = valid(document(tmp_path))
    parts = found["components"][0]["components"]
    assert [each["name"] for each in parts] == ["demo-core", "ahash", "beta"]
    assert parts[1]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert parts[1]["hashes"][0]["content"] == "5" * 64
    assert parts[2]["components"][0]["name"] == "part"
    edges = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}
    assert edges[parts[1]["bom-ref"]] == [parts[2]["bom-ref"]]
    assert found["components"][0]["externalReferences"][0]["url"].endswith("/x%20y.cdx.json")
    references: list[str] = []
    collect(found["components"], references)
    assert len(references) == len(set(references)) == 10


def collect(components: list[dict[str, Any]], references: list[str]) -> None:
    for each in components:
        references.append(each["bom-ref"])
        collect(each.get("components", []), references)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"spdxVersion": "SPDX-2.3"}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "list", "spdx", "not UTF-8", "deep"],
)
def test_what_cannot_be_merged_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NotMergeableError):
        merge(content, "x")
    install(tmp_path, "demo", "1.0", "", {"demo-1.0.dist-info/sboms/x.json": content})
    (component,) = valid(document(tmp_path))["components"]
    (note,) = (each for each in component["properties"] if each["name"] == NOT_MERGED)
    assert note["value"].startswith("demo-1.0.dist-info/sboms/x.json: it is not ")
    assert component["externalReferences"][0]["type"] == "bom"


def nested(depth: int) -> dict[str, Any]:
    return {"name": "deep", "components": [nested(depth - 1)] if depth else []}


@pytest.mark.parametrize(
    "component",
    [
        {"name": 3}, {}, "text", None, {"name": "x", "type": "of 1.7"}, {"name": "x", "type": []},
        {"name": "x", "version": "1" * 2000}, {"name": "x", "hashes": [{"alg": "BLAKE9"}, 3]},
        {"name": "x", "hashes": [{"alg": "SHA-256", "content": "zz"}]},
        {"name": "x", "hashes": [{"alg": [], "content": "5" * 64}]},
        {"name": "x", "licenses": [{"license": {"id": "Of-The-Future"}}, {"license": 3}, 4]},
        {"name": "x", "licenses": {"expression": "MIT"}}, {"name": "x", "scope": "everywhere"},
        {"name": "x", "externalReferences": [{"type": "?", "url": "::"}], "unknown": 1},
        {"name": "x", "bom-ref": 5, "purl": ["x"]}, nested(40),
    ],
)  # fmt: skip
def test_nothing_in_a_wheel_makes_it_invalid(tmp_path: Path, component: object) -> None:
    theirs = {
        "bomFormat": "CycloneDX",
        "components": [component, component],
        "dependencies": [{"ref": 1}, 2, {"ref": "x", "dependsOn": "y"}],
        "metadata": [],
    }
    install(tmp_path, "demo", "1.0", "",
            {"demo-1.0.dist-info/sboms/x.json": json.dumps(theirs).encode()})  # fmt: skip
    valid(document(tmp_path))


def test_the_stack_names_the_packages_of_the_release() -> None:
    other = replace(SUBJECT, package="feed")
    text = sbom_of_packages(replace(SUBJECT, url="", commit=""), {"feed": other, "web": SUBJECT})
    found = valid(text)
    assert [each["purl"] for each in found["components"]] == [other.purl, SUBJECT.purl]
    assert "pedigree" not in found["metadata"]["component"]


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("git@git.example.org:team/web.git", "ssh://git@git.example.org/team/web.git"),
        ("git@git.example.org:/srv/web.git", "ssh://git@git.example.org/srv/web.git"),
        ("https://git.example.org/a b", "https://git.example.org/a%20b"),
        ("build/samples/web.git", "build/samples/web.git"),
        ("ssh://git@git.example.org:22/web", "ssh://git@git.example.org:22/web"),
    ],
)
def test_what_git_takes_becomes_a_uri(url: str, uri: str) -> None:
    assert vcs_uri(url) == uri
