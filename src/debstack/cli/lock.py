"""``debstack lock``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import click

from debstack.cli.project import Project, pass_project
from debstack.errors import LockError
from debstack.model.lock import Lock, read_lock
from debstack.model.places import lock_file
from debstack.pipeline import lock
from debstack.pipeline.changes import with_changes
from debstack.pipeline.lock_check import check
from debstack.pipeline.packages import IBGATEWAY, input_digest
from debstack.pipeline.pin import Tools
from debstack.steps import fetch
from debstack.steps.resolve import resolve


@click.command()
@click.option("--check", "check_only", is_flag=True,
              help="Say whether lock and definitions agree; write nothing.")  # fmt: skip
@click.option("--component", "components", multiple=True,
              help="Move only this component (may be repeated).")  # fmt: skip
@click.option("--upgrade", is_flag=True, help="Move the Python dependencies to newer versions.")
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
    upgrade: bool,
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
    runner = project.runner
    tools = Tools(
        resolve_ref=lambda url, ref: fetch.resolve_ref(url, ref, project.root, runner),
        export=lambda wanted: fetch.export(
            wanted, fetch.Places(project.root, project.cache), runner
        ),
        resolve=partial(resolve, runner=runner),
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
        upgrade=upgrade,
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
