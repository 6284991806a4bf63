"""Prove that a built component starts: run its units' command lines from the built tree.

The services run where they will run on the server (``/opt/trading/<name>``, the same ports), in
namespaces of their own made by bubblewrap, so that neither another service on this machine nor the
network can help or hinder them. Where the kernel does not allow namespaces they run from a copy of
the tree with other paths and free ports.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import socket
import string
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from debstack import trial
from debstack.describe import SETTINGS, TRACKED
from debstack.errors import StartError
from debstack.isolation import system_files
from debstack.model import placeholders
from debstack.model.definition import Component, UnitDefinition
from debstack.process import SYSTEM_PATH, Runner
from tradingctl.description import Component as Description


@dataclass(frozen=True)
class Place:
    """Where a trial runs: what the placeholders stand for and where its writable folders are."""

    tree: Path
    etc: Path
    state: Path
    log: Path
    ports: Mapping[int, int]

    def values(self, unit: UnitDefinition) -> dict[str, str]:
        """Return what the placeholders of ``unit`` stand for here."""
        return {
            "root": str(self.tree),
            "etc": str(self.etc),
            "state": str(self.state),
            "log": str(self.log),
            "port": str(self.ports.get(unit.port, 0)),
        }


def prove(
    component: Component,
    description: Description,
    payload: Path,
    python: str,
    *,
    isolate: bool,
    runner: Runner,
) -> None:
    """Start the component's units in order and ask each its health checks.

    Raises StartError with what the service printed and the key to edit, if one of them ends or
    does not give a good answer within its deadline.
    """
    with tempfile.TemporaryDirectory(prefix="debstack-trial-") as folder:
        work = Path(folder)
        place = _real_place(component) if isolate else _free_place(component, work)
        _lay_out(component, payload, work, place)
        if isolate:
            command = _bubblewrap(component, payload, work, python)
        else:
            _copy_tree(component, payload, place)
            command = [f"/usr/bin/python{python}"]
        plan = trial_plan(component, description, payload, place)
        (work / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        arguments = ["-I", str(Path(trial.__file__).resolve()), _source_root(),
                     "/trial/plan.json" if isolate else str(work / "plan.json")]  # fmt: skip
        result = runner.run([*command, *arguments], env=_environment(), check=False)
        if result.returncode:
            raise _start_error(component, result.text)


def trial_plan(
    component: Component, description: Description, payload: Path, place: Place
) -> dict[str, object]:
    """Return what trial.py is to start and to ask, in order, as its JSON document."""
    defaults = _environment_files(component, payload)
    generated = {
        each.variable: secrets.token_urlsafe(each.length)
        for each in component.secrets
        if each.generate and not each.credential
    }
    files = {
        f"{each.variable}_FILE": str(_credential(place.etc, component, each.variable))
        for each in component.secrets
        if each.credential
    }
    staging = component.environments.get("staging", "staging")
    described = {each.name: each for each in description.units}
    units = []
    for unit in sorted(component.units, key=lambda each: each.order):
        values = place.values(unit)
        env = {
            "PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": str(place.state),
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
            **{name: placeholders.substitute(v, values) for name, v in unit.environment.items()},
            **files, **defaults, "TRADING_ENVIRONMENT": staging, **generated,
        }  # fmt: skip
        # As the rules read it, and systemd: a word in quotes is one.
        words = [placeholders.substitute(word, values) for word in shlex.split(unit.exec)]
        argv = [string.Template(word).safe_substitute(env) for word in words]
        checks = [_at(asdict(check), place) for check in described[f"{unit.name}.service"].checks]
        units.append(
            {
                "name": unit.name,
                "argv": [str(place.tree / argv[0]), *argv[1:]],
                "env": env,
                "cwd": str(place.tree),
                "deadline": unit.deadline,
                "stability": min(unit.stability, 1.0),
                "checks": [check for check in checks if check["required"]],
            }
        )
    return {"commit": description.commit, "units": units}


def _at(check: dict[str, object], place: Place) -> dict[str, object]:
    """Return the check with the trial's ports in its URL."""
    url = str(check["url"])
    for port, actual in place.ports.items():
        url = url.replace(f":{port}/", f":{actual}/")
    return {**check, "url": url}


