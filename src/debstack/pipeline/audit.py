"""``debstack audit``: what advisories say of the distributions in the lock, if they could be asked.

There are three answers: something was found, nothing was found, and it is not known. The last one
is never taken for the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from debstack.digest import sha256_of
from debstack.errors import AdvisoryError, LockError
from debstack.model.definition import Accepted, Definition
from debstack.model.lock import Lock
from debstack.model.places import build_requirements_lock, locks_folder, requirements_lock
from debstack.model.requirements import parse_requirements
from debstack.steps.advisories import Advisory, Distribution, Found

Source = Callable[[Sequence[Distribution]], Found]
"""Returns what one service or database says; raises AdvisoryError if it cannot tell."""


@dataclass(frozen=True, order=True)
class Finding:
    """An advisory about a distribution, where that is locked, and why it is accepted, if it is."""

    name: str
    version: str
    advisory: Advisory
    where: tuple[str, ...]
    accepted: str = ""


@dataclass(frozen=True)
class Audited:
    """What was found among ``checked`` distributions; ``failed`` says what could not be asked."""

    checked: int
    findings: tuple[Finding, ...]
    failed: tuple[AdvisoryError, ...]

    @property
    def open(self) -> tuple[Finding, ...]:
        """What nobody has accepted."""
        return tuple(each for each in self.findings if not each.accepted)


def audit(
    definition: Definition, project: Path, lock: Lock, sources: Sequence[Source], today: date
) -> Audited:
    """Ask every one of ``sources`` about all distributions of ``lock``.

    Raises LockError if a dependency lock is not the one in ``lock``, AdvisoryError if there is
    nobody to ask.
    """
    if not sources:
        raise AdvisoryError(
            "no advisories were looked at: neither a service nor a database is configured",
            hint="set audit.service or audit.database in packaging/stack.toml,"
            " or name one: debstack audit --service URL, --database FILE",
        )
    locked = _locked(definition, project, lock)
    found: dict[Distribution, dict[str, Advisory]] = {each: {} for each in locked}
    failed = []
    for source in sources:
        try:
            for each, advisories in source(sorted(locked)).items():
                found[each] |= {advisory.id: advisory for advisory in advisories}
        except AdvisoryError as error:
            failed.append(error)
    findings = sorted(
        Finding(
            name, version, advisory, tuple(sorted(locked[name, version])),
            _why_accepted(advisory, definition.stack.audit.accepted, today),
        )
        for (name, version), advisories in found.items()
        for advisory in advisories.values()
    )  # fmt: skip
    return Audited(len(locked), tuple(findings), tuple(failed))


def _locked(definition: Definition, project: Path, lock: Lock) -> Mapping[Distribution, set[str]]:
    """Return all distributions of the release with the dependency locks that name them."""
    found: dict[Distribution, set[str]] = {}
    for name, component in lock.components.items():
        recorded = {requirements_lock(target, name): digest
                    for target, digest in component.requirements.items()}  # fmt: skip
        recorded |= {build_requirements_lock(target, name): digest
                     for target, digest in component.build_requirements.items()}  # fmt: skip
        for path, digest in recorded.items():
            file = locks_folder(project) / path
            if not file.is_file() or sha256_of(file) != digest:
                raise LockError(
                    f"packaging/locks/{path} is not the one in repos.lock",
                    hint="restore the file with git, or run: debstack lock",
                )
            for wheel in parse_requirements(file.read_text("utf-8"), path).wheels:
                for each in (wheel, *(wheel.built.requires if wheel.built else ())):
                    found.setdefault((each.name, each.version), set()).add(path)
    if not found and definition.components:
        raise LockError("repos.lock names no distribution at all", hint="run: debstack lock")
    return found


def _why_accepted(advisory: Advisory, accepted: Sequence[Accepted], today: date) -> str:
    for each in accepted:
        if each.id in (advisory.id, *advisory.aliases) and today <= date.fromisoformat(each.until):
            return f"{each.reason}, until {each.until}"
    return ""
