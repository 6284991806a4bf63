"""``debstack archive``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from debstack.archive.catalogue import ReleaseEntry, SuiteEntry, catalogue
from debstack.cli.project import Project, pass_project
from debstack.cli.table import size, table
from debstack.errors import ArchiveError
from debstack.pipeline import page
from debstack.pipeline.tools import publish_tools

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="See what is in the apt repository, and verify it.")
def command() -> None:
    """See what is in the apt repository, and verify it."""


@command.command("list", short_help="List the releases of every channel.")
@_JSON
@pass_project
def list_(project: Project, as_json: bool) -> None:
    """List the releases of every channel, the newest first."""
    suites = catalogue(project.channels.publisher.tree)
    if as_json:
        click.echo(_document([asdict(each) for each in suites]))
        return
    for suite in suites:
        click.echo(_head(suite))
        rows = [
            (f"  {each.release}", _moment(each.published), str(len(each.files)), size(each.size))
            for each in suite.releases
        ]
        if rows:
            click.echo(table(("  release", "here since", "packages", "size"), rows, (2, 3)))


@command.command(short_help="Show one release: where it is, its commits, its packages.")
@click.argument("release")
@_JSON
@pass_project
def show(project: Project, release: str, as_json: bool) -> None:
    """Show one release: which channels have it since when, its commits, its packages."""
    found = [
        (suite, each)
        for suite in catalogue(project.channels.publisher.tree)
        for each in suite.releases
        if each.release == release
    ]
    if not found:
        raise ArchiveError(
            f"{release} is in no channel", hint="see what there is: debstack archive list"
        )
    if as_json:
        click.echo(_document([asdict(each) | {"suite": suite.suite} for suite, each in found]))
        return
    for suite, entry in found:
        click.echo(f"{suite.suite}: since {_moment(entry.published)}, {size(entry.size)}")
    targets: dict[tuple[str, ...], ReleaseEntry] = {}
    for _, entry in found:
        targets.setdefault(tuple(file.filename for file in entry.files), entry)
    for name, commit in found[0][1].commits.items():
        click.echo(f"{name}: commit {commit}")
    for entry in targets.values():
        rows = [(each.filename, size(each.size), each.sha256) for each in entry.files]
        click.echo(table(("file", "size", "sha256"), rows, (1,)))


@command.command("page", short_help="Make index.html anew.")
@pass_project
def page_(project: Project) -> None:
    """Make index.html anew, which shows people what the channels have.

    Every command that changes a channel does it, too.
    """
    written = page.write(project.channels.publisher.tree, project.definition, project.runner)
    click.echo(written)


@command.command(short_help="Offer debstack's own package to build machines.")
@click.argument("debs", nargs=-1, metavar="[DEB]...",
                type=click.Path(exists=True, dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--remove", "versions", multiple=True, metavar="VERSION",
              help="Take a version out instead; may be given several times.")  # fmt: skip
@click.option(
    "--target", "target_name", help="Debian release that it is for (default: this machine's own)."
)
@pass_project
def tool(
    project: Project, debs: tuple[Path, ...], versions: tuple[str, ...], target_name: str | None
) -> None:
    """Sign what `make self-deb` made, and publish it in the suite TARGET-tools.

    Build machines install debstack from there. The suite has no releases: `promote`, `retain` and
    `unpublish` pass over it, `refresh` and `archive verify` do not. What is removed stays on the
    disk for the grace period, and on the machines that have installed it.
    """
    if bool(debs) == bool(versions):
        raise click.UsageError("name packages to publish, or versions with --remove")
    target = project.target(target_name) if target_name else project.chosen(None)[0]
    if versions:
        done = project.channels.remove_tools(target, versions)
        what = f"{', '.join(versions)} taken out, {len(done.dropped)} packages leave the index"
    else:
        done = publish_tools(debs, target, project.keys.package, project.channels, project.runner)
        what = "unchanged" if done.unchanged else f"{len(done.added)} packages added"
    click.echo(f"{done.suite} in {project.archive}: {what}")
    project.write_page()


@command.command(short_help="Verify every file, signature and index, and ask apt.")
@_JSON
@pass_project
def verify(project: Project, as_json: bool) -> None:
    """Verify every file, signature and index, and ask apt.

    Hashes everything again: packages, indexes, by-hash files, of older indexes too. Verifies the
    signatures of indexes and of the packages on offer, the dates, and that a real apt can install
    every release of every channel in its exact versions. Exit code 11 if a client could be harmed.
    """
    channels = project.channels
    findings = channels.verify()
    if as_json:
        click.echo(_document([asdict(each) for each in findings]))
    else:
        for each in findings:
            if not each.harmful:
                click.echo(f"note: {each.place}: {each.problem}")
    harmful = [each for each in findings if each.harmful]
    if harmful:
        raise ArchiveError(
            f"{len(harmful)} thing{'s' if len(harmful) != 1 else ''} wrong with {project.archive}",
            hint="do what a line names; restore what is damaged from dist/ or a backup; then"
            " verify again",
            details=[f"{each.place}: {each.problem}" for each in harmful],
        )
    if not as_json:
        for suite in catalogue(channels.publisher.tree):
            click.echo(f"good: {_head(suite)}, {len(suite.releases)} releases")


def _head(suite: SuiteEntry) -> str:
    signers = ", ".join(each[-16:] for each in suite.signers)
    return (
        f"{suite.suite}: generation {suite.generation} of {_moment(suite.published)}, valid until"
        f" {_moment(suite.valid_until)}, signed by {signers}"
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _document(data: object) -> str:
    return json.dumps(data, indent=2, default=lambda value: value.isoformat())
