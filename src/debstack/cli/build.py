"""``debstack build``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import size, table
from debstack.model.reading import load
from debstack.pipeline import build
from debstack.pipeline.dist import collect_release
from debstack.pipeline.make import Built
from debstack.pipeline.rooted import needs_root


@click.command(short_help="Build the packages of the locked release.")
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@click.option("--target", "target_name", metavar="NAME|all",
              help="Debian release to build for (default: this machine's).")  # fmt: skip
@click.option("--in-root", is_flag=True,
              help="Build in a clean root even for this machine's release.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), help="Packages built at once (default: cores).")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
@click.option("--dry-run", is_flag=True, help="Say what would be built and why; build nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show what the tools print.")
@click.option("--vendor", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of `debstack vendor` (default: vendor/, if it is there).")  # fmt: skip
@pass_project
def command(
    project: Project,
    packages: tuple[str, ...],
    target_name: str | None,
    in_root: bool,
    jobs: int | None,
    offline: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
    vendor: Path | None,
) -> None:
    """Build the packages of the locked release (or only PACKAGE...) into dist/<release>.

    What is there already with the same inputs is not built again. For another Debian release than
    this machine's it is built in a clean root of that release, and signed outside.
    """
    project.verbose |= verbose
    workshop = project.workshop(jobs=jobs, offline=offline, vendor=vendor)
    every: list[Built] = []
    load(project.root)  # Mistakes are refused before there is even a lock file.
    with build.locked(project.folders, project.log):
        # Read here: while another build is waited for, definitions and lock may be written anew.
        targets = project.chosen(target_name)
        releases = [
            build.open_release(project.root, project.definition, project.lock, target)
            for target in targets
        ]
        for release in releases:
            actions = build.plan(release, project.folders, project.keys, packages)
            if dry_run:
                _show(actions)
                continue
            needed = [action.package for action in actions if action.build]
            sources = build.fetch(release, needed, workshop)
            built = build.build(
                release, project.folders, project.keys, actions, sources, workshop,
                in_root=in_root or needs_root(release.target),
            )  # fmt: skip
            folder = collect_release(release, project.folders, project.keys, built, project.runner)
            every += built
            if not as_json:
                click.echo(_table(built))
                name = release.target.name
                click.echo(f"release {release.lock.release} for {name} is in {folder}")
    if as_json and not dry_run:
        click.echo(json.dumps([asdict(each) for each in every], indent=2))


def _show(actions: Sequence[build.Action]) -> None:
    for action in actions:
        word = "build" if action.build else "keep"
        click.echo(f"{word:<6} {action.package} {action.version}: {action.reason}")


def _table(built: Sequence[Built]) -> str:
    rows = [
        (each.package, each.version, size(each.size), size(each.installed_size),
         each.sha256, f"{each.seconds:.1f}", "built" if each.built else "cached")
        for each in built
    ]  # fmt: skip
    head = ("package", "version", "size", "installed", "sha256", "seconds", "")
    return table(head, rows, right=(2, 3, 5))
