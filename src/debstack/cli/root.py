"""The command ``debstack`` and what all its subcommands share."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from debstack.cli.project import Project

_COMMANDS = (
    *("audit", "build", "diff", "fetch", "inspect", "key", "lock", "rebuild", "source", "vendor"),
    *("publish", "promote", "unpublish", "retain", "refresh", "archive", "serve"),
)

# Called by files that debstack writes, and listed nowhere.
_HIDDEN = ("assemble",)


class _Commands(click.Group):
    """Imports a command's module when it is asked for, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in (*_COMMANDS, *_HIDDEN):
            return None
        command: click.Command = import_module(f"debstack.cli.{name}").command
        return command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 wrong usage, 3 file or disk, 4 definitions, 5 lock, 6 source,"
    " 7 dependency, 8 build, 9 start, 10 signing, 11 archive, 12 missing tool, 13 advisories found,"
    " 14 advisories could not be looked at, 15 not the same when built again.",
)
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Folder that holds packaging/ (default: this one).",
)
@click.option("-v", "--verbose", is_flag=True, help="Show what the tools print.")
@click.version_option(package_name="debstack")
@click.pass_context
def debstack(ctx: click.Context, project: Path, verbose: bool) -> None:
    """Turn git repositories at pinned commits into signed Debian packages in an apt repository."""
    ctx.obj = Project(project.resolve(), verbose)
