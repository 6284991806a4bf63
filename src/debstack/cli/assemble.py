"""``debstack assemble``, which debian/rules of a source package calls."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.pipeline.unpacked import assemble_unpacked


@click.command(short_help="Make a package inside of its source package.")
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@pass_project
def command(project: Project, root: Path, folder: Path) -> None:
    """Write what the source package at ROOT ships, and the debian/ for debhelper, to FOLDER.

    debian/rules of the source packages of `debstack source` calls it; there is no other use for it.
    """
    assemble_unpacked(root.resolve(), project.root, folder.resolve(), project.workshop())
