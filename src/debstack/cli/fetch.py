"""``debstack fetch``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.pipeline import build


@click.command(short_help="Bring sources and wheels into the cache.")
@click.option("--target", "target_name", help="Debian release to fetch for (default: the first).")
@click.option("--vendor", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of `debstack vendor` (default: vendor/, if it is there).")  # fmt: skip
@pass_project
def command(project: Project, target_name: str | None, vendor: Path | None) -> None:
    """Bring all sources and wheels of the locked release into the cache.

    Afterwards `debstack build --offline` needs no network.
    """
    target = project.target(target_name)
    release = build.open_release(project.root, project.definition, project.lock, target)
    build.fetch(release, project.definition.stack.components, project.workshop(vendor=vendor))
