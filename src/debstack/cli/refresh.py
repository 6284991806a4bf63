"""``debstack refresh``."""

from __future__ import annotations

import click

from debstack.cli.project import Project, pass_project
from debstack.model.definition import TOOLS, Channel
from debstack.pipeline.each_suite import demand_no_failure


@click.command(short_help="Sign the channels anew before they expire.")
@click.option("--channel", "channel_name", help="Channel to sign, or tools (default: all of them).")
@click.option("--force", is_flag=True, help="Even if more than half of the validity is left.")
@click.option("--dry-run", is_flag=True, help="Show which would be signed, and end.")
@pass_project
def command(project: Project, channel_name: str | None, force: bool, dry_run: bool) -> None:
    """Sign the channels anew before they expire; what they offer stays the same.

    A channel is signed when half of its validity is over, when other keys are to sign it, or when
    its description changed. Run it once a week, and copy the repository afterwards. One that
    cannot be signed is an error at the end, after the others; with a channel's key on another
    machine, name on each what it signs. `tools` is the suite of debstack's own package.
    """
    channels = project.channels
    channel = _channel(project, channel_name) if channel_name else None
    if dry_run:
        plans, failures = channels.plan_refresh(force=force, channel=channel)
        for plan in plans:
            click.echo(f"{plan.suite.name}: {plan.reason or 'nothing to do'}")
        demand_no_failure("cannot be signed", failures)
        return
    signed, failures = channels.refresh(force=force, channel=channel)
    for done in signed:
        what = "unchanged" if done.unchanged else f"signed, generation {done.generation}"
        click.echo(f"{done.suite} in {project.archive}: {what}")
    project.write_page()
    demand_no_failure("not signed", failures)


def _channel(project: Project, name: str) -> Channel:
    return TOOLS if name == TOOLS.name else project.channel(name)
