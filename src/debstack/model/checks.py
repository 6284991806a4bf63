"""The rules that a type cannot express, over the stack and all of its components.

Rules within one file are in ``rules_stack``, ``rules_component`` and ``rules_unit``; here are those
between components: names, ports and files that only one of them can have.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from debstack.errors import Problem
from debstack.model import names
from debstack.model.definition import Component, Definition, Stack
from debstack.model.rules_component import component_problems
from debstack.model.rules_stack import stack_problems

_LIKENESS = 0.8


def check(definition: Definition, packaging: Path) -> list[Problem]:
    """Return every rule that ``definition``, read from the folder ``packaging``, breaks."""
    return check_parsed(definition.stack, definition.components, packaging)


def check_parsed(
    stack: Stack | None, components: tuple[Component, ...], packaging: Path
) -> list[Problem]:
    """Return every broken rule of what could be read: ``stack`` may be missing, components too."""
    problems = stack_problems(stack) if stack else []
    for component in components:
        problems += component_problems(component, packaging)
    problems += _shared(components)
    if stack and {each.name for each in components} == set(stack.components):
        problems += _relations(components)
        problems += _foreign_settings(components)
    return sorted(set(problems))


@dataclass
class _Owners:
    """Who has a thing that only one can have."""

    what: str
    taken: dict[Hashable, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def claim(self, thing: Hashable, component: Component, key: str, suggestion: str) -> None:
        owner = self.taken.setdefault(thing, f"{key} of {component.name}")
        if owner != f"{key} of {component.name}":
            message = f"{self.what} {thing} is already that of {owner}"
            self.problems.append(Problem(file_of(component), key, message, suggestion))


def file_of(component: Component) -> str:
    """Return the file, relative to the project, that defines ``component``."""
    return f"packaging/components/{component.name}.toml"


def _shared(components: Iterable[Component]) -> list[Problem]:
    """Return the units, ports and files of /etc/trading that two components claim."""
    units, ports, files = _Owners("unit name"), _Owners("port"), _Owners("/etc/trading file")
    for component in components:
        for n, unit in enumerate(component.units):
            units.claim(unit.name, component, f"units[{n}].name", "a unit name is used once")
            if unit.port:
                ports.claim(unit.port, component, f"units[{n}].port", "choose a free port")
        for n, config in enumerate(component.config):
            files.claim(config.name, component, f"config[{n}].name", "only one can ship it")
    return units.problems + ports.problems + files.problems


def _relations(components: tuple[Component, ...]) -> list[Problem]:
    """Return the after, wants and requires that seem to mean a unit of ours but name none."""
    ours = {unit.name for component in components for unit in component.units}
    return [
        problem
        for component in components
        for n, unit in enumerate(component.units)
        for relation in ("after", "wants", "requires")
        for m, other in enumerate(getattr(unit, relation))
        for problem in _relation(component, f"units[{n}].{relation}[{m}]", unit.name, other, ours)
    ]


def _relation(
    component: Component, key: str, unit: str, other: str, ours: set[str]
) -> list[Problem]:
    stem, _, kind = other.rpartition(".")
    if kind not in names.UNIT_KINDS or not stem:
        near = names.nearest(other, ours) or other
        return [
            Problem(file_of(component), key, f"{other!r} is not a unit's full name",
                    f"write {near}.service")
        ]  # fmt: skip
    if kind != "service":
        return []
    if stem == unit:
        return [Problem(file_of(component), key, "names the unit itself", "remove it")]
    near = names.nearest(stem, ours, likeness=_LIKENESS)
    if stem in ours or not near:
        return []
    return [
        Problem(file_of(component), key, f"no component has a unit {other}",
                f"did you mean {near}.service?")
    ]  # fmt: skip


def _foreign_settings(components: tuple[Component, ...]) -> list[Problem]:
    """Return the ``<name>.env`` that one component ships and another one reads."""
    all_names = {component.name for component in components}
    return [
        Problem(
            file_of(component),
            f"config[{n}].name",
            f"{config.name} is read by the services of {config.name.removesuffix('.env')}",
            f"name it {component.name}.env",
        )
        for component in components
        for n, config in enumerate(component.config)
        if config.name.endswith(".env")
        and config.name.removesuffix(".env") in all_names - {component.name}
    ]
