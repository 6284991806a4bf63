"""``debstack key``: make, list and replace the keys that sign."""

from __future__ import annotations

import os
from pathlib import Path

import click

from debstack import keys
from debstack.archive.tree import Tree
from debstack.cli.project import Project, pass_project
from debstack.cli.table import table
from debstack.errors import SigningError
from debstack.model.rules_stack import own_packages
from debstack.model.signers import PACKAGE, REPOSITORY, Role, Signers, Stage
from debstack.pipeline.publish import suite_of
from debstack.pipeline.rotation import (
    Bench,
    advice,
    make_key,
    private_half,
    role_of,
    roles_of,
    rotate,
)

_STEPS = [Stage.TRUST, Stage.BOTH, Stage.NEW, Stage.DROP]


@click.group(short_help="Make, list and replace the keys that sign.")
def command() -> None:
    """Make, list and replace the keys that sign.

    ROLE is `package` (signs every .deb), `repository` (signs the archive), or the name of a channel
    that is to have a repository key of its own. Private keys stay in GnuPG; what servers trust and
    who signs is written to packaging/keys.
    """


@command.command("new", short_help="Make a key in the user's GnuPG home.")
@click.argument("role")
@click.option("--name", help="User id of the key (default: the stack, the role, the maintainer).")
@click.option("--passphrase-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Protect the key with what a file holds (default: gpg asks).")  # fmt: skip
@click.option("--no-passphrase", is_flag=True, help="Do not protect the key.")
@pass_project
def new(
    project: Project, role: str, name: str | None, passphrase_file: Path | None, no_passphrase: bool
) -> None:
    """Make an ed25519 key for ROLE in the user's GnuPG home.

    It signs from now on if the role has no key yet; otherwise it waits for `debstack key rotate`.
    A channel gets a first key of its own only before it is published: its servers trust the
    repository key, and would refuse another one.
    """
    bench = _bench(project, role)
    if passphrase_file and no_passphrase:
        raise click.UsageError("--passphrase-file and --no-passphrase exclude each other")
    if role not in (PACKAGE, REPOSITORY) and role not in roles_of(bench).roles:
        _demand_unpublished(project, role)
    passphrase: list[str | Path] = ["--passphrase", ""] if no_passphrase else []
    if passphrase_file:
        passphrase = ["--passphrase-file", passphrase_file.absolute()]
    if passphrase:
        passphrase = ["--pinentry-mode", "loopback", *passphrase]
    stack = project.definition.stack
    address = stack.maintainer.rpartition("<")[2].rstrip(">")
    fingerprint, signs = make_key(
        bench, role, name or f"{stack.name} {role} key <{address}>", passphrase
    )
    click.echo(f"{fingerprint} is in {bench.home}; what revokes it, in openpgp-revocs.d there")
    click.echo(f"  now:  keep a copy elsewhere: gpg --export-secret-keys --armor {fingerprint}")
    if signs and role not in (PACKAGE, REPOSITORY):
        keyring = own_packages(stack)[0]
        project.log.warn(
            f"a server that follows {role} already, by the keyring of the repository key, is going"
            " to refuse it: a channel gets a key of its own before it is first published"
        )
        click.echo(
            f"  now:  servers that follow {role} say in their .sources:"
            f" Signed-By: /usr/share/keyrings/{keyring}-{role}.pgp"
        )
    if signs:
        click.echo("  then: git add packaging/keys; debstack lock")
    else:
        click.echo(f"  then: debstack key rotate {role} --step trust --to {fingerprint}")


@command.command("list", short_help="Show which keys sign and are trusted.")
@pass_project
def list_keys(project: Project) -> None:
    """Show the keys of each role: whether they sign, and whether they can."""
    bench = Bench(project.root, os.environ, project.runner)
    signers = roles_of(bench)
    _warn_of_private_keys(project)
    if not signers.roles:
        return _list_others(project)
    head = ("role", "fingerprint", "signs", "private key")
    rows = []
    for name, role in signers.roles.items():
        for fingerprint in role.trust:
            state = private_half(bench, name, fingerprint)
            rows.append((name, fingerprint, "yes" if fingerprint in role.sign else "no", state))
    click.echo(table(head, rows))
    for name, role in signers.roles.items():
        if role.stage is not Stage.SETTLED:
            click.echo(f"\n{_advice(project, name, role)}")
    return None


@command.command("rotate", short_help="Replace the key of a role, step by step.")
@click.argument("role")
@click.option("--step", type=click.Choice([each.value for each in _STEPS]),
              help="Take this step; without it, say where things are.")  # fmt: skip
@click.option("--to", "new_key", metavar="FINGERPRINT", help="The new key, for --step trust.")
@pass_project
def rotate_key(project: Project, role: str, step: str | None, new_key: str | None) -> None:
    """Replace the key of ROLE, step by step: trust, both (not for packages), new, drop.

    Says after each step what to do now, and when it is safe to take the next. A step changes files
    under packaging/keys and nothing else: git takes it back.
    """
    bench = _bench(project, role)
    if (step == Stage.TRUST.value) != bool(new_key):
        raise click.UsageError("--step trust and --to FINGERPRINT belong together")
    if step is None:
        now = role_of(roles_of(bench), role)
    else:
        fingerprint = keys.fingerprint_of("--to", new_key) if new_key else ""
        now = rotate(bench, role, Stage(step), fingerprint)
    click.echo(_advice(project, role, now, dropped=step == Stage.DROP.value))


def _advice(project: Project, name: str, role: Role, *, dropped: bool = False) -> str:
    keyring = own_packages(project.definition.stack)[0]
    return str(advice(name, role, keyring, dropped=dropped))


def _bench(project: Project, role: str) -> Bench:
    """Return where to work on a role, which has to be one."""
    channels = [each.name for each in project.definition.stack.channels]
    known = [PACKAGE, REPOSITORY, *channels]
    if role not in known:
        raise click.BadParameter(f"no role is called {role}; there is {', '.join(known)}")
    return Bench(project.root, os.environ, project.runner)


def _demand_unpublished(project: Project, role: str) -> None:
    """Raise SigningError if servers follow a channel by the repository key, which it is to leave.

    They would find the keyring with its own key only in the archive that they refuse from then on.
    """
    channel, tree = project.channel(role), Tree(project.archive)
    for target in project.definition.stack.targets:
        suite = suite_of(project.definition, target, channel).name
        if tree.numbers(suite):
            raise SigningError(
                f"{suite} is published already, signed by the repository key: servers that follow"
                " it would refuse what a key of its own signs",
                hint="add a channel to packaging/stack.toml, make its key, promote to it, and let"
                " the servers follow that one; or replace the key of all channels, step by step:"
                " debstack key new repository",
            )


def _list_others(project: Project) -> None:
    """Show the keys that the environment names, or those of development."""
    loaded = keys.load(project.folders.build, os.environ, project.runner, Signers())
    rows = [
        (name, key.fingerprint, "yes", "of development" if key.development else str(key.home))
        for name, key in ((PACKAGE, loaded.package), (REPOSITORY, loaded.repository))
    ]
    click.echo(table(("role", "fingerprint", "signs", "private key"), rows))


def _warn_of_private_keys(project: Project) -> None:
    for path in sorted((project.root / "packaging").rglob("*")):
        if path.is_file() and b"PRIVATE KEY BLOCK-----" in path.read_bytes():
            project.log.warn(
                f"{path} holds a PRIVATE key: take it out of the repository and its history, and"
                " replace it: debstack key rotate ROLE"
            )
