"""``debstack fetch``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.pipeline import build
from debstack.pipeline.rooted import needs_root, prepare


@click.command(short_help="Bring sources and wheels into the cache.")
@click.option("--target", "target_name", metavar="NAME|all",
              help="Debian release to fetch for (default: this machine's).")  # fmt: skip
@click.option("--in-root", is_flag=True,
              help="Make a clean root even of this machine's release.")  # fmt: skip
@click.option("--vendor", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of `debstack vendor` (default: vendor/, if it is there).")  # fmt: skip
@pass_project
def command(project: Project, target_name: str | None, in_root: bool, vendor: Path | None) -> None:
    """Bring all sources and wheels of the locked release into the cache.

    For another Debian release than this machine's also the root that it is built in, with --in-root
    for this machine's too. Afterwards `debstack build --offline` needs no network, with the same
    --target and --in-root.
    """
    workshop = project.workshop(vendor=vendor)
    for target in project.chosen(target_name):
        release = build.open_release(project.root, project.definition, project.lock, target)
        build.fetch(release, project.definition.stack.components, workshop)
        if in_root or needs_root(target):
            prepare(target, workshop)
