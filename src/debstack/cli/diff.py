"""``debstack diff``."""

from __future__ import annotations

from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.model.lock import Lock, read_lock
from debstack.model.places import locks_folder
from debstack.pipeline.diff import RequirementLocks, diff, read_requirements

_LOCK = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Show what changes from one lock to another.")
@click.argument("old", type=_LOCK)
@click.argument("new", type=_LOCK)
@pass_project
def command(project: Project, old: Path, new: Path) -> None:
    """Show what changes from the lock OLD to the lock NEW.

    Commits per repository, with their subjects where the history can be fetched, and Python
    distributions, where the dependency locks lie in locks/ beside a lock or in this project.
    """
    before, after = read_lock(old), read_lock(new)
    difference = diff(
        before,
        _requirements(project, before, old),
        after,
        _requirements(project, after, new),
        project.subjects,
    )
    click.echo(difference.text(), nl=False)


def _requirements(project: Project, lock: Lock, path: Path) -> RequirementLocks:
    """Return the dependency locks of ``lock`` that are at hand; a digest proves each."""
    return {
        **read_requirements(lock, locks_folder(project.root)),
        **read_requirements(lock, path.parent / "locks"),
    }
