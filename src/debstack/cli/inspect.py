"""``debstack inspect``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from debstack import gpg, keys
from debstack.accounting.account import Account, distribution
from debstack.accounting.finding import printable
from debstack.cli.project import Project, pass_project
from debstack.cli.table import size, table
from debstack.errors import DebstackError, SigningError
from debstack.model.places import packaging_folder
from debstack.pipeline.inspect import Inspection, Trusted, inspect, keyring_of

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Show what a .deb is made of, and verify it.")
@click.argument("deb", metavar="FILE.deb", type=_FILE)
@click.option("--keyring", "keyrings", multiple=True, type=_FILE,
              help="Public key that may have signed it (may be repeated).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@pass_project
def command(project: Project, deb: Path, keyrings: tuple[Path, ...], as_json: bool) -> None:
    """Show what FILE.deb is made of and who signed it, and verify all that can be.

    The keys are those of --keyring, else the project's package key: that in packaging/keys, or its
    development key. What is in the cache, wheels and the mirror of the commit, and the files that
    lie beside FILE.deb in dist/, are compared as well; without, they are "not verified", as byte
    code always is. Nothing of what is verified is taken from the file's own word.

    Exit code: 0 if a trusted key signed it and nothing FAILED, 10 if something FAILED, 3 if nothing
    did but there was no key to verify the signature with.
    """
    with ExitStack() as stack:
        trusted = _trusted(project, keyrings, stack)
        inspection = inspect(deb, trusted, project.cache, project.runner)
    if as_json:
        click.echo(json.dumps(_document(inspection), indent=2))
    else:
        for line in _lines(inspection):
            click.echo(printable(line))
    if inspection.failures:
        what = ", ".join(each.what for each in inspection.failures)
        raise SigningError(
            f"{deb.name}: FAILED: {what}", hint="do not install it; ask who it came from"
        )
    if not inspection.signature_verified:
        raise DebstackError(
            f"{deb.name}: who signed it is not verified",
            hint="name a key you trust: debstack inspect --keyring KEY.asc FILE.deb",
        )


def _trusted(project: Project, keyrings: tuple[Path, ...], stack: ExitStack) -> Trusted | None:
    committed = packaging_folder(project.root) / "keys/package.asc"
    if keyrings:
        name = ", ".join(str(each) for each in keyrings)
        return stack.enter_context(keyring_of(list(keyrings), name, project.runner))
    if committed.is_file():
        name = "packaging/keys/package.asc"
        return stack.enter_context(keyring_of([committed], name, project.runner))
    if list((project.folders.build / "keys").glob("development-package-*.key")):
        # Not project.keys, which warns of what is about to be signed.
        development = keys.load(project.folders.build, {}, project.runner).package
        ring = stack.enter_context(gpg.signing([development], project.runner))
        return Trusted(ring.keyring, "the project's DEVELOPMENT key")
    return None


def _lines(inspection: Inspection) -> Iterator[str]:
    account = inspection.account
    if account:
        yield f"{account.package} {account.version} ({account.architecture})"
    yield f"  file        {inspection.deb.name}, {size(inspection.size)}"
    yield f"  sha256      {inspection.sha256}"
    if inspection.unsigned:
        yield f"  unsigned    {inspection.unsigned}"
    if inspection.signer:
        yield f"  signed by   {inspection.signer}"
    if account:
        yield from _account_lines(account)
    yield ""
    rows = [(each.what, each.state, each.detail) for each in inspection.findings]
    yield from _table(("check", "", ""), rows)


def _account_lines(account: Account) -> Iterator[str]:
    if account.locked:
        moment = datetime.fromtimestamp(account.locked.timestamp, UTC)
        target = f", for {account.target}" if account.target else ""
        yield f"  release     {account.locked.changed_in}, locked {moment:%Y-%m-%d %H:%M}{target}"
    if account.component:
        yield f"  commit      {account.commit}"
        yield f"  repository  {account.component.url}, ref {account.component.ref}"
        yield f"  tree        sha256 {account.component.tree}"
    wheels = account.requirements.wheels if account.requirements else ()
    if wheels:
        licences = account.licences()
        rows = [
            (each.name, each.version, licences.get(distribution(each.name, each.version), ""),
             each.sha256, each.filename)
            for each in wheels
        ]  # fmt: skip
        yield ""
        yield from _table(("wheel", "version", "licence", "sha256", "file"), rows)


def _table(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from table(head, [[printable(cell) for cell in row] for row in rows]).splitlines()


def _document(inspection: Inspection) -> dict[str, object]:
    account = inspection.account
    described: dict[str, object] = {}
    if account:
        licences = account.licences()
        wheels = account.requirements.wheels if account.requirements else ()
        described = {
            "package": account.package,
            "version": account.version,
            "architecture": account.architecture,
            "commit": account.commit,
            "repository": account.component.url if account.component else "",
            "release": account.locked.changed_in if account.locked else "",
            "wheels": [
                {**asdict(each), "licence": licences.get(distribution(each.name, each.version), "")}
                for each in wheels
            ],
        }
    return {
        **described,
        "file": inspection.deb.name,
        "size": inspection.size,
        "sha256": inspection.sha256,
        "unsigned_sha256": inspection.unsigned,
        "signer": inspection.signer,
        "checks": [asdict(each) for each in inspection.findings],
    }
