"""Advisories about distributions: from a service that speaks OSV's protocol, or from its database.

An answer counts only if it is complete, and if it names an advisory of a distribution that is known
to have one (the canary): a proxy that answers everything with nothing, or a database of another
ecosystem, looks like a clean bill of health. Whatever else is wrong raises AdvisoryError.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from packaging.version import InvalidVersion, Version

from debstack.errors import AdvisoryError
from debstack.model.wheel import normalised

Distribution = tuple[str, str]
"""A normalised name and a version."""

_ECOSYSTEM = "PyPI"
_BATCH = 500
_PAGES = 50
_SECONDS = 30


@dataclass(frozen=True, order=True)
class Advisory:
    """One advisory about a distribution; ``fixed`` are the versions that correct it."""

    id: str
    summary: str
    fixed: tuple[str, ...]
    aliases: tuple[str, ...] = ()


Found = Mapping[Distribution, tuple[Advisory, ...]]


def ask_service(url: str, wanted: Sequence[Distribution], canary: Distribution | None) -> Found:
    """Return the advisories that the service at ``url`` has about each of ``wanted``.

    Raises AdvisoryError unless it answered for every one of them.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise _unknown(f"{url} is not an http or https address")
    asked = list(dict.fromkeys([*wanted, *([canary] if canary else [])]))
    ids: dict[Distribution, list[str]] = {}
    for start in range(0, len(asked), _BATCH):
        ids |= _ask(url, asked[start : start + _BATCH])
    if canary and not ids[canary]:
        raise _blind(url, canary)
    details = {each: _details(url, each) for each in sorted({i for d in wanted for i in ids[d]})}
    return {
        each: tuple(sorted(_advisory(details[i], each, i) for i in ids[each]
                           if not details[i].get("withdrawn")))
        for each in wanted
    }  # fmt: skip


def read_database(
    path: Path,
    wanted: Sequence[Distribution],
    canary: Distribution | None,
    *,
    now: datetime,
    max_age_days: int,
) -> Found:
    """Return the advisories of an OSV database (a zip file or a folder of JSON) about ``wanted``.

    Raises AdvisoryError if it cannot be read, or its newest entry is older than ``max_age_days``.
    """
    asked = [*wanted, *([canary] if canary else [])]
    names = {name for name, _ in asked}
    found: dict[Distribution, list[Advisory]] = {each: [] for each in asked}
    newest = datetime.min.replace(tzinfo=UTC)
    for file, entry in _entries(path):
        try:
            newest = max(newest, datetime.fromisoformat(entry["modified"]))
            affected = [each for each in entry.get("affected", ()) if _is_ours(each, names)]
            if entry.get("withdrawn") or not affected:
                continue
            for name, version in asked:
                if any(_affects(each, name, version) for each in affected):
                    advisory = _advisory(entry, (name, version), entry["id"])
                    found[name, version].append(advisory)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unknown(f"{path}: {file} is not an advisory of OSV: {error!r}") from error
    if newest < now - timedelta(days=max_age_days):
        told = f"is of {newest:%Y-%m-%d}" if newest.year > 1 else "has no entry"
        raise _unknown(
            f"the database {path} {told}, more than {max_age_days} days ago",
            "get the current one, such as OSV's PyPI/all.zip, or raise audit.max_age_days",
        )
    if canary and not found[canary]:
        raise _blind(str(path), canary)
    return {each: tuple(sorted(set(found[each]))) for each in wanted}


def _ask(url: str, asked: Sequence[Distribution]) -> dict[Distribution, list[str]]:
    """Return the ids of the advisories about each; every page of every answer."""
    ids: dict[Distribution, list[str]] = {each: [] for each in asked}
    open_: list[tuple[Distribution, str]] = [(each, "") for each in asked]
    for _ in range(_PAGES):
        if not open_:
            return ids
        queries = [
            {"package": {"name": name, "ecosystem": _ECOSYSTEM}, "version": version}
            | ({"page_token": token} if token else {})
            for (name, version), token in open_
        ]
        answer = _json(f"{url.rstrip('/')}/v1/querybatch", {"queries": queries})
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(queries):
            got = len(results) if isinstance(results, list) else "no"
            raise _unknown(f"{url} was asked about {len(queries)} distributions and gave {got}"
                           " answers")  # fmt: skip
        following = []
        for (each, _token), result in zip(open_, results, strict=True):
            try:
                ids[each] += [str(vuln["id"]) for vuln in (result or {}).get("vulns") or ()]
                token = (result or {}).get("next_page_token")
            except (KeyError, TypeError, AttributeError) as error:
                raise _unknown(f"{url} gave an answer that is none: {result!r}") from error
            if token:
                following.append((each, str(token)))
        open_ = following
    raise _unknown(f"{url} has no last page")