def _environment_files(component: Component, payload: Path) -> dict[str, str]:
    """Return the variables of the component's .env settings (systemd.exec(5), unquoted values)."""
    variables = {}
    for config in component.config:
        if config.name.endswith(".env"):
            for line in (payload / SETTINGS / config.name).read_text("utf-8").splitlines():
                name, separator, value = line.strip().partition("=")
                if separator and not name.startswith(("#", ";")):
                    variables[name.strip()] = value.strip().strip("'\"")
    return variables


def _real_place(component: Component) -> Place:
    name = component.name
    return Place(
        tree=Path("/opt/trading") / name,
        etc=Path("/etc/trading"),
        state=Path("/var/lib/trading") / name,
        log=Path("/var/log/trading") / name,
        ports={unit.port: unit.port for unit in component.units if unit.port},
    )


def _free_place(component: Component, work: Path) -> Place:
    return Place(
        tree=work / "tree",
        etc=work / "etc",
        state=work / "state" / component.name,
        log=work / "log" / component.name,
        ports={unit.port: _free_port() for unit in component.units if unit.port},
    )


def _lay_out(component: Component, payload: Path, work: Path, place: Place) -> None:
    """Make the writable folders below ``work`` as tmpfiles.d and tradingctl make them."""
    state = work / "state" / component.name
    for each in component.state:
        folder = state / each.path
        folder.mkdir(parents=True, exist_ok=True)
        if each.tracked:
            _link_tracked(payload / "usr/lib/trading" / component.name / TRACKED / each.path,
                          folder, place.tree / TRACKED / each.path)  # fmt: skip
    state.mkdir(parents=True, exist_ok=True)
    (work / "log" / component.name).mkdir(parents=True)
    if (payload / SETTINGS).is_dir():
        shutil.copytree(payload / SETTINGS, work / "etc")
    else:
        (work / "etc").mkdir()
    for secret in component.secrets:
        if secret.credential:
            file = _credential(work / "etc", component, secret.variable)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(secrets.token_urlsafe(secret.length) if secret.generate else "")


def _credential(etc: Path, component: Component, variable: str) -> Path:
    """Return the file of a secret that the services read from one."""
    return etc / "secrets" / component.name / variable


def _link_tracked(tracked: Path, folder: Path, final: Path) -> None:
    for path in sorted(tracked.rglob("*")):
        target = folder / path.relative_to(tracked)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(exist_ok=True)
        else:
            target.symlink_to(final / path.relative_to(tracked))


def _copy_tree(component: Component, payload: Path, place: Place) -> None:
    """Copy the tree, its links to /var replaced by links to the trial's folders.

    Not by hard links: what the services write must not reach the files that are packed meanwhile.
    """
    source = payload / "usr/lib/trading" / component.name
    shutil.copytree(source, place.tree, symlinks=True)
    for path, target in (
        *((each.path, place.state / each.path) for each in component.state),
        *((each, place.log) for each in component.logs),
    ):
        (place.tree / path).unlink()
        (place.tree / path).symlink_to(target)


def _bubblewrap(component: Component, payload: Path, work: Path, python: str) -> list[str]:
    name = component.name
    command = ["bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
               "--die-with-parent", "--new-session", *system_files()]  # fmt: skip
    source = _source_root()
    command += [
        "--ro-bind", source, source,
        "--ro-bind", str(work), "/trial",
        "--ro-bind", str(payload / "usr/lib/trading" / name), f"/opt/trading/{name}",
        "--bind", str(work / "state"), "/var/lib/trading",
        "--bind", str(work / "log"), "/var/log/trading",
        "--ro-bind", str(work / "etc"), "/etc/trading",
        f"/usr/bin/python{python}",
    ]  # fmt: skip
    return command


def _source_root() -> str:
    """Return the folder that holds the packages debstack and tradingctl."""
    return str(Path(trial.__file__).resolve().parents[1])


def _environment() -> dict[str, str]:
    return {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start_error(component: Component, output: str) -> StartError:
    lines = output.rstrip().splitlines()
    file = f"packaging/components/{component.name}.toml"
    hint = f"see the unit and its checks in {file}, and its settings in packaging/conf"
    if any("ModuleNotFoundError" in line or "ImportError" in line for line in lines) or any(
        "no distribution brings" in line for line in lines
    ):
        hint = (
            f"name what is missing in {file}, [python] requirements or extra_requirements,"
            f" and run: debstack lock --component {component.name}"
        )
    return StartError(f"{component.name} does not start", hint=hint, details=lines[-30:])
