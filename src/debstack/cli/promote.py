"""``debstack promote``."""

from __future__ import annotations

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import show_plan
from debstack.errors import ArchiveError


@click.command(short_help="Offer a release of one channel in another one.")
@click.argument("release")
@click.option("--from", "source_name", default="staging", show_default=True,
              help="Channel that has the release.")  # fmt: skip
@click.option("--to", "target_name", default="prod", show_default=True,
              help="Channel that is to have it too.")  # fmt: skip
@click.option(
    "--target", "debian", help="Debian release (default: all that the channel has it for)."
)
@click.option("--dry-run", is_flag=True, help="Check, show what would change, and end.")
@pass_project
def command(
    project: Project, release: str, source_name: str, target_name: str, debian: str | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Offer a release of one channel in another one, the very same files.

    RELEASE is a release's id, such as 2026.11.23.1. It has to be in the first channel. Its packages
    are hashed and their signatures are verified again; a production channel accepts no development
    key.
    """
    channels = project.channels
    source, goal = project.channel(source_name), project.channel(target_name)
    if source == goal:
        raise click.BadParameter("both channels are the same")
    pairs = [
        (channels.place(target, source), channels.place(target, goal))
        for target in project.targets(debian)
    ]
    offering = {
        place.suite.name: [each.name for each in channels.releases(place)] for place, _ in pairs
    }
    having = [pair for pair in pairs if release in offering[pair[0].suite.name]]
    if not having:
        raise ArchiveError(
            f"{release} is not in {' or '.join(offering)}: it was never published there, or was"
            " taken out",
            hint=f"debstack publish dist/{release} --channel {source.name}",
            details=[
                f"{suite} has {', '.join(names) or 'none'}" for suite, names in offering.items()
            ],
        )
    with project.page_of_what_is_done() as done:
        for place, wanted in having:
            if dry_run:
                click.echo(show_plan(channels.plan_promote(release, place, wanted)))
                continue
            made = channels.promote(release, place, wanted)
            done.append(made)
            what = "unchanged" if made.unchanged else f"{release}, {len(made.added)} packages added"
            click.echo(f"{made.suite} in {project.archive}: {what}")
            newer = channels.newer(release, wanted)
            if newer:
                project.log.warn(
                    f"{made.suite} offers {newer} too, which is newer and which servers prefer; to"
                    f" go back, take it out: debstack unpublish {newer} --channel {goal.name}"
                )
