"""The SBOMs that wheels bring (PEP 770), made part of a package's own.

They name what was compiled or copied into a wheel. They come in any version of CycloneDX, and what
the schema of ours does not allow would make the whole document invalid: so only what is known to be
allowed is taken over, and the original stays in the package and is referred to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_TYPES = {
    "application", "framework", "library", "container", "platform", "operating-system", "device",
    "device-driver", "firmware", "file", "machine-learning-model", "data",
    "cryptographic-asset",
}  # fmt: skip
_TEXTS = ("author", "publisher", "group", "name", "version", "description", "copyright", "purl")
_SCOPES = {"required", "optional", "excluded"}
_HASH_LENGTHS = {"MD5": 32, "SHA-1": 40, "SHA-256": 64, "SHA-384": 96, "SHA-512": 128,
                 "SHA3-256": 64, "SHA3-384": 96, "SHA3-512": 128}  # fmt: skip
_DEEPEST = 8
_LONGEST_VERSION = 1024


class NotMergeableError(ValueError):
    """A file in ``sboms/`` that is no CycloneDX document; the message says why not."""


@dataclass(frozen=True)
class Merged:
    """What a wheel's SBOM adds: components, and the dependencies between them."""

    components: tuple[Json, ...]
    dependencies: tuple[Json, ...]


def merge(content: bytes, prefix: str) -> Merged:
    """Return the components of a CycloneDX document with ``prefix`` before their references.

    The component that the document is about comes first: it is the wheel's, or a part of it. Raises
    NotMergeableError.
    """
    document = _parse(content)
    metadata = document.get("metadata")
    subject = metadata.get("component") if isinstance(metadata, dict) else None
    found: list[Json] = []
    references: dict[str, str] = {}
    for raw in [subject, *_list(document.get("components"))]:
        component = _component(raw, f"{prefix}/{len(found)}", references, 0)
        if component is not None:
            found.append(component)
    return Merged(tuple(found), tuple(_dependencies(document, references)))


def _parse(content: bytes) -> Json:
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        # The parser's own words differ between versions of Python.
        raise NotMergeableError("it is not JSON") from error
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise NotMergeableError("it is not CycloneDX")
    return document


def _component(raw: Any, reference: str, references: dict[str, str], depth: int) -> Json | None:
    """Return what our schema allows of a component; None if it has no name."""
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or depth > _DEEPEST:
        return None
    kind = raw.get("type")
    component: Json = {
        "type": kind if isinstance(kind, str) and kind in _TYPES else "library",
        "bom-ref": reference,
    }
    # Two components of one document may not share a reference; the first has it.
    if isinstance(raw.get("bom-ref"), str):
        references.setdefault(raw["bom-ref"], reference)
    component |= {name: raw[name] for name in _TEXTS if isinstance(raw.get(name), str)}
    if len(component.get("version", "")) > _LONGEST_VERSION:
        del component["version"]
    if isinstance(raw.get("scope"), str) and raw["scope"] in _SCOPES:
        component["scope"] = raw["scope"]
    if hashes := [each for each in _list(raw.get("hashes")) if _is_hash(each)]:
        component["hashes"] = [{"alg": each["alg"], "content": each["content"]} for each in hashes]
    if licences := _licences(raw.get("licenses")):
        component["licenses"] = licences
    parts = [
        part
        for n, each in enumerate(_list(raw.get("components")))
        if (part := _component(each, f"{reference}/{n}", references, depth + 1)) is not None
    ]
    if parts:
        component["components"] = parts
    return component


def _licences(raw: Any) -> list[Json]:
    """Return licences in the form that holds any text: an expression, or names."""
    names: list[str] = []
    for each in _list(raw):
        if isinstance(each, dict) and isinstance(each.get("expression"), str):
            return [{"expression": each["expression"]}]
        licence = each.get("license") if isinstance(each, dict) else None
        if isinstance(licence, dict):
            name = licence.get("id") or licence.get("name")
            names += [name] if isinstance(name, str) and name else []
    return [{"license": {"name": name}} for name in names]


def _is_hash(raw: Any) -> bool:
    if not isinstance(raw, dict) or not isinstance(raw.get("content"), str):
        return False
    length = _HASH_LENGTHS.get(raw["alg"]) if isinstance(raw.get("alg"), str) else None
    return bool(length and re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", raw["content"]))


def _dependencies(document: Json, references: Mapping[str, str]) -> Iterator[Json]:
    seen: set[str] = set()
    for each in _list(document.get("dependencies")):
        if not isinstance(each, dict) or not isinstance(each.get("ref"), str):
            continue
        reference = references.get(each["ref"])
        if reference is None or reference in seen:
            continue
        seen.add(reference)
        known = {
            references[on]
            for on in _list(each.get("dependsOn"))
            if isinstance(on, str) and on in references
        }
        if known - {reference}:
            yield {"ref": reference, "dependsOn": sorted(known - {reference})}


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []
