"""Reading TOML into frozen dataclasses: strictly, and with every mistake reported at once.

The dataclasses' annotations are the schema: str, int, float, bool, Literal, ``tuple[T, ...]``,
``Mapping[str, T]`` and nested dataclasses. A value that cannot be read takes the default of its
field or, for a definition, an empty stand-in, so that the rest is read and checked in the same run.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from debstack.errors import DefinitionError, Problem
from debstack.model import names
from debstack.model.checks import check_parsed
from debstack.model.definition import Component, Definition, Stack
from debstack.model.places import (
    NO_OWN_FILE,
    OWN_FILE,
    component_file,
    components_folder,
    is_own_file,
    packaging_folder,
    stack_file,
)

T = TypeVar("T")
_UNREADABLE: Any = object()
_WRONG_TYPE = "expected "
_TYPE_NAMES = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}


@dataclass
class _Reader:
    """Collects the problems of one file while its tables become dataclasses.

    With ``stand_in`` a table is made even if a key that it needs is missing or unreadable.
    """

    file: str
    stand_in: bool = False
    problems: list[Problem] = field(default_factory=list)

    def report(self, key: str, message: str, suggestion: str = "") -> Any:
        self.problems.append(Problem(self.file, key, message, suggestion))
        return _UNREADABLE

    def value(self, kind: Any, raw: Any, key: str) -> Any:
        """Return ``raw`` as ``kind``, or _UNREADABLE after reporting what is wrong with it."""
        if is_dataclass(kind):
            return self.table(kind, raw, key)
        origin = get_origin(kind)
        if origin is tuple:
            return self.sequence(get_args(kind)[0], raw, key)
        if origin is Mapping:
            return self.mapping(get_args(kind)[1], raw, key)
        if origin is Literal:
            return self.choice(get_args(kind), raw, key)
        if kind is float and type(raw) is int:
            return float(raw)
        if type(raw) is not kind:
            return self.report(key, f"{_WRONG_TYPE}{_TYPE_NAMES[kind]}, got {_describe(raw)}")
        return raw

    def table(self, kind: Any, raw: Any, key: str) -> Any:
        if not isinstance(raw, dict):
            return self.report(key, f"{_WRONG_TYPE}a table, got {_describe(raw)}")
        known = {each.name: each for each in fields(kind)}
        for name in raw.keys() - known.keys():
            self.report(_join(key, name), "unknown key", names.did_you_mean(name, known))
        hints = get_type_hints(kind)
        arguments = {}
        complete = True
        for name, schema in known.items():
            where = _join(key, name)
            if name in raw:
                arguments[name] = self.value(hints[name], raw[name], where)
            elif _is_required(schema):
                self.report(where, "this key is missing")
                arguments[name] = _UNREADABLE
            if arguments.get(name) is _UNREADABLE:
                del arguments[name]
                if _is_required(schema) and self.stand_in:
                    arguments[name] = _empty(hints[name])
                elif _is_required(schema):
                    complete = False
        return kind(**arguments) if complete else _UNREADABLE

    def sequence(self, kind: Any, raw: Any, key: str) -> Any:
        if not isinstance(raw, list):
            return self.report(key, f"{_WRONG_TYPE}a list, got {_describe(raw)}")
        items = tuple(self.value(kind, item, f"{key}[{n}]") for n, item in enumerate(raw))
        # Without one of its items a list's indexes would be wrong in later problems.
        return _UNREADABLE if any(item is _UNREADABLE for item in items) else items

    def mapping(self, kind: Any, raw: Any, key: str) -> Any:
        if not isinstance(raw, dict):
            return self.report(key, f"{_WRONG_TYPE}a table, got {_describe(raw)}")
        items = {name: self.value(kind, item, _join(key, name)) for name, item in raw.items()}
        return {name: item for name, item in items.items() if item is not _UNREADABLE}

    def choice(self, choices: tuple[Any, ...], raw: Any, key: str) -> Any:
        if raw in choices and type(raw) in map(type, choices):
            return raw
        suggestion = names.did_you_mean(raw, choices) if isinstance(raw, str) else ""
        return self.report(
            key, f"{_WRONG_TYPE}one of {', '.join(choices)}, got {_describe(raw)}", suggestion
        )


def parse(
    kind: type[T], text: str, file: str, *, stand_in: bool = False
) -> tuple[T | None, list[Problem]]:
    """Return the dataclass that a TOML text describes, if it can be made, and all its problems.

    ``file`` is what the problems call the text. With ``stand_in`` what cannot be read is replaced
    by something empty, so that the rest can be checked; the problems say that it was.
    """
    reader = _Reader(file, stand_in)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reader.report(_line_of(error, text), f"not valid TOML: {error}")
        return None, reader.problems
    parsed = reader.table(kind, raw, "")
    return (None if parsed is _UNREADABLE else parsed), reader.problems


def load(project: Path) -> Definition:
    """Return what packaging/stack.toml and packaging/components/*.toml of ``project`` define.

    Raises DefinitionError with every problem of every file.
    """
    stack, problems = _read(Stack, stack_file(project), project)
    found = {path.stem: path for path in sorted(components_folder(project).glob("*.toml"))}
    wanted = stack.components if stack else tuple(found)
    problems += _stray_files(project, wanted) if stack else []
    components = []
    for name in dict.fromkeys(wanted):
        # A name that is no file name is reported by the checks of the stack.
        if not names.is_file(name):
            continue
        component, mistakes = _read(Component, component_file(project, name), project)
        problems += mistakes
        if component and not component.name:
            component = replace(component, name=name)
        if component and component.name != name:
            file = _relative(component_file(project, name), project)
            problems.append(
                Problem(file, "name", f"is {component.name!r} in a file called {name}.toml",
                        f"name = {name!r}, or rename the file")
            )  # fmt: skip
        if component:
            components.append(component)
    ruled = check_parsed(stack, tuple(components), packaging_folder(project))
    problems += [each for each in ruled if not _follows(each, problems)]
    if problems or stack is None:
        raise DefinitionError(sorted(set(problems)))
    return Definition(stack, tuple(components))


def _read(kind: type[T], path: Path, project: Path) -> tuple[T | None, list[Problem]]:
    file = _relative(path, project)
    if lexists(path) and not is_own_file(path, packaging_folder(project)):
        return None, [Problem(file, "", NO_OWN_FILE, OWN_FILE)]
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        near = names.nearest(path.stem, (each.stem for each in path.parent.glob("*.toml")))
        suggestion = f"did you mean {near}?" if near else "create it; see docs/definitions.md"
        return None, [Problem(file, "", "this file is missing", suggestion)]
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(file, "", f"cannot be read: {error}")]
    return parse(kind, text, file, stand_in=True)


def _empty(kind: Any) -> Any:
    """Return something empty of the annotated type."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        required = [each.name for each in fields(kind) if _is_required(each)]
        return kind(**{name: _empty(hints[name]) for name in required})
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) is Mapping:
        return {}
    return (get_origin(kind) or kind)()


def _follows(ruled: Problem, read: list[Problem]) -> bool:
    """Whether a broken rule may only follow from a key that was not readable."""
    for each in read:
        if each.file == ruled.file and each.key:
            # Other keys of a table may speak of the value that had the wrong type.
            wrong_type = each.message.startswith(_WRONG_TYPE)
            key = (each.key.rpartition(".")[0] if wrong_type else "") or each.key
            if ruled.key.startswith(key) or key.startswith(ruled.key):
                return True
    return False


def _stray_files(project: Path, wanted: tuple[str, ...]) -> list[Problem]:
    folder = components_folder(project)
    present = sorted(folder.iterdir()) if folder.is_dir() else []
    expected = {f"{name}.toml" for name in wanted}
    return [
        Problem(
            _relative(path, project),
            "",
            "does not belong to a component of the stack",
            f"add {path.stem!r} to components in packaging/stack.toml, or remove the file",
        )
        for path in present
        if path.name not in expected
    ]


def _relative(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix()


def _join(key: str, name: str) -> str:
    quoted = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return f"{key}.{quoted}" if key else quoted


def _is_required(schema: Field[Any]) -> bool:
    return schema.default is MISSING and schema.default_factory is MISSING


def _describe(raw: Any) -> str:
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, bool):
        return str(raw).lower()
    return repr(raw)


def _line_of(error: tomllib.TOMLDecodeError, text: str) -> str:
    match = re.search(r"at line (\d+)", str(error))
    return f"line {match.group(1) if match else max(1, len(text.splitlines()))}"
