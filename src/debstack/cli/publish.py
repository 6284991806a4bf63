"""``debstack publish``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.pipeline.publish import publish, release_files


@click.command(short_help="Publish a built release in the apt repository.")
@click.argument("release", required=False,
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@click.option("--channel", "channel_name", default="staging", show_default=True,
              help="Channel to publish to.")  # fmt: skip
@click.option("--target", "target_name", help="Debian release to publish (default: the first).")
@pass_project
def command(
    project: Project, release: Path | None, channel_name: str, target_name: str | None
) -> None:
    """Publish a built release in the apt repository dist/apt.

    RELEASE is a folder below dist/; by default the locked release's.
    """
    channels = {each.name: each for each in project.definition.stack.channels}
    if channel_name not in channels:
        raise click.BadParameter(
            f"no channel is called {channel_name}; there is {', '.join(channels)}"
        )
    target = project.target(target_name)
    folder = release or project.folders.release(project.lock.release)
    published = publish(
        project.archive,
        project.definition,
        target,
        channels[channel_name],
        release_files(folder, project.definition, target),
        project.keys,
        now=datetime.now(UTC),
        runner=project.runner,
        log=project.log,
    )
    what = "unchanged" if published.unchanged else f"{len(published.added)} packages added"
    click.echo(f"{published.suite} in {project.archive}: {what}")
