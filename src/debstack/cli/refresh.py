"""``debstack refresh``."""

from __future__ import annotations

import click

from debstack.cli.project import Project, pass_project


@click.command(short_help="Sign the channels anew before they expire.")
@click.option("--force", is_flag=True, help="Even if more than half of the validity is left.")
@click.option("--dry-run", is_flag=True, help="Show which would be signed, and end.")
@pass_project
def command(project: Project, force: bool, dry_run: bool) -> None:
    """Sign the channels anew before they expire; what they offer stays the same.

    A channel is signed when half of its validity is over, when other keys are to sign it, or when
    its description changed. Run it daily from a timer, and copy the repository afterwards.
    """
    channels = project.channels
    if dry_run:
        for plan in channels.plan_refresh(force=force):
            click.echo(f"{plan.suite.name}: {plan.reason or 'nothing to do'}")
        return
    for done in channels.refresh(force=force):
        what = "unchanged" if done.unchanged else f"signed, generation {done.generation}"
        click.echo(f"{done.suite} in {project.archive}: {what}")
    project.write_page()
