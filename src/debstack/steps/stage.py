"""Lay out what a component's package ships, except for its virtual environment.

The repository's files go to ``/usr/lib/trading/<name>``. A state or log directory of the
application becomes a link to its place below /var; files that the repository tracks in a state
directory are kept under ``.tracked/`` and linked back into it on the server.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pathspec

from debstack.describe import SETTINGS, TRACKED, places
from debstack.errors import BuildError
from debstack.model import placeholders
from debstack.model.definition import Component
from debstack.model.rules_component import RESERVED_PATHS
from debstack.model.sandbox import directives
from debstack.render import render_one
from tradingctl.description import Component as Description

NEEDRESTART = "etc/needrestart/conf.d"


def unpack(tar: Path, destination: Path, exclude: tuple[str, ...] = ()) -> None:
    """Write the files of an exported commit to ``destination``, without the excluded ones."""
    excluded = pathspec.GitIgnoreSpec.from_lines(exclude)
    destination.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if member.isdir() or excluded.match_file(member.name):
                continue
            target = destination / _inside(member.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():
                target.symlink_to(member.linkname)
            else:
                source = archive.extractfile(member)
                target.write_bytes(source.read() if source else b"")
                target.chmod(0o755 if member.mode & 0o100 else 0o644)


def stage(
    component: Component, description: Description, homepage: str, conf: Path, payload: Path
) -> Path:
    """Complete the payload around the tree that ``unpack`` wrote, and return the tree.

    ``conf`` is the folder that the component's ``config`` sources are relative to. Raises
    BuildError if the repository has something at a path that the package needs for itself.
    """
    tree = tree_of(component.name, payload)
    tree.mkdir(parents=True, exist_ok=True)
    _refuse_own_places(component.name, tree)
    _write_release(description, tree)
    for state in component.state:
        _link_state(component, state.path, state.tracked, tree)
    for path in component.logs:
        _refuse_link_above(component, path, tree)
        _replace_by_link(tree / path, f"/var/log/trading/{component.name}", f"logs: {path!r}")
    for config in component.config:
        text = (conf / config.source).read_text("utf-8")
        _write(payload / SETTINGS / config.name, text)
    for unit, text in units(component, homepage).items():
        _write(payload / "lib/systemd/system" / unit, text)
    _write(
        payload / NEEDRESTART / f"{component.name}.conf",
        render_one("_needrestart.conf", {"units": [each.name for each in component.units]}),
    )
    _write(
        payload / "usr/share/trading/components" / f"{description.package}.json",
        description.to_json(),
    )
    return tree


def tree_of(component: str, payload: Path) -> Path:
    """Return where the component's tree lies in its payload."""
    return payload / "usr/lib/trading" / component


def units(component: Component, homepage: str) -> dict[str, str]:
    """Return the text of each of the component's unit files by name."""
    substitute: Callable[[str, dict[str, str]], str] = placeholders.substitute
    files = {}
    answering = {
        f"{unit.name}.service": unit
        for unit in component.units
        if any(check.required for check in unit.checks)
    }
    for unit in component.units:
        awaited = [name for name in unit.requires if name in answering]
        where = places(component.name, unit)
        exceptions = {each.directive: each.value for each in unit.sandbox_exceptions}
        files[f"{unit.name}.service"] = render_one(
            "_unit.service",
            {
                "unit": unit,
                "component": component.name,
                "homepage": homepage,
                "exec": substitute(unit.exec, where),
                "environment": {
                    name: substitute(value, where) for name, value in unit.environment.items()
                },
                "environment_files": [
                    f"/etc/trading/{each.name}"
                    for each in component.config
                    if each.name.endswith(".env")
                ],
                "credentials": [each.variable for each in component.secrets if each.credential],
                "spelled": bool(component.environments),
                "after": [*unit.after, *(name for name in awaited if name not in unit.after)],
                "awaited": awaited,
                "requires": [name for name in unit.requires if name not in awaited],
                "wait_ready": unit.type == "simple" and unit.port,
                # systemd gives up only after wait-ready has said what it waited for.
                "start_timeout": int(unit.deadline) + 15,
                "logs": component.logs,
                "sandbox": [line for line in directives({}) if line[0] not in exceptions],
            },
        )
    return files


def state_directories(component: Component) -> list[str]:
    """Return the absolute paths of every directory that the component writes."""
    base = f"/var/lib/trading/{component.name}"
    logs = [f"/var/log/trading/{component.name}"] if component.logs else []
    return [base, *(f"{base}/{state.path}" for state in component.state), *logs]


def _refuse_own_places(component: str, tree: Path) -> None:
    """Raise BuildError if the repository tracks what the build writes, be it a link elsewhere."""
    for name in RESERVED_PATHS:
        place = tree / name
        if place.is_symlink() or place.exists():
            raise BuildError(
                f"the repository of {component} tracks {name}, which the build writes",
                hint=f"exclude it in packaging/components/{component}.toml, [source] exclude",
            )


def _write_release(description: Description, tree: Path) -> None:
    release = {
        "component": description.name,
        "version": description.version,
        "release": description.release,
        "commit": description.commit,
    }
    _write(tree / "RELEASE.json", json.dumps(release, indent=2, sort_keys=True) + "\n")


def _link_state(component: Component, path: str, tracked: bool, tree: Path) -> None:
    place = tree / path
    _refuse_link_above(component, path, tree)
    if tracked:
        # A link would be kept in place of the files that it leads to.
        if place.is_symlink() or not place.is_dir():
            raise BuildError(
                f"{component.name} has no tracked files in {path}",
                hint=f"remove `tracked = true` of {path!r} in"
                f" packaging/components/{component.name}.toml",
            )
        keep = tree / TRACKED / path
        keep.parent.mkdir(parents=True, exist_ok=True)
        place.rename(keep)
    _replace_by_link(place, f"/var/lib/trading/{component.name}/{path}", f"state: {path!r}")


def _refuse_link_above(component: Component, path: str, tree: Path) -> None:
    """Raise BuildError if a link of the repository leads away from where ``path`` seems to be.

    What is moved and linked would lie on the machine that builds, outside of the tree.
    """
    parent = PurePosixPath(path).parent
    if (tree / parent).resolve() != tree.resolve() / parent:
        raise BuildError(
            f"the repository of {component.name} tracks a link in place of a folder above {path}",
            hint="name the folder that the link leads to, or exclude the link, in"
            f" packaging/components/{component.name}.toml",
        )


def _replace_by_link(place: Path, target: str, key: str) -> None:
    if place.is_symlink() or place.exists():
        raise BuildError(
            f"{key} is declared as written by the service, but the repository tracks files there",
            hint="set `tracked = true` for it, or exclude the files in [source] exclude",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BuildError(f"the repository has a file outside of itself: {name}")
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def discard(folder: Path) -> None:
    """Remove a folder of an earlier, unfinished build, if there is one."""
    shutil.rmtree(folder, ignore_errors=True)
