"""Reading what uv resolved, and the command line that asks it; no index is needed here."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from debstack.errors import DependencyError
from debstack.model.definition import Target
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import LockedWheel
from debstack.process import Runner
from debstack.steps import resolve as resolve_module
from debstack.steps.resolve import command, read_pylock, resolve

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")
SHA = "a" * 64
IDNA = LockedWheel("idna", "3.7", "idna-3.7-py3-none-any.whl", SHA, 66836)


def pylock(package: str) -> str:
    return f'lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\n{package}\n'


def wheel(filename: str, hashes: str = f'{{ sha256 = "{SHA}" }}') -> str:
    return f'{{ url = "https://example.org/aa/{filename}", size = 66836, hashes = {hashes} }}'


def test_the_command_asks_for_wheels_of_the_target_only() -> None:
    line = command("uv", ["a.in"], TARGET, Path("/x/pylock.toml"))
    assert line[:4] == ["uv", "pip", "compile", "a.in"]
    pairs = dict(itertools.pairwise(line))
    assert pairs["--python-version"] == "3.11"
    assert pairs["--python-platform"] == "x86_64-manylinux_2_36"
    assert pairs["--only-binary"] == ":all:"


@pytest.mark.parametrize(
    "source",
    [
        f'[{wheel("idna-3.7-py3-none-any.whl")}]',
        f'[{{ path = "wh/idna-3.7-py3-none-any.whl", size = 66836,'
        f' hashes = {{ sha256 = "{SHA}" }} }}]',
        f'[{{ name = "idna-3.7-py3-none-any.whl", url = "https://example.org/f?id=1", size = 66836,'
        f' hashes = {{ sha256 = "{SHA}" }} }}]',
    ],
)  # fmt: skip
def test_a_wheel_is_read_however_its_place_is_given(source: str) -> None:
    text = pylock(f'name = "Idna"\nversion = "3.7"\nwheels = {source}')
    assert read_pylock("web", text, TARGET) == (IDNA,)


def test_an_index_that_tells_no_size_is_enough() -> None:
    source = wheel("idna-3.7-py3-none-any.whl").replace("size = 66836, ", "")
    (found,) = read_pylock("web", pylock(f'name="idna"\nversion="3.7"\nwheels=[{source}]'), TARGET)
    assert found.size == 0


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ('version = "1"\nsdist = { url = "https://h/idna-1.tar.gz" }', "idna 1: no wheel for"),
        (f'version = "3.7"\nwheels = [{wheel("idna-3.7-py3-none-any.whl", "{}")}]',
         "gives no sha256 of idna-3.7-py3-none-any.whl"),
        (f'version = "3.7"\nwheels = [{wheel("other-3.7-py3-none-any.whl")}]', "is not its wheel"),
        (f'version = "3.7"\nwheels = [{wheel("idna-3.7-cp312-cp312-manylinux_2_17_x86_64.whl")}]',
         "does not run on Python 3.11, x86_64-manylinux_2_36"),
        (f'version = "3.7"\nwheels = [{wheel("idna-3.7-cp311-cp311-manylinux_2_40_x86_64.whl")}]',
         "does not run on"),
        ('vcs = { type = "git" }', "idna: has no version"),
    ],
)  # fmt: skip
def test_what_cannot_be_locked_is_named_with_advice(package: str, message: str) -> None:
    with pytest.raises(DependencyError) as raised:
        read_pylock("web", pylock(f'name = "idna"\n{package}'), TARGET)
    assert raised.value.message.startswith("web: 1 distribution(s)")
    assert message in raised.value.details[0]
    assert "has a wheel for this target" in raised.value.hint


def test_of_several_wheels_the_one_that_pip_would_install_is_taken() -> None:
    tags = ("py3-none-any", "cp38-abi3-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64")
    offered = ", ".join(wheel(f"idna-3.7-{tag}.whl") for tag in tags)
    text = pylock(f'name = "idna"\nversion = "3.7"\nwheels = [{offered}]')
    (found,) = read_pylock("web", text, TARGET)
    assert found.filename == "idna-3.7-cp311-cp311-manylinux_2_28_x86_64.whl"


def test_nothing_asked_for_is_nothing_found_without_any_program() -> None:
    assert resolve("web", RequirementInputs(), TARGET, Runner()) == ()


def fake_uv(folder: Path, body: str) -> Path:
    program = folder / "uv"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("upgrade", "offered"), [(False, True), (True, False)])
def test_previous_versions_are_offered_unless_upgrading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrade: bool, offered: bool
) -> None:
    seen = tmp_path / "seen"
    # The output file is the word after --output-file; what is in it before is the preference.
    body = (
        'while [ "$1" != --output-file ]; do shift; done\n'
        f'cp "$2" {seen} 2>/dev/null || : > {seen}\nprintf "lock-version = \\"1.0\\"\\n" > "$2"'
    )
    program = fake_uv(tmp_path, body)
    monkeypatch.setattr(resolve_module, "find_uv", lambda: program)
    inputs = RequirementInputs({"r.txt": "idna\n"}, ("r.txt",), ("anyio",))
    resolve("web", inputs, TARGET, Runner(), previous=(IDNA,), upgrade=upgrade)
    assert ('name = "idna"\nversion = "3.7"' in seen.read_text()) is offered


def test_all_inputs_reach_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_uv(
        tmp_path, f"cat $3 $4 > {tmp_path}/seen; ls -R tree >> {tmp_path}/seen; exit 1"
    )
    monkeypatch.setattr(resolve_module, "find_uv", lambda: program)
    inputs = RequirementInputs(
        {"req/r.txt": "-c c.txt\nidna\n", "req/c.txt": ""}, ("req/r.txt",), ("anyio",)
    )
    with pytest.raises(DependencyError, match="web: the requirements cannot be resolved"):
        resolve("web", inputs, TARGET, Runner())
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("-c c.txt\nidna\nanyio\n")
    assert "c.txt\nr.txt" in seen


def test_a_distribution_without_a_wheel_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_uv(tmp_path, "echo 'hint: Wheels are required for `docopt` because' >&2; exit 1")
    monkeypatch.setattr(resolve_module, "find_uv", lambda: program)
    with pytest.raises(DependencyError) as raised:
        resolve("web", RequirementInputs(requirements=("docopt",)), TARGET, Runner())
    assert raised.value.message == "web: no wheel for bookworm of docopt"
    assert "index of your own" in raised.value.hint
