"""``debstack rebuild``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from debstack.cli.project import Project, pass_project
from debstack.cli.table import table
from debstack.errors import RebuildError
from debstack.pipeline.compare import Compared
from debstack.pipeline.publish import targets_of
from debstack.pipeline.rebuild import PREFIX, demand_same_lock, rebuild, released, reopen, workplace
from debstack.pipeline.rooted import needs_root


@click.command(short_help="Build a release again, and compare.")
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@click.option("--check", "folder", required=True, metavar="RELEASE_DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The release to compare with, a folder as in dist/.")  # fmt: skip
@click.option("--target", "target_name", metavar="NAME|all",
              help="Debian release to build for (default: all it was built for).")  # fmt: skip
@click.option("--in-root", is_flag=True,
              help="Build in a clean root even for this machine's release.")  # fmt: skip
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
@click.option("--vendor", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of `debstack vendor` (default: vendor/, if it is there).")  # fmt: skip
@pass_project
def command(
    project: Project,
    packages: tuple[str, ...],
    folder: Path,
    target_name: str | None,
    in_root: bool,
    offline: bool,
    vendor: Path | None,
) -> None:
    """Build the packages of RELEASE_DIR (or only PACKAGE...) again from the lock, and compare.

    It was built from packaging/repos.lock. Each package is compared as it is before it is signed;
    nothing is kept of what is built, but the log of what fails, build/rebuild-PACKAGE.log, and the
    .buildinfo of what is not the same, build/rebuild-PACKAGE_*.buildinfo. Exit code 15 says that
    one is not the same.
    """
    demand_same_lock(folder, project.lock)
    built_for = targets_of(folder, project.definition)
    targets = built_for if target_name in (None, "all") else project.chosen(target_name)
    workshop = project.workshop(offline=offline, vendor=vendor)
    compared: list[Compared] = []
    for target in targets:
        release = reopen(project.root, project.definition, project.lock, target)
        wanted = released(folder, target, packages)
        with workplace(project.folders, project.log) as place:
            found = rebuild(
                release, wanted, project.keys, place, workshop,
                in_root=in_root or needs_root(target),
            )  # fmt: skip
        click.echo(_table(target.name, found))
        compared += found
    if differing := [each for each in compared if each.state == "differs"]:
        raise RebuildError(
            f"{len(differing)} of {len(compared)} packages are not the same when built again:"
            f" {', '.join(each.package for each in differing)}",
            hint=f"compare the tools' versions: {_comparison(differing[0], folder)}",
            details=[f"{each.package}: {line}" for each in differing for line in each.difference],
        )


def _comparison(differing: Compared, folder: Path) -> str:
    """Return the command that shows with which tools a package was built both times."""
    again = differing.buildinfo
    assert again is not None  # noqa: S101  (kept of what differs)
    return shlex.join(["diff", str(folder / again.name.removeprefix(PREFIX)), str(again)])


def _table(target: str, found: Sequence[Compared]) -> str:
    rows = [(target, each.package, each.released, each.state) for each in found]
    return table(("target", "package", "sha256 without signature", ""), rows)
