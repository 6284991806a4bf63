"""``debstack unpublish``."""

from __future__ import annotations

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import show_plan
from debstack.errors import ArchiveError


@click.command(short_help="Take a release out of a channel.")
@click.argument("release")
@click.option("--channel", "channel_name", required=True, help="Channel to take it out of.")
@click.option(
    "--target", "debian", help="Debian release (default: all that the channel has it for)."
)
@click.option("--allow-empty", is_flag=True, help="Even if the channel has no other release.")
@click.option("--dry-run", is_flag=True, help="Check, show what would go, and end.")
@pass_project
def command(
    project: Project, release: str, channel_name: str, debian: str | None, allow_empty: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    """Take a release out of a channel.

    Servers then find the newest of those that are left; what they have installed stays. The
    packages that no other release needs leave the disk after the grace period.
    """
    channels = project.channels
    channel = project.channel(channel_name)
    places = [channels.place(target, channel) for target in project.targets(debian)]
    having = [
        place for place in places if release in [each.name for each in channels.releases(place)]
    ]
    if not having:
        names = " or ".join(place.suite.name for place in places)
        raise ArchiveError(f"{release} is not in {names}", hint="debstack archive list")
    # All of them first: what one suite refuses is taken out of none.
    plans = [channels.plan_unpublish(place, [release], empty=allow_empty) for place in having]
    if dry_run:
        for plan in plans:
            click.echo(show_plan(plan))
        return
    with project.page_of_what_is_done() as done:
        for place in having:
            made = channels.unpublish(place, [release], empty=allow_empty)
            done.append(made)
            click.echo(
                f"{made.suite} in {project.archive}: {release} taken out,"
                f" {len(made.dropped)} packages leave the index"
            )
