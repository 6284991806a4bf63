"""Make unsigned packages in a clean root of the Debian release that they are for.

debstack itself runs there, with that release's Python and tools. It sees the definitions, what was
fetched, and the folder that it builds in; no key, no network, and nothing else of this machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from debstack.errors import BuildError
from debstack.model.definition import Target
from debstack.model.places import packaging_folder
from debstack.model.uv import uv_lock
from debstack.pipeline.assemble import Parts
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.inside import BASE, CACHE, EXCHANGE, PROJECT, SHELF, Wanted, read_outcome
from debstack.pipeline.unsigned import Outcome, kept
from debstack.render import templates_folder
from debstack.steps.distributions import distributions
from debstack.steps.root import Entrance, command, demand_enterable, host_release, root
from debstack.steps.stage import discard
from debstack.steps.wheels import collect


def needs_root(target: Target) -> bool:
    """Whether the target is another Debian release than this machine's."""
    return target.name != host_release()


def prepare(target: Target, workshop: Workshop) -> tuple[Path, Path]:
    """Return the root of a target and debstack's own distributions for it, made if need be.

    Raises BuildError, DependencyError or ToolMissingError.
    """
    cache, runner, log = workshop.cache, workshop.runner, workshop.log
    folder = root(target.name, cache, runner, log, offline=workshop.offline)
    demand_enterable(folder, runner)

    def uv_wheels() -> Sequence[Path]:
        uv = uv_lock(target)
        return collect(uv, cache, target, runner, offline=False, vendor=workshop.vendor)

    needed = distributions(
        target, cache, runner, log, offline=workshop.offline, uv_wheels=uv_wheels
    )
    return folder, needed


def rooted(release: Release, orders: Sequence[Parts], shelf: Path, workshop: Workshop) -> Outcome:
    """Make packages on ``shelf`` like ``unsigned``, in a root of the release's target."""
    folder, needed = prepare(release.target, workshop)
    shelf.mkdir(parents=True, exist_ok=True)
    for each in orders:
        discard(kept(shelf, each.package, each.version) / "work")
    with tempfile.TemporaryDirectory(prefix="debstack-root-") as name:
        exchange = Path(name)
        Wanted(
            release.lock.text(), release.target.name, workshop.jobs, workshop.runner.echo,
            tuple(orders),
        ).write(exchange)  # fmt: skip
        entrance = Entrance(
            folder,
            read=_shown(release, needed, workshop.cache),
            write={str(SHELF): shelf, str(EXCHANGE): exchange},
            environment={
                "PYTHONPATH": f"{BASE}/src:{BASE}/distributions",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        # Its steps are announced as they are done.
        runner = replace(workshop.runner, echo=True, label=release.target.name)
        done = runner.run(
            [*command(entrance), "/usr/bin/python3", "-m", "debstack.pipeline.inside"], check=False
        )
        outcome = read_outcome(exchange, shelf)
    if outcome is None:
        raise BuildError(
            f"the build in a root of {release.target.name} ended with exit code"
            f" {done.returncode} and said nothing of what it made",
            hint=f"try again; if that does not help, remove the root: rm -r {folder}",
            details=done.text.rstrip().splitlines()[-25:],
        )
    return outcome


def _shown(release: Release, needed: Path, cache: Path) -> dict[str, Path]:
    """Return what is to be seen in the root, by its path there, read-only."""
    own = Path(__file__).parents[1]
    shown = {
        f"{BASE}/distributions": needed,
        # Not the folder that has both: where debstack is installed, others are beside them.
        f"{BASE}/src/debstack": own,
        f"{BASE}/src/tradingctl": own.with_name("tradingctl"),
        f"{PROJECT}/packaging": packaging_folder(release.project),
    }
    if not templates_folder().is_relative_to(own):
        shown[f"{BASE}/debian-templates"] = templates_folder()
    for name in ("wheels", "sources"):
        if (cache / name).is_dir():
            shown[f"{CACHE}/{name}"] = cache / name
    return shown
