"""What counts as a component's requirements, and what cannot be locked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from debstack.errors import DependencyError
from debstack.model.definition import Python, Target
from debstack.model.requirement_inputs import build_inputs, requirement_mistake, run_inputs

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")
TREE = Python("tree", ("req/base.txt",), ("gunicorn>=22",))
FILES = {
    "req/base.txt": "-r more.txt\n--constraint=../c.txt\npandas>=2 ; python_version>'3' # why\n",
    "req/more.txt": "# nothing\nidna == 3.7 \\\n    --hash=sha256:00\n",
    "c.txt": "idna<4\n",
    "pyproject.toml": '[project]\nname="x"\ndependencies=["idna"]\n'
    '[build-system]\nrequires=["hatchling>=1"]\n',
}


def test_included_files_take_part() -> None:
    inputs = run_inputs("web", TREE, FILES.get)
    assert inputs.entries == ("req/base.txt",)
    assert set(inputs.files) == {"req/base.txt", "req/more.txt", "c.txt"}
    assert inputs.requirements == ("gunicorn>=22",)


def test_a_wheel_brings_what_its_pyproject_declares() -> None:
    inputs = run_inputs("web", Python("wheel", (), ("extra",)), FILES.get)
    assert inputs.requirements == ("idna", "extra")
    assert build_inputs("web", FILES.get).requirements == ("hatchling>=1",)


def test_a_pyproject_that_names_no_builder_is_built_by_setuptools() -> None:
    assert build_inputs("web", {"pyproject.toml": ""}.get).requirements == ("setuptools>=40.8.0",)


def test_the_digest_knows_texts_extras_and_interpreter_but_nothing_else() -> None:
    inputs = run_inputs("web", TREE, FILES.get)
    digest = inputs.digest(TARGET)
    assert digest == run_inputs("other", TREE, FILES.get).digest(replace(TARGET, suffix="x"))
    changed = [
        run_inputs("web", TREE, (FILES | {"c.txt": "idna<5\n"}).get).digest(TARGET),
        run_inputs("web", replace(TREE, extra_requirements=()), FILES.get).digest(TARGET),
        inputs.digest(replace(TARGET, python="3.13")),
        inputs.digest(replace(TARGET, platform="x86_64-manylinux_2_28")),
    ]
    assert len({digest, *changed}) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-e .", "line 1: '-e .' is an option"),
        ("idna\n--index-url https://example.org/simple", "line 2"),
        ("x @ git+https://example.org/x", "is a direct address"),
        ("https://example.org/x.whl", "is a direct address"),
        ("-r ../../outside.txt", "leads out of the tree"),
        ("-r gone.txt", "req/gone.txt, named by req/base.txt line 1, is not in the repository"),
        ("idna=3", "is not a requirement"),
    ],
)
def test_a_line_that_cannot_be_locked_is_named(text: str, message: str) -> None:
    with pytest.raises(DependencyError) as raised:
        run_inputs("web", TREE, (FILES | {"req/base.txt": text}).get)
    assert raised.value.message.startswith("web: ")
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        (None, "no pyproject.toml"),
        ("x =", "not valid TOML"),
        ("[tool.x]", "leaves its dependencies to the build"),
        ('[project]\nname="x"\ndynamic=["dependencies"]', "leaves its dependencies to the build"),
        ('[project]\ndependencies="idna"', "not a list of texts"),
        ('[project]\ndependencies=["x @ https://h"]', "direct address"),
    ],
)
def test_a_wheel_whose_dependencies_are_not_known_before_building(
    pyproject: str | None, message: str
) -> None:
    files = {} if pyproject is None else {"pyproject.toml": pyproject}
    with pytest.raises(DependencyError, match=message):
        run_inputs("web", Python("wheel"), files.get)


@pytest.mark.parametrize(
    "text",
    [
        "idna",
        "a.b-c_d[x,y]>=1,<2; python_version < '3.12'",
        "x (>=1.0)",
        "x===1",
        "x~=1.2",
        "x!=1.*",
    ],
)
def test_requirements_that_are_right(text: str) -> None:
    assert not requirement_mistake(text)
