"""Making and replacing keys with the real gpg: by command, with what the packages become."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from debstack import gpg, keys
from debstack.cli.root import debstack
from debstack.errors import DefinitionError, SigningError
from debstack.model.reading import load
from debstack.model.signers import read_signers
from debstack.pipeline.keyring import public_halves, trusted_keys
from debstack.pipeline.packages import input_digest
from debstack.process import SYSTEM_PATH, Runner

pytestmark = pytest.mark.build
RUNNER = Runner()
ROOT = Path(__file__).parents[2]
if shutil.which("gpg", path=SYSTEM_PATH) is None:
    pytest.skip("gpg is not installed", allow_module_level=True)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a user's GnuPG home, which the commands use."""
    with gpg.throwaway_home(RUNNER) as path:
        monkeypatch.setenv("GNUPGHOME", str(path))
        for name in ("DEBSTACK_PACKAGE_KEY", "DEBSTACK_REPO_KEY"):
            monkeypatch.delenv(name, raising=False)
        yield path


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Path:
    """Give a project that names no keys."""
    shutil.copytree(ROOT / "packaging", tmp_path / "packaging", symlinks=True)
    shutil.rmtree(tmp_path / "packaging" / "keys", ignore_errors=True)
    return tmp_path


def key(project: Path, *words: str) -> Result:
    command = ["--project", str(project), "key", *words]
    return CliRunner().invoke(debstack, command)


def new(project: Path, role: str, *options: str) -> str:
    """Make a key and return its fingerprint."""
    made = key(project, "new", role, *(options or ("--no-passphrase",)))
    assert made.exit_code == 0, made.output
    return made.output.split()[0]


def step(project: Path, role: str, name: str, *options: str) -> str:
    """Take a step and return what is said."""
    taken = key(project, "rotate", role, "--step", name, *options)
    assert taken.exit_code == 0, taken.exception
    return taken.output


def digests(project: Path) -> dict[str, str]:
    definition = load(project)
    target = definition.stack.targets[0]
    names = ("traderunner-archive-keyring", "traderunner-common")
    return {each: input_digest(project, each, definition, None, target) for each in names}


def loaded(project: Path) -> keys.Keys:
    return keys.load(project / "build", os.environ, RUNNER, read_signers(project))


