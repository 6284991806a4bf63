"""``debstack lock``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import click

from debstack.cli.project import Project, pass_project
from debstack.errors import LockError
from debstack.isolation import can_isolate
from debstack.model.lock import Lock, read_lock
from debstack.model.places import lock_file
from debstack.model.wheel import normalised
from debstack.pipeline import lock
from debstack.pipeline.built import lock_built
from debstack.pipeline.changes import with_changes
from debstack.pipeline.lock_check import check
from debstack.pipeline.packages import IBGATEWAY, input_digest
from debstack.pipeline.pin import EVERYTHING, Tools
from debstack.steps import fetch
from debstack.steps.resolve import resolve


def _moment(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return a day or a time as the time that uv wants; a day means its beginning, in UTC."""
    if not value:
        return ""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a date such as 2026-11-01") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


@click.command()
@click.option("--check", "check_only", is_flag=True,
              help="Say whether lock and definitions agree; write nothing.")  # fmt: skip
@click.option("--component", "components", multiple=True,
              help="Move only this component (may be repeated).")  # fmt: skip
@click.option("--upgrade", is_flag=False, flag_value="*", multiple=True, metavar="[NAME]",
              help="Move the Python dependencies, or only NAME, to newer versions.")  # fmt: skip
@click.option("--exclude-newer", metavar="DATE", default="", callback=_moment,
              help="Resolve as if it were DATE (2026-11-01).")  # fmt: skip
@click.option("--rebuild", multiple=True, metavar="PACKAGE",
              help="Give this package a new version though nothing in it changed.")  # fmt: skip
@click.option("--accept-moved-tags", is_flag=True,
              help="Believe the server where a tag was moved.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would change; write nothing.")
@pass_project
def command(
    project: Project,
    check_only: bool,
    components: tuple[str, ...],
    upgrade: tuple[str, ...],
    exclude_newer: str,
    rebuild: tuple[str, ...],
    accept_moved_tags: bool,
    dry_run: bool,
) -> None:
    """Pin the next release in packaging/repos.lock.

    Resolves every ref to a full commit SHA, and the requirements at that commit to one wheel with
    its hash per distribution, in packaging/locks. What did not change keeps its version.
    """
    if check_only:
        _check(project)
        return
    runner, workshop = project.runner, project.workshop()
    workshop = replace(workshop, isolate=can_isolate(runner))
    if exclude_newer and not upgrade:
        project.log.warn(
            "--exclude-newer is about what is resolved now; what is locked already stays as it is"
            " (--upgrade moves it)"
        )
    hidden = project.secrets if workshop.isolate else None
    resolving = partial(resolve, runner=runner, exclude_newer=exclude_newer, hidden=hidden)
    tools = Tools(
        resolve_ref=lambda url, ref: fetch.resolve_ref(url, ref, project.root, runner),
        export=lambda wanted: fetch.export(
            wanted, fetch.Places(project.root, project.cache), runner
        ),
        resolve=partial(resolve, runner=runner, hidden=hidden),
        build_sdist=lambda subject, sdist, target: lock_built(
            subject, sdist, target, workshop, resolving
        ),
        input_digest=partial(input_digest, project.root),
        log=project.log,
    )  # fmt: skip
    previous = _previous(project)
    planned = lock.plan(
        project.definition,
        project.root,
        previous,
        tools,
        now=datetime.now(UTC),
        components=components or None,
        upgrade=EVERYTHING if "*" in upgrade else {normalised(name) for name in upgrade},
        exclude_newer=exclude_newer,
        rebuild=rebuild,
        packages=(IBGATEWAY,),
        accept_moved_tags=accept_moved_tags,
    )
    for change in planned.changes:
        click.echo(change)
    if not dry_run:
        lock.apply(with_changes(planned, previous, project.subjects, project.log), project.root)
    word = "would be" if dry_run else "is"
    if planned.is_new:
        click.echo(f"release {planned.lock.release} {word} locked in packaging/repos.lock")
    else:
        click.echo(f"release {planned.lock.release} {word} unchanged")


def _previous(project: Project) -> Lock | None:
    path = lock_file(project.root)
    return read_lock(path) if path.exists() else None


def _check(project: Project) -> None:
    disagreements = check(
        project.definition,
        project.root,
        project.lock,
        partial(input_digest, project.root),
        (IBGATEWAY,),
    )
    if disagreements:
        raise LockError(
            "packaging/repos.lock does not agree with the definitions",
            hint="run: debstack lock",
            details=[str(each) for each in disagreements],
        )
    click.echo(f"release {project.lock.release}: lock and definitions agree")
