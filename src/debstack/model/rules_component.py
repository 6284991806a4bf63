"""The rules of one packaging/components/<name>.toml."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from debstack.errors import Problem
from debstack.model import names
from debstack.model.definition import Component, Config, Python
from debstack.model.findings import Findings
from debstack.model.order_safety import demand_plan_only
from debstack.model.places import is_own_file
from debstack.model.requirement_inputs import requirement_mistake
from debstack.model.rules_secrets import demand_sender, secret_problems
from debstack.model.rules_source import source_problems
from debstack.model.rules_unit import unit_problems

# What the build puts into a component's root.
RESERVED_PATHS = (".venv", ".tracked", "RELEASE.json")
# What the packages and the administrator have in /etc/trading.
RESERVED_SETTINGS = (
    "backup.env",
    "deploy.conf",
    "environment",
    "ibgateway.env",
    "orders-on-staging",
    "secrets",
    "skip-verify",
)
_LONGEST_SUMMARY = 79  # Policy 3.4.1: less than 80 characters
_DEPENDS = re.compile(
    r"(?P<one>[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?( \((<<|<=|=|>=|>>) [0-9][A-Za-z0-9.+:~-]*\))?)"
    r"( \| (?P<other>[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?"
    r"( \((<<|<=|=|>=|>>) [0-9][A-Za-z0-9.+:~-]*\))?))*"
)


def component_problems(component: Component, packaging: Path) -> list[Problem]:
    """Return every rule that ``component`` breaks on its own; ``packaging`` holds its settings."""
    found = Findings(f"packaging/components/{component.name}.toml")
    found.package("name", component.name)
    found.require(
        not component.name.endswith(".build"),
        "name",
        "ends in .build, as the lock of another component's build dependencies does",
        "another name",
    )
    if found.line("summary", component.summary):
        found.require(
            len(component.summary) <= _LONGEST_SUMMARY,
            "summary",
            f"has {len(component.summary)} characters",
            f"at most {_LONGEST_SUMMARY}",
        )
    found.require(bool(component.description.strip()), "description", "is empty", "a paragraph")
    source_problems(component.source, packaging, found)
    _python(component.python, found)
    _directories(component, found)
    _configs(component.config, packaging, found)
    secret_problems(component, found)
    for n, dependency in enumerate(component.depends):
        found.require(
            _DEPENDS.fullmatch(dependency) is not None,
            f"depends[{n}]",
            f"{dependency!r} is not a dependency on Debian packages",
            "such as libfoo1 (>= 1.2)",
        )
    for n, unit in enumerate(component.units):
        unit_problems(unit, f"units[{n}]", found)
    demand_sender(component, _settings(component.config, packaging), found)
    return found.problems


def _settings(configs: tuple[Config, ...], packaging: Path) -> dict[str, str]:
    """Return the default content of each file of settings that can be read."""
    sources = {each.name: packaging / each.source for each in configs}
    return {n: path.read_text("utf-8", "replace") for n, path in sources.items() if path.is_file()}


def _python(python: Python, found: Findings) -> None:
    for n, path in enumerate(python.requirements):
        found.relative(f"python.requirements[{n}]", path)
    found.unique(
        "file", ((f"python.requirements[{n}]", each) for n, each in enumerate(python.requirements))
    )
    for n, text in enumerate(python.extra_requirements):
        mistake = requirement_mistake(text)
        found.require(
            not mistake,
            f"python.extra_requirements[{n}]",
            f"{text!r} {mistake}",
            "such as gunicorn>=22",
        )

    for n, name in enumerate(python.sdists):
        found.require(
            re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) is not None,
            f"python.sdists[{n}]",
            f"{name!r} is not the normalised name of a distribution",
            re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "such as docopt",
        )
    found.unique("name", ((f"python.sdists[{n}]", each) for n, each in enumerate(python.sdists)))


def _directories(component: Component, found: Findings) -> None:
    """Check that state and logs stay below the root, apart from each other and from our files."""
    claimed: dict[PurePosixPath, str] = {}
    paths = [(f"state[{n}].path", state.path) for n, state in enumerate(component.state)]
    paths += [(f"logs[{n}]", path) for n, path in enumerate(component.logs)]
    for key, path in paths:
        if not found.relative(key, path):
            continue
        pure = PurePosixPath(path)
        found.require(
            pure.parts[0] not in RESERVED_PATHS,
            key,
            f"{pure.parts[0]} belongs to the package",
            "another folder",
        )
        for other, where in claimed.items():
            found.require(
                not (pure.is_relative_to(other) or other.is_relative_to(pure)),
                key,
                f"{path!r} lies in, or holds, {str(other)!r} of {where}",
                "keep only the outer one" if pure != other else "name it once",
            )
        claimed.setdefault(pure, key)
    for n, state in enumerate(component.state):
        for m, database in enumerate(state.databases):
            found.relative(f"state[{n}].databases[{m}]", database)
        found.unique(
            "database",
            ((f"state[{n}].databases[{m}]", each) for m, each in enumerate(state.databases)),
        )
        found.require(
            not (state.artifacts and state.databases),
            f"state[{n}].artifacts",
            "is backed up as files, and a database in use cannot be copied as one",
            "another folder for the databases",
        )


def _configs(configs: tuple[Config, ...], packaging: Path, found: Findings) -> None:
    found.unique("file", ((f"config[{n}].name", each.name) for n, each in enumerate(configs)))
    for n, config in enumerate(configs):
        key = f"config[{n}].name"
        if found.require(
            names.is_file(config.name),
            key,
            f"{config.name!r} is not a plain file name",
            PurePosixPath(config.name).name or "settings.yaml",
        ):
            found.require(
                config.name not in RESERVED_SETTINGS,
                key,
                f"/etc/trading/{config.name} belongs to the stack",
                "another name",
            )
        if found.relative(f"config[{n}].source", config.source):
            _config_source(f"config[{n}].source", config.source, packaging, found)


def _config_source(key: str, source: str, packaging: Path, found: Findings) -> None:
    path = packaging / source
    folder = path.parent
    near = names.nearest(path.name, (e.name for e in folder.iterdir())) if folder.is_dir() else ""
    is_regular = path.is_file() and not path.is_symlink()
    usable = found.require(
        is_own_file(path, packaging),
        key,
        f"packaging/{source} is not a regular file",
        f"did you mean {PurePosixPath(source).with_name(near)}?"
        if near and not is_regular
        else "create it",
    )
    if usable:
        demand_plan_only(path.read_text("utf-8", "replace"), key, found)
