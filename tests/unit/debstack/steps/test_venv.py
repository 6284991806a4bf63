"""What is taken out of a virtual environment, and how its files are made alike."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from debstack.errors import BuildError, DependencyError
from debstack.process import Result, Runner
from debstack.steps.venv import Environment, build_wheel, clean, compile_bytecode, normalise

PYTHON = "3.11"
SYSTEM_PYTHON = Path(f"/usr/bin/python{PYTHON}")
needs_python = pytest.mark.skipif(
    not SYSTEM_PYTHON.exists(), reason=f"{SYSTEM_PYTHON} is not installed"
)


def environment(folder: Path, files: dict[str, str]) -> Environment:
    made = Environment(folder / ".venv", PYTHON)
    for name, text in files.items():
        path = made.root / name.replace("SITE", f"lib/python{PYTHON}/site-packages")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def left(made: Environment) -> set[str]:
    site = made.site_packages.relative_to(made.root).as_posix()
    files = (p.relative_to(made.root).as_posix() for p in made.root.rglob("*") if p.is_file())
    return {name.replace(site, "SITE") for name in files}


def test_what_differs_between_machines_is_removed(tmp_path: Path) -> None:
    record = (
        "demo/__init__.py,sha256=abc,0\n"
        "demo-1.0.dist-info/RECORD,,\n"
        "demo-1.0.dist-info/INSTALLER,sha256=x,2\n"
        "demo-1.0.dist-info/REQUESTED,sha256=y,0\n"
        '"demo/a, b.txt",sha256=z,0\n'
        "demo-1.0.dist-info/direct_url.json,sha256=w,9\n"
    )
    made = environment(tmp_path, {
        ".lock": "", ".gitignore": "*", "CACHEDIR.TAG": "", "pyvenv.cfg": "home = /root/uv\n",
        "bin/activate": "", "bin/activate.fish": "", "bin/deactivate.bat": "", "bin/gunicorn": "#!",
        "SITE/_virtualenv.py": "", "SITE/_virtualenv.pth": "", "SITE/demo/__init__.py": "",
        "SITE/demo/__pycache__/__init__.cpython-311.pyc": "", "SITE/demo/.gitignore": "",
        "SITE/demo-1.0.dist-info/RECORD": record, "SITE/demo-1.0.dist-info/INSTALLER": "uv",
        "SITE/demo-1.0.dist-info/REQUESTED": "", "SITE/demo-1.0.dist-info/direct_url.json": "{}",
    })  # fmt: skip
    clean(made)
    assert left(made) == {
        "pyvenv.cfg", "bin/gunicorn", "SITE/demo/__init__.py", "SITE/demo/.gitignore",
        "SITE/demo-1.0.dist-info/RECORD", "SITE/demo-1.0.dist-info/INSTALLER",
    }  # fmt: skip
    assert (made.root / "pyvenv.cfg").read_text() == (
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
    )
    kept = (made.site_packages / "demo-1.0.dist-info/RECORD").read_text()
    gone = ("REQUESTED", "direct_url")
    assert kept == "".join(
        line for line in record.splitlines(keepends=True) if not any(each in line for each in gone)
    )


def test_a_record_that_names_nothing_removed_keeps_its_bits(tmp_path: Path) -> None:
    record = "demo/__init__.py,sha256=abc,0\r\ndemo-1.0.dist-info/RECORD,,\r\n"
    made = environment(tmp_path, {"SITE/demo-1.0.dist-info/RECORD": "", "pyvenv.cfg": ""})
    path = made.site_packages / "demo-1.0.dist-info/RECORD"
    path.write_bytes(record.encode())
    clean(made)
    assert path.read_bytes() == record.encode()


def test_distributions_are_those_installed(tmp_path: Path) -> None:
    made = environment(tmp_path, {
        "SITE/zeta-2.0.dist-info/METADATA": "Name: zeta\nVersion: 2.0\n",
        "SITE/alpha-1.0.dist-info/METADATA": "Name: Alpha\nVersion: 1.0\n",
    })  # fmt: skip
    found = [(name, each.metadata["Name"], each.version) for name, each in made.distributions()]
    assert found == [
        ("alpha-1.0.dist-info", "Alpha", "1.0"), ("zeta-2.0.dist-info", "zeta", "2.0"),
    ]  # fmt: skip


def test_modes_and_times_are_the_same_everywhere(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True, mode=0o700)
    for name, mode in (("run", 0o4700), ("private", 0o600), ("shared", 0o666), ("odd", 0o755)):
        (tree / "folder" / name).write_text("")
        (tree / "folder" / name).chmod(mode)
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    (tree / "link").symlink_to(outside)
    (tree / "dangling").symlink_to("nowhere")
    normalise(tree, 1_700_000_000)
    modes = {p.name: oct(p.lstat().st_mode & 0o7777) for p in [tree, *tree.rglob("*")]}
    assert modes == {
        "tree": "0o755", "folder": "0o755", "run": "0o755", "private": "0o644", "shared": "0o644",
        "odd": "0o755", "link": "0o777", "dangling": "0o777",
    }  # fmt: skip
    assert {p.lstat().st_mtime for p in [tree, *tree.rglob("*")]} == {1_700_000_000}
    assert outside.stat().st_mode & 0o777 == 0o600
    assert outside.stat().st_mtime != 1_700_000_000


@needs_python
def test_byte_code_does_not_say_where_it_was_compiled(tmp_path: Path) -> None:
    bits = []
    for place in ("here", "over there"):
        tree = tmp_path / place
        made = environment(tree, {"SITE/demo.py": "X = {'a', 'b', 'c'}\n"})
        (tree / "app.py").write_text("def f(): return 1\n")
        os.utime(tree / "app.py", (len(place), len(place)))
        compile_bytecode(tree, Path("/opt/trading/web"), PYTHON, 2, Runner())
        compiled = [
            tree / "__pycache__/app.cpython-311.pyc",
            made.site_packages / "__pycache__/demo.cpython-311.pyc",
        ]
        bits.append([path.read_bytes() for path in compiled])
    assert bits[0] == bits[1]
    assert b"/opt/trading/web/app.py" in bits[0][0]
    assert {each[4:8] for each in bits[0]} == {b"\1\0\0\0"}


@needs_python
def test_wheels_may_bring_what_does_not_compile_and_the_component_may_not(tmp_path: Path) -> None:
    environment(tmp_path, {"SITE/python2.py": "print 'x'\n"})
    (tmp_path / "app.py").write_text("x = 1\n")
    compile_bytecode(tmp_path, Path("/opt/trading/web"), PYTHON, 1, Runner())
    (tmp_path / "app.py").write_text("print 'x'\n")
    with pytest.raises(BuildError, match=r"not valid Python 3\.11") as caught:
        compile_bytecode(tmp_path, Path("/opt/trading/web"), PYTHON, 1, Runner())
    assert any("app.py" in line for line in caught.value.details)
    assert not any("python2.py" in line for line in caught.value.details)


@needs_python
def test_where_the_tree_lies_leaves_nothing_out(tmp_path: Path) -> None:
    tree = tmp_path / ".venv/site-packages/x/tests/project"
    made = environment(tree, {"SITE/demo/a.py": "", "SITE/demo/tests/b.py": ""})
    (tree / "app.py").write_text("x = 1\n")
    compile_bytecode(tree, Path("/opt/trading/web"), PYTHON, 1, Runner())
    found = sorted(path.name.partition(".")[0] for path in tree.rglob("*.pyc"))
    assert found == ["a", "app"]
    assert not (made.site_packages / "demo/tests/__pycache__").exists()


@needs_python
def test_a_module_of_the_current_folder_is_not_taken_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    environment(tree, {"SITE/demo.py": ""})
    (tmp_path / "compileall.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    compile_bytecode(Path("tree"), Path("/opt/trading/web"), PYTHON, 1, Runner())
    (compiled,) = tree.rglob("*.pyc")
    assert b"/opt/trading/web/.venv/lib/python3.11/site-packages/demo.py" in compiled.read_bytes()


@needs_python
def test_a_module_of_no_name_has_byte_code_under_another(tmp_path: Path) -> None:
    made = environment(tmp_path, {"SITE/demo/.py": "x = 1\n"})
    compile_bytecode(tmp_path, Path("/opt/trading/web"), PYTHON, 1, Runner())
    assert [each.name for each in made.site_packages.rglob("*.pyc")] == ["py.cpython-311.pyc"]


@needs_python
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_valid_module_without_byte_code_is_named(tmp_path: Path, jobs: int) -> None:
    made = environment(tmp_path, {"SITE/demo/a.py": "x = 1\n", "SITE/python2.py": "print 'x'\n"})
    # As of a full disk, there is no room for the byte code.
    (made.site_packages / "demo/__pycache__").touch()
    with pytest.raises(BuildError, match=r"demo/a\.py' has no byte code, although it is valid"):
        compile_bytecode(tmp_path, Path("/opt/trading/web"), PYTHON, jobs, Runner())


@pytest.mark.parametrize(
    ("code", "output"),
    [
        (-9, ""),
        (1, "x\nTraceback (most recent call last):\nBrokenProcessPool: abruptly\n"),
        (2, ""),
    ],
)
def test_compiling_that_is_cut_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, output: str
) -> None:
    ended = Result((), code, output.encode())
    monkeypatch.setattr(Runner, "run", lambda *_, **__: ended)
    with pytest.raises(
        BuildError, match=rf"not compiled to the end \(exit code {code}\)"
    ) as caught:
        compile_bytecode(tmp_path, Path("/opt/trading/web"), PYTHON, 2, Runner())
    assert caught.value.details == tuple(output.splitlines())


def test_build_requirements_that_are_not_locked_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling>=99", "wheel; python_version < \'3\'"]\n'
        'build-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text("def get_requires_for_build_wheel(_=None): return []\n")
    made = environment(
        tmp_path, {"SITE/hatchling-1.0.dist-info/METADATA": "Name: hatchling\nVersion: 1.0\n"}
    )
    (made.root / "bin").mkdir()
    (made.root / "bin/python").symlink_to(sys.executable)
    with pytest.raises(DependencyError, match=r"not in its lock: hatchling>=99$"):
        build_wheel(source, made, tmp_path / "out", 1, Runner())
