"""``debstack retain``."""

from __future__ import annotations

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import table
from debstack.pipeline.each_suite import Failure, demand_no_failure


@click.command(short_help="Keep the newest releases, let the others go.")
@click.option("--keep", type=click.IntRange(min=1),
              help="How many of each channel (default: as packaging/stack.toml says).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what becomes of each release, and end.")
@pass_project
def command(project: Project, keep: int | None, dry_run: bool) -> None:
    """Keep the newest releases of every channel, and let the others go.

    Whatever its age, a release stays that is pinned in packaging/stack.toml, that a channel offers
    as its newest, or that production would go back to. What leaves an index stays on the disk for
    the grace period, so that a server with an older index can still download it; this command
    also removes what that time is over for.
    """
    channels = project.channels
    count = keep or project.definition.stack.retention.keep
    removed: list[str] = []
    failures: list[Failure] = []
    if dry_run:
        decisions = channels.plan_retain(count)
    else:
        decisions, removed, failures = channels.retain(count)
    rows = [
        (each.suite, each.release, "stays" if each.keep else "goes", each.reason)
        for each in decisions
    ]
    if rows:
        click.echo(table(("suite", "release", "", "reason"), rows))
    known = {each.release for each in decisions}
    for name in project.definition.stack.retention.pinned:
        if name not in known:
            project.log.warn(f"{name} is pinned in packaging/stack.toml, and no channel has it")
    failed = {each.suite for each in failures}
    going = sum(not each.keep and each.suite not in failed for each in decisions)
    packages = [name for name in removed if name.endswith(".deb")]
    click.echo(
        f"{going} would go" if dry_run
        else f"{going} taken out, {len(packages)} packages removed from the disk"
    )  # fmt: skip
    if not dry_run:
        project.write_page()
    demand_no_failure("nothing was taken out of", failures)
