"""The packages of a release: what kind each is, what enters it, and the digest of that.

Two builds of one version must not differ, so everything that shapes a package counts: its
definition, its templates, the code that builds it, and for a component its commit and dependencies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tradingctl
from debstack.accounting.lock_part import component_document
from debstack.digest import sha256_of
from debstack.model.definition import Definition, Target
from debstack.model.lock import LockedComponent
from debstack.model.places import packaging_folder
from debstack.model.rules_stack import own_packages
from debstack.model.signers import PACKAGE, public_key_path, read_signers
from debstack.render import templates_folder

Kind = Literal["component", "keyring", "common", "stack", "ibgateway"]

IBGATEWAY = "trading-ibgateway"
"""The optional package that no release depends on."""

# The code that decides what is in a package; the rest only moves files and prints.
_SHAPING = (
    "accounting/bundled.py",
    "accounting/copyright.py",
    "accounting/history.py",
    "accounting/lock_part.py",
    "accounting/sbom.py",
    "accounting/wheel_sbom.py",
    "describe.py",
    "git.py",
    "mirror.py",
    "model/lock.py",
    "model/placeholders.py",
    "model/requirements.py",
    "model/sandbox.py",
    "model/uv.py",
    "pipeline/accounting.py",
    "pipeline/assemble.py",
    "pipeline/contents.py",
    "pipeline/keyring.py",
    "render.py",
    "steps/fetch.py",
    "steps/package.py",
    "steps/sign.py",
    "steps/stage.py",
    "steps/venv.py",
)


@dataclass(frozen=True)
class Names:
    """The names of the packages that come from the stack itself."""

    keyring: str
    common: str
    stack: str

    @classmethod
    def of(cls, definition: Definition) -> Names:
        """Return the names in ``definition``."""
        return cls(*own_packages(definition.stack))


def release_packages(definition: Definition) -> tuple[str, ...]:
    """Return every package of a release, components first."""
    components = tuple(component.name for component in definition.components)
    return (*components, *own_packages(definition.stack), IBGATEWAY)


def kind_of(package: str, definition: Definition) -> Kind:
    """Return which kind of package ``package`` is: the folder of its templates."""
    own = Names.of(definition)
    kinds: dict[str, Kind] = {
        own.keyring: "keyring",
        own.common: "common",
        own.stack: "stack",
        IBGATEWAY: "ibgateway",
    }
    return kinds.get(package, "component")


def input_digest(
    project: Path,
    package: str,
    definition: Definition,
    component: LockedComponent | None,
    target: Target,
) -> str:
    """Return the sha256 of everything that enters ``package`` on ``target``.

    The stack's contents, the exact versions, are in the lock itself, which gives it a new version
    with every release.
    """
    kind = kind_of(package, definition)
    stack = definition.stack
    document: dict[str, object] = {
        "kind": kind,
        "stack": [stack.name, stack.maintainer, stack.homepage],
        "target": asdict(target),
        "files": dict(_files(kind)),
    }
    if signer := package_signer(project, kind):
        # It signs every package, and a signature is part of a package's bits.
        document["package_key"] = signer
    if component is not None:
        defined = definition.component(package)
        document["definition"] = asdict(defined)
        document["config"] = {
            each.name: sha256_of(packaging_folder(project) / each.source) for each in defined.config
        }
        document["signers"] = {
            each: sha256_of(packaging_folder(project) / each)
            for each in defined.source.trust.signers
        }
        # All that is locked of it: the package carries its part of the lock.
        document["component"] = component_document(component, target.name)
    if kind == "keyring":
        document["archive"] = asdict(stack.archive)
        document["suites"] = [f"{target.name}-{each.name}" for each in stack.channels]
        document["keys"] = {path.name: sha256_of(path) for path in public_keys(project)}
    if kind in ("common", "stack"):
        document["components"] = stack.components
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def package_signer(project: Path, kind: Kind) -> str:
    """Return what names the key that signs packages of ``kind``; empty if the project does not.

    That servers learn to trust a second key changes the keyring and no other package.
    """
    if role := read_signers(project).roles.get(PACKAGE):
        return role.trust[0] if kind == "keyring" else role.sign[0]
    package_key = public_key_path(project, PACKAGE)
    return sha256_of(package_key) if package_key.is_file() else ""


def public_keys(project: Path) -> list[Path]:
    """Return the public keys that the user has put under packaging/keys."""
    return sorted((packaging_folder(project) / "keys").glob("*.asc"))


def tradingctl_files() -> dict[str, Path]:
    """Return the modules of tradingctl, which traderunner-common ships, by relative path."""
    root = Path(tradingctl.__path__[0])
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.py"))}


def _files(kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield name and digest of the templates and the code that shape packages of ``kind``."""
    templates = templates_folder()
    partials = [path for path in templates.iterdir() if path.name.startswith("_")]
    for path in sorted([*partials, *(templates / kind).rglob("*")]):
        if path.is_file():
            yield f"templates/{path.relative_to(templates).as_posix()}", sha256_of(path)
    source = Path(__file__).parents[1]
    for name in _SHAPING:
        yield name, sha256_of(source / name)
    for name, path in tradingctl_files().items():
        if kind == "common" or name == "description.py":
            yield f"tradingctl/{name}", sha256_of(path)
