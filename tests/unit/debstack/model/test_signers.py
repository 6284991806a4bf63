"""Who signs and whom servers trust, and the only order in which that changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack.errors import DefinitionError, SigningError
from debstack.model.signers import (
    PACKAGE,
    REPOSITORY,
    Role,
    Signers,
    Stage,
    next_role,
    read_signers,
    signers_path,
    signers_text,
)

OLD, NEW, OTHER = "A" * 40, "B" * 40, "C" * 40
SETTLED = Role((OLD,), (OLD,))
TRUST = Role((OLD,), (OLD, NEW))
BOTH = Role((OLD, NEW), (OLD, NEW))
SIGNS_NEW = Role((NEW,), (OLD, NEW))
DROPPED = Role((NEW,), (NEW,))


def write(project: Path, text: str) -> Path:
    path = signers_path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return project


def problems(project: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionError) as raised:
        read_signers(write(project, text))
    assert {each.file for each in raised.value.problems} == {"packaging/keys/keys.toml"}
    return [(each.key, each.message) for each in raised.value.problems]


def table(name: str, role: Role) -> str:
    return signers_text(Signers({name: role})).partition("\n\n")[2]


@pytest.mark.parametrize("role", [SETTLED, TRUST, BOTH, SIGNS_NEW, DROPPED])
def test_what_is_written_is_read(tmp_path: Path, role: Role) -> None:
    signers = Signers({PACKAGE: Role((OTHER,), (OTHER,)), REPOSITORY: role})
    assert read_signers(write(tmp_path, signers_text(signers))) == signers


def test_a_project_without_keys_has_no_roles(tmp_path: Path) -> None:
    assert read_signers(tmp_path) == Signers()


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[package", "", "not TOML"),
        ("package = 1", "package", "not a table"),
        (f'[package]\nsign = ["{OLD}"]', "package", "not a table"),
        (f'[package]\nsign = "{OLD}"\ntrust = ["{OLD}"]', "package.sign", "full fingerprints"),
        ('[package]\nsign = [1]\ntrust = ["x"]', "package.sign", "full fingerprints"),
        (f'[package]\nsign = ["{OLD.lower()}"]\ntrust = []', "package.sign", "full fingerprints"),
        (table("repository", Role((), ())), "repository", "no stage"),
        (table("repository", Role((OLD,), ())), "repository", "no stage"),
        (table("repository", Role((NEW,), (OLD,))), "repository", "no stage"),
        (table("repository", Role((NEW, OLD), (OLD, NEW))), "repository", "no stage"),
        (table("repository", Role((OLD,), (OLD, NEW, OTHER))), "repository", "no stage"),
        (table("repository", Role((OLD,), (OLD, OLD))), "repository", "no stage"),
        (table("package", BOTH), "package", "no stage"),
        (table("package", SETTLED) + table("repository", SETTLED), "repository", "is a key of pac"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, key: str, message: str) -> None:
    found = problems(tmp_path, text)
    assert found[0][0] == key
    assert message in found[0][1]


@pytest.mark.parametrize("target", ["real.toml", "gone.toml"])
def test_the_file_of_keys_lies_there_itself(tmp_path: Path, target: str) -> None:
    """A link that leads nowhere must not mean that the project names no keys."""
    file = signers_path(write(tmp_path, signers_text(Signers({REPOSITORY: SETTLED}))))
    file.rename(tmp_path / "real.toml")
    file.symlink_to(tmp_path / target)
    with pytest.raises(DefinitionError) as raised:
        read_signers(tmp_path)
    assert [each.message for each in raised.value.problems] == [
        "is not a regular file of packaging/"
    ]


def test_roles_are_channels() -> None:
    signers = Signers({PACKAGE: SETTLED, "prod": SETTLED})
    signers.require_channels(["staging", "prod"])
    with pytest.raises(DefinitionError, match="1 problem") as raised:
        signers.require_channels(["staging"])
    assert raised.value.problems[0].key == "prod"


def test_the_order_of_a_repository_key() -> None:
    steps = [
        (Stage.TRUST, TRUST),
        (Stage.BOTH, BOTH),
        (Stage.NEW, SIGNS_NEW),
        (Stage.DROP, DROPPED),
    ]
    role = SETTLED
    for step, after in steps:
        role = next_role(REPOSITORY, role, step, NEW)
        assert role == after
        assert role.stage is (Stage.SETTLED if step is Stage.DROP else step)


def test_a_package_has_one_signature_so_its_key_skips_a_step() -> None:
    assert next_role(PACKAGE, TRUST, Stage.NEW) == SIGNS_NEW
    with pytest.raises(SigningError, match="the next step is 'new', not 'both'"):
        next_role(PACKAGE, TRUST, Stage.BOTH)


@pytest.mark.parametrize(
    ("role", "wrong", "right"),
    [
        (SETTLED, Stage.NEW, "trust --to FINGERPRINT"),
        (TRUST, Stage.NEW, "both"),
        (TRUST, Stage.DROP, "both"),
        (TRUST, Stage.TRUST, "both"),
        (BOTH, Stage.DROP, "new"),
        (SIGNS_NEW, Stage.TRUST, "drop"),
    ],
)
def test_no_step_can_be_left_out(role: Role, wrong: Stage, right: str) -> None:
    with pytest.raises(SigningError) as raised:
        next_role(REPOSITORY, role, wrong, NEW)
    assert raised.value.hint == f"debstack key rotate repository --step {right}"