def private_files(project: Path) -> list[Path]:
    files = (path for path in project.rglob("*") if path.is_file())
    return [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


def test_first_keys_sign_from_now_on(project: Path, home: Path) -> None:
    package = new(project, "package")
    with pytest.raises(SigningError, match="names no repository key"):
        loaded(project)
    repository = new(project, "repository")
    found = loaded(project)
    assert (found.package.fingerprint, found.repository.fingerprint) == (package, repository)
    assert set(trusted_keys(project, found, RUNNER)["package"]) == {package}
    listed = key(project, "list").output
    assert [line.split() for line in listed.splitlines()[1:]] == [
        ["package", package, "yes", "ready"],
        ["repository", repository, "yes", "ready"],
    ]
    assert private_files(project) == []
    assert f"openpgp-revocs.d/{package}.rev" in {
        path.relative_to(home).as_posix() for path in home.rglob("*.rev")
    }


def test_a_home_in_the_project_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNUPGHOME", str(project / "gnupg"))
    refused = key(project, "new", "package", "--no-passphrase")
    assert isinstance(refused.exception, SigningError)
    assert "private keys are never in its tree" in refused.exception.message
    assert not (project / "gnupg").exists()


def test_a_private_key_in_the_tree_is_found(project: Path, home: Path) -> None:
    fingerprint = new(project, "package")
    export: list[str | Path] = ["gpg", "--homedir", home, "--armor", "--export-secret-keys"]
    text = RUNNER.capture([*export, fingerprint]).stdout
    (project / "packaging/secret.txt").write_bytes(text)
    assert "holds a PRIVATE key" in key(project, "list").stderr
    (project / "packaging/keys/package.asc").write_bytes(text)
    with pytest.raises(SigningError, match="holds a SECRET key"):
        gpg.read_public(project / "packaging/keys/package.asc", RUNNER)


def test_the_repository_key_is_replaced(project: Path) -> None:
    new(project, "package")
    old, fresh = new(project, "repository"), new(project, "repository")
    assert loaded(project).repository.fingerprint == old, "a second key waits"
    before = digests(project)
    signers, trusted = [], []
    for name, options in (("trust", ("--to", fresh)), ("both", ()), ("new", ()), ("drop", ())):
        said = step(project, "repository", name, *options)
        assert "then: " in said
        found = loaded(project)
        signers.append([each.fingerprint for each in found.signers("prod")])
        trusted.append(list(trusted_keys(project, found, RUNNER)["repository"]))
    assert signers == [[old], [old, fresh], [fresh], [fresh]]
    assert trusted == [[old, fresh], [old, fresh], [old, fresh], [fresh]]
    after = digests(project)
    assert after["traderunner-common"] == before["traderunner-common"]
    assert after["traderunner-archive-keyring"] != before["traderunner-archive-keyring"]


def test_signing_with_both_keys_makes_no_new_package(project: Path) -> None:
    new(project, "package")
    new(project, "repository")
    step(project, "repository", "trust", "--to", new(project, "repository"))
    before = digests(project)
    step(project, "repository", "both")
    step(project, "repository", "new")
    assert digests(project) == before


def test_the_package_key_is_replaced(project: Path) -> None:
    old = new(project, "package")
    new(project, "repository")
    before = digests(project)
    fresh = new(project, "package", "--no-passphrase", "--name", "New <ops@example.org>")
    step(project, "package", "trust", "--to", fresh)
    introduced = digests(project)
    assert introduced["traderunner-common"] == before["traderunner-common"]
    assert introduced["traderunner-archive-keyring"] != before["traderunner-archive-keyring"]
    step(project, "package", "new")
    replaced = digests(project)
    assert replaced["traderunner-common"] != before["traderunner-common"], "it is signed anew"
    assert replaced["traderunner-archive-keyring"] == introduced["traderunner-archive-keyring"]
    found = loaded(project)
    assert found.of_package(keyring=False).fingerprint == fresh
    assert found.of_package(keyring=True).fingerprint == old
    assert set(trusted_keys(project, found, RUNNER)["package"]) == {old, fresh}
    step(project, "package", "drop")
    assert loaded(project).of_package(keyring=True).fingerprint == fresh
    assert digests(project)["traderunner-common"] == replaced["traderunner-common"]


def test_a_step_that_cannot_be_taken_changes_nothing(project: Path, home: Path) -> None:
    new(project, "package")
    repository = new(project, "repository")
    folder = project / "packaging/keys"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for words, message in (
        (("--step", "new"), "next step is 'trust'"),
        (("--step", "trust", "--to", "D" * 40), "no key D"),
        (("--step", "trust", "--to", repository), "is a key of repository already"),
        (("--step", "trust", "--to", "abc"), "not a full fingerprint"),
    ):
        refused = key(project, "rotate", "repository", *words)
        assert isinstance(refused.exception, SigningError), refused.output
        assert message in refused.exception.message
        assert refused.exception.hint
    assert key(project, "rotate", "repository", "--step", "trust").exit_code == 2
    assert key(project, "rotate", "nobody").exit_code == 2
    assert "repository" in key(project, "rotate", "repository").output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_files_that_do_not_agree_are_refused(project: Path) -> None:
    new(project, "package")
    new(project, "repository")
    files = project / "packaging/keys"
    (files / "repository.asc").write_bytes(
        (files / "repository.asc").read_bytes() + (files / "package.asc").read_bytes()
    )
    with pytest.raises(SigningError, match="does not hold the keys that"):
        public_halves(project, loaded(project), RUNNER)
    (files / "keys.toml").write_text("[x]\n")
    with pytest.raises(DefinitionError):
        loaded(project)


def test_keys_that_were_committed_by_hand_are_taken_over(project: Path, home: Path) -> None:
    package, repository = new(project, "package"), new(project, "repository")
    (project / "packaging/keys/keys.toml").unlink()
    fresh = new(project, "repository")
    step(project, "repository", "trust", "--to", fresh)
    assert read_signers(project).roles["package"].sign == (package,)
    assert read_signers(project).roles["repository"].trust == (repository, fresh)


def test_of_several_keys_committed_by_hand_none_is_guessed_to_sign(project: Path) -> None:
    new(project, "package")
    new(project, "repository")
    step(project, "repository", "trust", "--to", new(project, "repository"))
    (project / "packaging/keys/keys.toml").unlink()
    refused = key(project, "rotate", "repository")
    assert isinstance(refused.exception, SigningError)
    assert "holds 2 keys" in refused.exception.message


def test_a_channel_may_have_a_key_of_its_own(project: Path) -> None:
    new(project, "package")
    repository = new(project, "repository")
    made = key(project, "new", "prod", "--no-passphrase")
    assert "Signed-By: /usr/share/keyrings/traderunner-archive-keyring-prod.pgp" in made.output
    prod = made.output.split()[0]
    found = loaded(project)
    assert [each.fingerprint for each in found.signers("prod")] == [prod]
    assert [each.fingerprint for each in found.signers("staging")] == [repository]
    halves = public_halves(project, found, RUNNER)
    assert len({*halves.values()}) == 3


def test_a_channel_that_servers_follow_gets_no_key_that_they_do_not_know(
    project: Path, home: Path
) -> None:
    new(project, "package")
    new(project, "repository")
    (project / "dist/apt/.gen/bookworm-prod/1").mkdir(parents=True)
    before = sorted(home.rglob("*.key")), read_signers(project)
    refused = key(project, "new", "prod", "--no-passphrase")
    assert isinstance(refused.exception, SigningError)
    assert "bookworm-prod is published already" in refused.exception.message
    assert "add a channel" in refused.exception.hint
    assert (sorted(home.rglob("*.key")), read_signers(project)) == before
    assert "is going to refuse it" in key(project, "new", "staging", "--no-passphrase").stderr


# Passphrases.


def clear(project: Path) -> str:
    """Sign with the repository keys and return who did."""
    found = loaded(project)
    with gpg.signing(found.signers("staging"), RUNNER) as ring:
        message = ring.clear(b"text\n")
        return ",".join(gpg.verify_clear(message, ring.keyring, RUNNER)[1])


def test_a_passphrase_by_file(project: Path, tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "one").write_text("correct horse")
    new(project, "package")
    old = new(project, "repository", "--passphrase-file", str(tmp_path / "one"))
    with pytest.raises(SigningError, match="passphrase"):
        clear(project)
    monkeypatch.setenv("DEBSTACK_REPO_KEY_PASSPHRASE_FILE", str(tmp_path / "one"))
    assert clear(project) == old

    passphrases = tmp_path / "passphrases"
    passphrases.mkdir()
    (tmp_path / "two").write_text("battery staple")
    fresh = new(project, "repository", "--passphrase-file", str(tmp_path / "two"))
    shutil.copy(tmp_path / "two", passphrases / fresh)
    step(project, "repository", "trust", "--to", fresh)
    step(project, "repository", "both")
    monkeypatch.setenv("DEBSTACK_PASSPHRASES", str(passphrases))
    assert sorted(clear(project).split(",")) == sorted([old, fresh])


def test_a_passphrase_by_the_agent(project: Path, home: Path, tmp_path: Path) -> None:
    pinentry = tmp_path / "pinentry"
    pinentry.write_text(
        "#!/bin/sh\necho OK\nwhile read -r word _; do\n"
        '    [ "$word" = GETPIN ] && echo "D correct horse"\n    echo OK\ndone\n'
    )
    pinentry.chmod(0o755)
    (home / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
    new(project, "package")
    asked = key(project, "new", "repository")
    assert asked.exit_code == 0, asked.exception
    assert clear(project) == asked.output.split()[0]


def test_without_anybody_to_ask_the_ways_are_named(project: Path, home: Path) -> None:
    (home / "gpg-agent.conf").write_text("pinentry-program /bin/false\n")
    refused = key(project, "new", "package")
    assert isinstance(refused.exception, SigningError)
    assert refused.exception.hint == "name --passphrase-file FILE, or --no-passphrase"
    assert not (project / "packaging/keys").exists()


def test_options_that_exclude_each_other(project: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    words = ("new", "package", "--no-passphrase", "--passphrase-file", str(tmp_path / "one"))
    assert key(project, *words).exit_code == 2
    assert click.UsageError.exit_code == 2
