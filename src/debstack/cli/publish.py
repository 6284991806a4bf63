"""``debstack publish``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import show_plan
from debstack.pipeline.publish import read_built, targets_of


@click.command(short_help="Publish a built release in the apt repository.")
@click.argument("release", required=False,
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@click.option("--channel", "channel_name", default="staging", show_default=True,
              help="Channel to publish to.")  # fmt: skip
@click.option("--target", "target_name",
              help="Debian release to publish for (default: all it was built for).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check, show what would be published, and end.")
@pass_project
def command(
    project: Project,
    release: Path | None,
    channel_name: str,
    target_name: str | None,
    dry_run: bool,
) -> None:
    """Publish a built release in the apt repository dist/apt.

    RELEASE is the path of a built release, such as dist/2026.11.23.1; by default the locked one's.
    Releases come to a production channel by `debstack promote`.
    """
    channel = project.channel(channel_name)
    targets = project.targets(target_name)
    folder = release or project.folders.release(project.lock.release)
    if target_name is None:
        targets = targets_of(folder, project.definition)
    releases = [read_built(folder, project.definition, target) for target in targets]
    with project.page_of_what_is_done() as done:
        for built in releases:
            if dry_run:
                click.echo(show_plan(project.channels.plan_publish(built, channel)))
                continue
            published = project.channels.publish(built, channel)
            done.append(published)
            what = "unchanged" if published.unchanged else f"{len(published.added)} packages added"
            click.echo(f"{published.suite} in {project.archive}: {what}")
