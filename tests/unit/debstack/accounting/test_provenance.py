"""The provenance, read by the library of those who define the format."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

from debstack.accounting.provenance import Artifact, Build, statement
from debstack.model.lock import LockedComponent
from debstack.model.requirements import LockedWheel

BUILD = Build(
    deb=Artifact("web_1_amd64.deb", "1" * 64),
    unsigned=Artifact("web_1_amd64.deb", "2" * 64),
    buildinfo=Artifact("web_1_amd64.buildinfo", "3" * 64),
    lock=Artifact("repos.lock", "4" * 64),
    parameters={"package": "web", "version": "1"},
    inputs="5" * 64,
    component=LockedComponent("git@git.example.org:web.git", "main", "6" * 40, "7" * 64),
    wheels=[LockedWheel("demo", "1.0+local", "demo-1.0+local-py3-none-any.whl", "8" * 64, 1)],
    build_wheels=[LockedWheel("flit-core", "3", "flit_core-3-py3-none-any.whl", "9" * 64, 1)],
    key="A" * 40,
    development=False,
)


def validated(text: str) -> dict[str, Any]:
    """Return the statement after in-toto's library and its schemas have accepted all of it."""
    document: dict[str, Any] = json.loads(text)
    parsed = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(document["predicate"], provenance_pb2.Provenance())
    materials = predicate.build_definition.resolved_dependencies
    for each in [*materials, *predicate.run_details.byproducts]:
        ResourceDescriptor.copy_from_pb(each).validate()
    assert predicate.build_definition.build_type
    assert predicate.run_details.builder.id
    return document


def test_the_library_accepts_it_and_finds_everything_in_it() -> None:
    document = validated(statement(BUILD))
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["subject"] == [{"name": "web_1_amd64.deb", "digest": {"sha256": "1" * 64}}]
    definition = document["predicate"]["buildDefinition"]
    lock, source, run, build = definition["resolvedDependencies"]
    assert lock["digest"] == {"sha256": "4" * 64}
    assert source["uri"] == f"git+ssh://git@git.example.org/web.git@{'6' * 40}"
    assert source["digest"] == {"gitCommit": "6" * 40}
    assert (run["uri"], run["digest"]) == ("pkg:pypi/demo@1.0%2Blocal", {"sha256": "8" * 64})
    assert build["annotations"] == {"purpose": "build"}
    assert definition["internalParameters"] == {"inputs": "5" * 64}
    details = document["predicate"]["runDetails"]
    assert details["builder"] == {"id": f"openpgp4fpr:{'A' * 40}"}
    assert details["byproducts"][0]["digest"] == {"sha256": "2" * 64}


def test_the_library_finds_mistakes() -> None:
    with pytest.raises((ValueError, json_format.ParseError)):
        validated(statement(BUILD).replace("in-toto.io/Statement/v1", "in-toto.io/Statement/v9"))
    with pytest.raises((ValueError, json_format.ParseError)):
        validated(statement(BUILD).replace('"buildType"', '"buildKind"'))
    nothing = json.loads(statement(BUILD)) | {"subject": []}
    with pytest.raises(ValueError, match="subject required"):
        validated(json.dumps(nothing))


def test_it_is_the_same_each_time_and_warns_of_a_development_key() -> None:
    assert statement(BUILD) == statement(BUILD)
    details = validated(statement(replace(BUILD, development=True)))["predicate"]["runDetails"]
    assert "DEVELOPMENT" in details["builder"]["version"]["debstack"]


def test_a_package_without_a_repository_names_its_lock_alone() -> None:
    other = replace(BUILD, component=None, wheels=(), build_wheels=())
    (lock,) = validated(statement(other))["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert lock["name"] == "repos.lock"
