"""The shape of the code: imports run downhill, modules are small, one module starts processes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
LIMIT = 400

# From the top down: a module imports only from layers below its own, or within its own.
LAYERS = (
    ("debstack.__main__",),
    ("debstack.cli",),
    ("debstack.pipeline",),
    ("debstack.steps", "debstack.archive"),
    ("debstack.accounting",),
    ("debstack.keys", "debstack.trial", "debstack.trust"),
    ("debstack.gpg", "debstack.mirror", "debstack.describe", "debstack.render"),
    ("debstack.git", "debstack.isolation", "debstack.uv_program"),
    ("debstack.process",),
    ("debstack.model",),
    ("debstack.log", "debstack.errors", "debstack.digest", "debstack.once"),
)
PROCESS_STARTERS = {"debstack.process", "debstack.trial", "tradingctl.process"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(module: str) -> Iterator[str]:
    """Give the modules, or names in them, that ``module`` imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for each in node.names:
                full = f"{node.module}.{each.name}"
                yield full if full in MODULES else str(node.module)


def own_imports(module: str) -> set[str]:
    """Return which of our modules ``module`` imports."""
    return {each for each in imports(module) if each in MODULES} - {module}


def layer(module: str) -> int:
    """Return the number of a module's layer, counted from the top."""
    for number, members in enumerate(LAYERS):
        if any(module == each or module.startswith(f"{each}.") for each in members):
            return number
    raise AssertionError(f"{module} has no place in LAYERS")


def of(package: str) -> list[str]:
    return [each for each in MODULES if each == package or each.startswith(f"{package}.")]


def test_there_is_something_to_look_at() -> None:
    assert len(of("debstack")) > 40
    assert len(of("tradingctl")) > 20
    assert "debstack.errors" in own_imports("debstack.process")


@pytest.mark.parametrize("module", [each for each in of("debstack") if each != "debstack"])
def test_imports_run_downhill(module: str) -> None:
    for imported in own_imports(module):
        if not imported.startswith("tradingctl"):
            assert layer(imported) >= layer(module), f"{module} imports {imported}"


@pytest.mark.parametrize("package", ["debstack.steps", "debstack.cli"])
def test_siblings_do_not_import_each_other(package: str) -> None:
    shared = {"debstack.cli.project", "debstack.cli.table", "debstack.cli.root", package}
    found = [
        f"{module} imports {imported}"
        for module in of(package)
        for imported in own_imports(module) & set(of(package)) - shared
    ]
    assert found == []


def test_steps_and_archive_do_not_know_each_other() -> None:
    for module in of("debstack.steps"):
        assert not own_imports(module) & set(of("debstack.archive")), module
    for module in of("debstack.archive"):
        assert not own_imports(module) & set(of("debstack.steps")), module


def test_there_are_no_cycles() -> None:
    graph = {module: own_imports(module) for module in MODULES}
    while free := {module for module, targets in graph.items() if not targets & graph.keys()}:
        graph = {module: targets for module, targets in graph.items() if module not in free}
    assert sorted(graph) == []


@pytest.mark.parametrize("module", of("tradingctl"))
def test_tradingctl_needs_nothing_but_the_standard_library(module: str) -> None:
    for imported in imports(module):
        top = imported.partition(".")[0]
        assert top == "tradingctl" or top in sys.stdlib_module_names, f"{module}: {imported}"


def test_of_tradingctl_the_build_knows_the_contract_alone() -> None:
    known = {
        (module, imported)
        for module in of("debstack")
        for imported in own_imports(module)
        if imported.startswith("tradingctl")
    }
    others = {each for each in known if each[1] != "tradingctl.description"}
    assert others == {
        # The trial asks with the code that asks on the server.
        ("debstack.trial", "tradingctl.probe"),
        # Finds the folder that traderunner-common ships.
        ("debstack.pipeline.packages", "tradingctl"),
    }


def test_one_module_on_each_side_starts_processes() -> None:
    starting = {"subprocess", "pty", "multiprocessing"}
    found = {module for module in MODULES if starting & set(imports(module))}
    assert found == PROCESS_STARTERS


@pytest.mark.parametrize("module", MODULES)
def test_nobody_starts_a_process_behind_the_runners_back(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            assert not called.startswith(
                ("os.system", "os.popen", "os.exec", "os.spawn", "os.fork")
            )


@pytest.mark.parametrize("module", [m for m, path in MODULES.items() if path.stem == "__init__"])
def test_packages_are_empty_but_for_their_docstring(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small_and_say_what_they_are(module: str) -> None:
    text = MODULES[module].read_text("utf-8")
    assert len(text.splitlines()) <= LIMIT
    assert ast.get_docstring(ast.parse(text))
