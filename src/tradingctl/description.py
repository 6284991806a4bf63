"""What a component is: written by the build into each package, read on the server.

This module is the contract between the two sides and the only one that both import. A component is
installed as ``/usr/share/trading/components/<package>.json``, the stack as
``/usr/share/trading/stack.json``. Paths in them are relative to the component's root
(``/opt/trading/<name>``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

SCHEMA = 1


class DescriptionError(ValueError):
    """A description file is not one that this version understands."""


@dataclass(frozen=True)
class Check:
    """One HTTP question to a service, and what a good answer is.

    A JSON path is dotted (``dependencies.database``). A check that is not ``required`` reports
    the service as degraded and never fails a release: it is for what the release does not control,
    such as a market data feed.
    """

    name: str
    url: str
    status: tuple[int, ...] = (200,)
    json: Mapping[str, str] = field(default_factory=dict)
    commit_json: str = ""
    commit_header: str = ""
    required: bool = True


@dataclass(frozen=True)
class Unit:
    """One systemd service. Times are in seconds.

    ``port`` is 0 for a service that listens on none. ``deadline`` is how long it may take from
    start to a good answer, ``stability`` how long it must then stay up without a restart. One that
    ``sends_orders`` is started on a production machine alone, unless it only plans.
    """

    name: str
    order: int
    port: int = 0
    deadline: float = 30.0
    stability: float = 3.0
    required: bool = True
    checks: tuple[Check, ...] = ()
    sends_orders: bool = False


@dataclass(frozen=True)
class State:
    """A directory below the root that the service writes and that outlives the release.

    ``databases`` are the SQLite files in it. With ``tracked`` the repository ships files in this
    directory too; they lie under ``.tracked/<path>`` and are linked into the state directory. With
    ``artifacts`` the files in it are backed up daily.
    """

    path: str
    databases: tuple[str, ...] = ()
    tracked: bool = False
    artifacts: bool = False


@dataclass(frozen=True)
class Secret:
    """A variable that nobody but the administrator and the services may know.

    It is a line of ``/etc/trading/secrets/<component>.env``, or, as a ``credential``, the file
    ``/etc/trading/secrets/<component>/<variable>``. With ``generate`` it is made at the first
    installation. ``weak`` are values that everybody knows, ``staging_only`` those that will do on a
    staging machine; ``needed_if`` are settings without which the services can do without it.
    """

    variable: str
    length: int = 24
    generate: bool = True
    credential: bool = False
    weak: tuple[str, ...] = ()
    staging_only: tuple[str, ...] = ()
    needed_if: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """One installed component: a repository at a commit, its services and its state.

    One with an empty ``commit`` brings units alone, for a program that something else installs.
    ``environments`` says what its services call staging and production, where they have other words
    for them.
    """

    name: str
    package: str
    version: str
    release: str
    repository: str
    commit: str
    units: tuple[Unit, ...] = ()
    state: tuple[State, ...] = ()
    logs: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    environments: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return the description as the text of its file."""
        return _dump(self)


@dataclass(frozen=True)
class Stack:
    """One release of the stack: the package that holds it together and the exact versions in it."""

    package: str
    release: str
    version: str
    packages: Mapping[str, str]
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return the description as the text of its file."""
        return _dump(self)


def _dump(described: Component | Stack) -> str:
    return json.dumps(asdict(described), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_component(text: str, origin: str) -> Component:
    """Return the component described by ``text``; ``origin`` names the file in errors.

    Raises DescriptionError naming the file and the key that is unknown, missing or of a wrong type.
    """
    component: Component = _parse(Component, text, origin)
    return component


def parse_stack(text: str, origin: str) -> Stack:
    """Return the stack described by ``text``. Raises as ``parse_component`` does."""
    stack: Stack = _parse(Stack, text, origin)
    return stack


def _parse(kind: type[Any], text: str, origin: str) -> Any:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DescriptionError(f"{origin}: not JSON: {error}") from error
    if isinstance(data, dict) and data.get("schema") != SCHEMA:
        raise DescriptionError(f"{origin}: schema {data.get('schema')!r}, expected {SCHEMA}")
    return _read(kind, data, origin, "")


def _read(kind: Any, value: Any, origin: str, key: str) -> Any:
    """Return ``value`` as ``kind``, one of the dataclasses above or a type used in them."""
    where = f"{origin}: {key or 'the file'}"
    if hasattr(kind, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise DescriptionError(f"{where}: expected a table")
        hints = get_type_hints(kind)
        unknown = sorted(set(value) - {each.name for each in fields(kind)})
        if unknown:
            raise DescriptionError(f"{where}: unknown key {unknown[0]!r}")
        arguments = {
            name: _read(hints[name], item, origin, f"{key}.{name}".lstrip("."))
            for name, item in value.items()
        }
        try:
            return kind(**arguments)
        except TypeError as error:
            raise DescriptionError(f"{where}: {error}") from error
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise DescriptionError(f"{where}: expected a list")
        item_kind = get_args(kind)[0]
        return tuple(_read(item_kind, item, origin, f"{key}[{n}]") for n, item in enumerate(value))
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise DescriptionError(f"{where}: expected a table of texts")
        return dict(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise DescriptionError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
