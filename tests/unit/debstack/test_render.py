"""Rendering debian-templates/."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack import render as module
from debstack.errors import BuildError
from debstack.render import render, render_one, templates_folder


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of templates in place of the real one."""
    folder = tmp_path / "templates"
    (folder / "kind/debian").mkdir(parents=True)
    monkeypatch.setattr(module, "templates_folder", lambda: folder)
    return folder


def test_the_templates_are_those_beside_the_source() -> None:
    assert templates_folder() == Path(__file__).parents[3] / "debian-templates"
    assert (templates_folder() / "component/debian/rules").is_file()


def test_the_tree_is_mirrored_with_names_and_modes(templates: Path, tmp_path: Path) -> None:
    (templates / "_part").write_text("part of {{ name }}\n")
    (templates / "kind/debian/rules").write_text('#!/usr/bin/make -f\n{% include "_part" %}\n')
    (templates / "kind/{{ name }}.list").write_text("umlaut ä, {{ name }}\n")
    render("kind", {"name": "web"}, tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix(): (path.read_text(), path.stat().st_mode)
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == {
        "debian/rules": ("#!/usr/bin/make -f\npart of web\n", 0o100755),
        "web.list": ("umlaut ä, web\n", 0o100644),
    }


def test_a_missing_value_names_the_template(templates: Path, tmp_path: Path) -> None:
    (templates / "kind/debian/control").write_text("Version: {{ versoin }}\n")
    with pytest.raises(BuildError, match=r"debian-templates/kind/debian/control: 'versoin' is und"):
        render("kind", {"version": "1"}, tmp_path / "out")


def test_a_missing_value_in_a_name_names_the_template(templates: Path, tmp_path: Path) -> None:
    (templates / "kind/{{ versoin }}.list").write_text("x\n")
    with pytest.raises(BuildError, match=r"the name of .*versoin.*: 'versoin' is und"):
        render("kind", {"version": "1"}, tmp_path / "out")


def test_a_mistake_in_a_template_names_it(templates: Path, tmp_path: Path) -> None:
    (templates / "kind/debian/control").write_text("{% if %}\n")
    with pytest.raises(BuildError, match="debian-templates/kind/debian/control: "):
        render("kind", {}, tmp_path / "out")


def test_one_template_is_returned_as_text(templates: Path) -> None:
    (templates / "_part").write_text("<{{ name }}> & so on\n")
    assert render_one("_part", {"name": "web"}) == "<web> & so on\n"
