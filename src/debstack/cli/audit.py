"""``debstack audit``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.errors import AdvisoryError, VulnerableError
from debstack.pipeline.audit import Audited, Finding, Source, audit
from debstack.steps.advisories import ask_service, read_database


@click.command(short_help="Ask what advisories say of the locked dependencies.")
@click.option("--service", metavar="URL", help="Service with OSV's protocol to ask.")
@click.option("--database", type=click.Path(path_type=Path),
              help="OSV database: a zip file, or a folder of JSON files.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@pass_project
def command(project: Project, service: str | None, database: Path | None, as_json: bool) -> None:
    """Ask advisories about every distribution in the lock.

    Exit code 0: every one was looked up and nothing was found. 13: something was found. 14: it is
    not known, because a service or database is not configured, not reachable, or not complete.
    """
    now = datetime.now(UTC)
    sources = _sources(project, service, database, now)
    result = audit(project.definition, project.root, project.lock, sources, now.date())
    if as_json:
        click.echo(json.dumps(_document(result), indent=2))
    else:
        for finding in result.findings:
            click.echo(_line(finding))
    _judge(project, result, as_json)


def _sources(
    project: Project, service: str | None, database: Path | None, now: datetime
) -> list[Source]:
    settings = project.definition.stack.audit
    name, _, version = settings.canary.partition("==")
    canary = (name, version) if name else None
    url = service or ("" if database else settings.service)
    place = database or (project.root / settings.database if settings.database and not service
                         else None)  # fmt: skip
    sources: list[Source] = []
    if url:
        sources.append(partial(ask_service, url, canary=canary))
    if place:
        sources.append(
            partial(
                read_database, place, canary=canary, now=now, max_age_days=settings.max_age_days
            )
        )
    return sources


def _judge(project: Project, result: Audited, as_json: bool) -> None:
    """Say what came out, and end with the exit code that means it."""
    for failure in result.failed:
        project.log.warn(f"not looked at: {failure.message}")
    if result.open:
        affected = sorted({each.name for each in result.open})
        raise VulnerableError(
            f"{len(result.open)} advisories about {', '.join(affected)}",
            hint=f"run: debstack lock --upgrade {affected[0]}; or accept one for a while in"
            " [[audit.accepted]] of packaging/stack.toml",
        )
    if result.failed:
        first = result.failed[0]
        raise AdvisoryError(first.message, hint=first.hint, details=first.details)
    accepted = f", {len(result.findings)} accepted" if result.findings else ""
    if not as_json:
        click.echo(
            f"release {project.lock.release}: all {result.checked} distributions were looked up;"
            f" no advisory is open{accepted}"
        )


def _line(finding: Finding) -> str:
    advisory = finding.advisory
    fixed = f"; corrected in {', '.join(advisory.fixed)}" if advisory.fixed else ""
    accepted = f" [accepted: {finding.accepted}]" if finding.accepted else ""
    where = ", ".join(finding.where)
    return (
        f"{finding.name} {finding.version}: {advisory.id}: {advisory.summary or 'no summary'}"
        f"{fixed} ({where}){accepted}"
    )


def _document(result: Audited) -> dict[str, object]:
    return {
        "checked": result.checked,
        "complete": not result.failed,
        "failed": [each.message for each in result.failed],
        "findings": [asdict(each) for each in result.findings],
    }
