"""``debstack vendor``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import size
from debstack.pipeline import build
from debstack.pipeline.vendor import vendor


@click.command(short_help="Copy the sources and wheels of a build into a folder.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--target", "target_names", multiple=True,
              help="Debian release to build for (default: all; may be repeated).")  # fmt: skip
@pass_project
def command(project: Project, folder: Path | None, target_names: tuple[str, ...]) -> None:
    """Copy mirrors of the sources, and all wheels, into FOLDER (default: vendor/).

    With that folder the locked release builds without any network: `debstack build` looks into
    vendor/ of the project, or into what --vendor names, before it asks a server. It has no clean
    root, nor debstack's own distributions for one: before a build for another Debian release than
    this machine's, or one with --in-root, `debstack fetch` brings these, where there is a network.
    """
    place = folder or project.root / "vendor"
    targets = [project.target(name) for name in target_names] or list(
        project.definition.stack.targets
    )
    workshop = project.workshop(vendor=place)
    releases = [
        build.open_release(project.root, project.definition, project.lock, target)
        for target in targets
    ]
    for release in releases:
        build.fetch(release, project.definition.stack.components, workshop)
    done = vendor(releases, place, workshop)
    click.echo(
        f"{place} has all sources and wheels of release {project.lock.release}: {done.files} files,"
        f" {size(done.size)}, {done.added} of them new"
    )
    if done.foreign:
        project.log.warn(
            f"{len(done.foreign)} files in it belong to other releases, such as {done.foreign[0]}"
        )
