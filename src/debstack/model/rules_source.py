"""The rules of [source]: where a component comes from, and who vouches for it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from debstack.model import names
from debstack.model.definition import Source, Trust
from debstack.model.findings import Findings
from debstack.model.trust import FULL_SHA

# What anybody between here and the server can answer for it.
_UNPROVEN = ("http", "git", "ftp")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def source_problems(source: Source, packaging: Path, found: Findings) -> None:
    """Add every rule that ``source`` breaks; ``packaging`` holds the signers' keys."""
    if _address("source.url", source.url, found):
        _proven("source.url", source, source.url, found)
    if found.line("source.ref", source.ref):
        _ref("source.ref", source.ref, found)
    for n, pattern in enumerate(source.exclude):
        found.relative(f"source.exclude[{n}]", pattern)
    _trust(source, source.trust, packaging, found)


def _address(key: str, url: str, found: Findings) -> bool:
    if not found.line(key, url):
        return False
    address = urlsplit(url)
    return found.require(
        address.password is None
        and (address.username is None or address.scheme not in ("http", "https")),
        key,
        "holds credentials, which would be printed and packaged",
        "use an ssh key or a git credential helper",
    ) and _not_an_option(key, url, found)


def _proven(key: str, source: Source, url: str, found: Findings) -> None:
    address = urlsplit(url)
    found.require(
        address.scheme not in _UNPROVEN
        or address.hostname in _LOOPBACK
        or bool(source.trust.signers),
        key,
        f"{address.scheme} does not prove which server answers, so no branch or tag is proof",
        "https or ssh, or name source.trust.signers",
    )


def _ref(key: str, ref: str, found: Findings) -> None:
    _not_an_option(key, ref, found)
    found.require(
        " " not in ref and ".." not in ref,
        key,
        f"{ref!r} is not the name of a branch, tag or commit",
        "such as main",
    )


def _trust(source: Source, trust: Trust, packaging: Path, found: Findings) -> None:
    found.require(
        not FULL_SHA.fullmatch(source.ref) or bool(trust.branches or trust.tags or trust.signers),
        "source.ref",
        "a commit vouches for nothing: servers hand out commits that nobody reviewed",
        "name source.trust.branches, tags or signers",
    )
    for n, url in enumerate(trust.urls):
        if _address(f"source.trust.urls[{n}]", url, found):
            _proven(f"source.trust.urls[{n}]", source, url, found)
    found.require(
        not trust.urls or source.url in trust.urls,
        "source.trust.urls",
        f"does not allow source.url, {source.url!r}",
        "add it, or leave the key out",
    )
    for kind in ("branches", "tags"):
        for n, name in enumerate(getattr(trust, kind)):
            key = f"source.trust.{kind}[{n}]"
            if found.line(key, name):
                _ref(key, name, found)
                found.require(
                    name.strip("*") != "" and not name.startswith("refs/"),
                    key,
                    f"{name!r} is not the name of some {kind}",
                    "such as main, or release/*" if kind == "branches" else "such as v*",
                )
    for n, path in enumerate(trust.signers):
        _signers(f"source.trust.signers[{n}]", path, packaging, found)


def _signers(key: str, path: str, packaging: Path, found: Findings) -> None:
    if not found.relative(key, path):
        return
    pure = PurePosixPath(path)
    if not found.require(
        pure.parts[0] == "keys" and len(pure.parts) > 1,
        key,
        f"{path!r} is not below packaging/keys",
        f"keys/signers/{pure.name}",
    ):
        return
    found.require(
        pure.suffix != ".asc" or len(pure.parts) > 2,
        key,
        f"packaging/{path} lies among the keys that sign packages and the repository",
        f"keys/signers/{pure.name}",
    )
    file = packaging / path
    folder = file.parent
    near = names.nearest(file.name, (e.name for e in folder.iterdir())) if folder.is_dir() else ""
    if found.require(
        file.is_file() and file.resolve().is_relative_to(packaging.resolve()),
        key,
        f"packaging/{path} is not a regular file",
        f"did you mean {pure.with_name(near)}?" if near else "create it",
    ):
        text = file.read_text("utf-8", "replace")
        kind = "-----BEGIN PGP PUBLIC KEY BLOCK-----" if pure.suffix == ".asc" else "ssh-"
        found.require(
            kind in text or (pure.suffix != ".asc" and "ecdsa-" in text),
            key,
            f"packaging/{path} holds no public key",
            "gpg --armor --export FINGERPRINT" if pure.suffix == ".asc"
            else "lines such as: name@example.org ssh-ed25519 AAAA…",
        )  # fmt: skip


def _not_an_option(key: str, text: str, found: Findings) -> bool:
    return found.require(
        not text.startswith("-"), key, f"{text!r} would be read as an option of git", "without -"
    )