def _details(url: str, advisory: str) -> dict[str, Any]:
    """Return the whole advisory; an empty one if only that cannot be had: it was found."""
    try:
        return _json(f"{url.rstrip('/')}/v1/vulns/{quote(advisory, safe='')}", None)
    except AdvisoryError:
        return {}


def _json(address: str, document: dict[str, Any] | None) -> dict[str, Any]:
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(  # noqa: S310  (the scheme was checked)
        address, data=data, headers={"Content-Type": "application/json", "User-Agent": "debstack"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            read = json.loads(answer.read())
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _unknown(f"{address} cannot be asked: {str(error) or repr(error)}") from error
    if not isinstance(read, dict):
        raise _unknown(f"{address} gave an answer that is none")
    return read


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of every advisory in a zip file or folder."""
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield file.name, json.loads(file.read_bytes())
            return
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield name, json.loads(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _unknown(f"the database {path} cannot be read: {error}") from error


def _is_ours(affected: Mapping[str, Any], names: set[str]) -> bool:
    package = affected.get("package") or {}
    return package.get("ecosystem") == _ECOSYSTEM and normalised(package["name"]) in names


def _affects(affected: Mapping[str, Any], name: str, version: str) -> bool:
    """Whether an entry is about a version; one that names no versions at all is about each."""
    if normalised(affected["package"]["name"]) != name:
        return False
    listed = affected.get("versions") or []
    ranges = [each for each in affected.get("ranges") or [] if each.get("type") != "GIT"]
    if not listed and not ranges:
        return True
    return _listed(listed, version) or any(_in_range(each["events"], version) for each in ranges)


def _listed(versions: Sequence[str], version: str) -> bool:
    ours = _parsed(version)
    return version in versions or (ours is not None and ours in map(_parsed, versions))


def _in_range(events: Sequence[Mapping[str, str]], version: str) -> bool:
    """Judge as OSV says: in the order of their versions, the last event that applies counts.

    What cannot be compared is taken for affected.
    """
    ours = _parsed(version)
    steps = [(_parsed(at), kind) for event in events for kind, at in event.items()]
    if ours is None or any(at is None for at, _ in steps):
        return True
    inside = False
    for at, kind in sorted((at, kind) for at, kind in steps if at is not None):
        if kind == "introduced" and ours >= at:
            inside = True
        elif (kind == "fixed" and ours >= at) or (kind == "last_affected" and ours > at):
            inside = False
    return inside


def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


def _advisory(entry: Mapping[str, Any], distribution: Distribution, name: str) -> Advisory:
    fixed = {
        str(event["fixed"])
        for affected in entry.get("affected", ())
        if normalised((affected.get("package") or {}).get("name", "")) == distribution[0]
        for each in affected.get("ranges") or ()
        if each.get("type") != "GIT"
        for event in each.get("events", ())
        if "fixed" in event
    }
    ordered = tuple(sorted(fixed, key=lambda each: (_parsed(each) or Version("0"), each)))
    summary = " ".join(str(entry.get("summary", "")).split())
    return Advisory(name, summary, ordered, tuple(sorted(map(str, entry.get("aliases") or ()))))


def _blind(where: str, canary: Distribution) -> AdvisoryError:
    return _unknown(
        f"{where} knows no advisory about {canary[0]} {canary[1]}, which has some: what it says of"
        " others is worth nothing",
        "check the address or the database; audit.canary in packaging/stack.toml names another one",
    )


def _unknown(message: str, hint: str = "") -> AdvisoryError:
    return AdvisoryError(
        message,
        hint=hint
        or "nothing is known about the lock; correct [audit] in packaging/stack.toml,"
        " or run it again",
    )
