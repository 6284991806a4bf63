"""``debstack source``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import size, table
from debstack.pipeline import build
from debstack.pipeline.source import discard_unfinished, source


@click.command(short_help="Write Debian source packages, for a build farm.")
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@click.option("--target", "target_names", multiple=True,
              help="Debian release to build for (default: all; may be repeated).")  # fmt: skip
@click.option("--vendor", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of `debstack vendor` (default: vendor/, if it is there).")  # fmt: skip
@pass_project
def command(
    project: Project, packages: tuple[str, ...], target_names: tuple[str, ...], vendor: Path | None
) -> None:
    """Write the release's source packages (or only PACKAGE...) into dist/source/<release>/<target>.

    They hold the commits' files, every wheel, uv and debstack itself: `dpkg-buildpackage` and
    `sbuild` make the same unsigned packages from them, without a network and without debstack.
    """
    workshop = project.workshop(vendor=vendor)
    targets = [project.target(name) for name in target_names] or list(
        project.definition.stack.targets
    )
    releases = [
        build.open_release(project.root, project.definition, project.lock, target)
        for target in targets
    ]
    written = []
    sources_folder = project.folders.dist / "source"
    with build.locked(project.folders, project.log):
        discard_unfinished(sources_folder)
        for release in releases:
            actions = build.plan(release, project.folders, project.keys, packages)
            sources = build.fetch(release, [each.package for each in actions], workshop)
            folder = sources_folder / project.lock.release / release.target.name
            for action in actions:
                parts = build.parts(release, project.keys, action, sources, workshop)
                with project.log.step(action.package, f"source package for {release.target.name}"):
                    written.append(source(release, parts, folder, workshop))
    rows = [(each.package, size(each.size), str(each.dsc)) for each in written]
    click.echo(table(("package", "size", "source package"), rows, right=(1,)))
