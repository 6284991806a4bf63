"""Render debian-templates/ into the files that they mirror."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

from debstack.errors import BuildError

_SPLIT_OR_ESCAPED = re.compile(r"[\s\"'\\]")


def templates_folder() -> Path:
    """Return the folder of templates: installed with debstack, or beside its source."""
    installed = Path(__file__).parent / "debian-templates"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "debian-templates"


def render(kind: str, values: Mapping[str, object], destination: Path) -> None:
    """Render every file below ``debian-templates/<kind>`` to the same path in ``destination``.

    Names of files may contain expressions too. Raises BuildError naming the template if one asks
    for a value that is not given.
    """
    environment = _environment()
    folder = templates_folder() / kind
    for template in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = template.relative_to(folder).as_posix()
        target = destination / _name(environment, f"{kind}/{relative}", relative, values)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = _render(environment, f"{kind}/{relative}", values)
        target.write_text(text, encoding="utf-8")
        target.chmod(0o755 if text.startswith("#!") else 0o644)


def render_one(template: str, values: Mapping[str, object]) -> str:
    """Return the text of one template of debian-templates/."""
    return _render(_environment(), template, values)


def _render(environment: jinja2.Environment, template: str, values: Mapping[str, object]) -> str:
    try:
        return environment.get_template(template).render(values)
    except jinja2.TemplateError as error:
        raise BuildError(f"debian-templates/{template}: {error}") from error


def _name(
    environment: jinja2.Environment, template: str, name: str, values: Mapping[str, object]
) -> str:
    try:
        return environment.from_string(name).render(values)
    except jinja2.TemplateError as error:
        raise BuildError(f"the name of debian-templates/{template}: {error}") from error


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Debian's control files have no characters of their own; a page has.
        autoescape=jinja2.select_autoescape(["html"], default=False),
    )
    environment.filters |= {"literal": _literal, "assigned": _assigned}
    return environment


def _literal(text: str) -> str:
    """Return what systemd reads as ``text``, in which % begins no specifier (systemd.unit(5))."""
    return text.replace("%", "%%")


def _assigned(name: str, value: str) -> str:
    """Return what ``Environment=`` reads as one variable (systemd.syntax(7), QUOTING)."""
    assignment = _literal(f"{name}={value}")
    if not _SPLIT_OR_ESCAPED.search(value):
        return assignment
    escaped = assignment.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
