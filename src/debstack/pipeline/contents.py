"""What goes into each kind of package: its payload and the values of its templates."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from debstack.accounting import history
from debstack.describe import describe
from debstack.isolation import not_isolated
from debstack.log import Log
from debstack.model.definition import Component, Definition, Target
from debstack.model.lock import Lock
from debstack.model.places import build_requirements_lock, packaging_folder, requirements_lock
from debstack.model.requirements import RequirementsLock
from debstack.model.sandbox import directives
from debstack.pipeline import accounting
from debstack.pipeline.accounting import Origin
from debstack.pipeline.packages import Names, tradingctl_files
from debstack.pipeline.recorded import read_recorded
from debstack.process import Runner
from debstack.render import render_one
from debstack.steps import stage, venv
from debstack.steps.package import Changelog, shared_library_depends, write_debian
from debstack.steps.wheels import collect
from debstack.uv_program import find_uv
from tradingctl import description


@dataclass(frozen=True)
class Release:
    """The release that is built: its definition, its lock, and the target it is built for."""

    project: Path
    definition: Definition
    lock: Lock
    target: Target

    def version(self, package: str) -> str:
        """Return the Debian version of ``package``."""
        return self.lock.version(package, self.target)

    def changelog(self, package: str, version: str, change: str) -> Changelog:
        """Return the changelog of ``package``, dated with the release in which it changed."""
        changed_in = self.lock.packages[package].changed_in
        return self._changelog(package, version, [f"Release {changed_in}: {change}."])

    def history(self, component: str) -> Changelog:
        """Return the changelog of a component: the commits since the version before."""
        locked, source = self.lock.packages[component], self.lock.components[component]
        lines = history.lines(
            locked.changed_in, source.url, source.commit, locked.before, locked.changes
        )
        return self._changelog(component, self.version(component), lines)

    def origin(self, package: str, version: str) -> Origin:
        """Return what the account that a package gives of itself is made from."""
        return Origin(self.definition, self.lock, self.target, package, version)

    def _changelog(self, package: str, version: str, lines: Sequence[str]) -> Changelog:
        return Changelog(
            version,
            self.target.name,
            self.definition.stack.maintainer,
            self.lock.packages[package].timestamp,
            tuple(lines),
        )

    def values(self) -> dict[str, object]:
        """Return what the templates of all kinds need to know of the stack."""
        names = Names.of(self.definition)
        return {
            "stack": self.definition.stack.name,
            "homepage": self.definition.stack.homepage,
            "common": names.common,
            "keyring": names.keyring,
        }

    def requirements(self, component: str) -> RequirementsLock:
        """Return the dependency lock of ``component``. Raises LockError, DependencyError."""
        path, target = requirements_lock(self.target.name, component), self.target.name
        digests = self.lock.components[component].requirements
        return read_recorded(self.project, path, digests.get(target))

    def build_requirements(self, component: str) -> RequirementsLock:
        """Return the lock of what builds the component's wheel. Raises as above."""
        path, target = build_requirements_lock(self.target.name, component), self.target.name
        digests = self.lock.components[component].build_requirements
        return read_recorded(self.project, path, digests.get(target))


@dataclass(frozen=True)
class Workshop:
    """What a build works with: where wheels and sources are, how many processes, what it prints.

    ``isolate`` tells whether bubblewrap can give a program a network of its own here, ``confined``
    whether all of this runs apart already: in a root, or in the build of a source package.
    ``vendor`` is a folder that `debstack vendor` made, ``uv`` the program, where it is not the
    installed one.
    """

    cache: Path
    jobs: int
    offline: bool
    runner: Runner
    log: Log
    isolate: bool = False
    vendor: Path | None = None
    uv: Path | None = None
    confined: bool = False

    def uv_program(self) -> Path:
        """Return the program uv. Raises ToolMissingError."""
        return self.uv or find_uv()


def component_contents(
    release: Release, component: Component, tar: Path, folder: Path, workshop: Workshop
) -> description.Component:
    """Write payload and debian/ of a component's source package into ``folder``.

    ``tar`` is the exported commit. Returns the description that the package carries.
    """
    name, log, runner = component.name, workshop.log, workshop.runner
    locked = release.lock.components[name]
    described = describe(
        component,
        release.version(name),
        release.lock.packages[name].changed_in,
        locked.commit,
    )
    payload = folder / "payload"
    tree = stage.tree_of(name, payload)
    if component.python.install == "tree":
        stage.unpack(tar, tree, component.source.exclude)
    homepage = release.definition.stack.homepage
    stage.stage(component, described, homepage, packaging_folder(release.project), payload)
    with log.step(name, "virtual environment"):
        environment = _environment(release, component, tar, tree, workshop)
        venv.clean(environment)
    own = accounting.own_licences(tar)
    credits = accounting.credits(component, environment, release.requirements(name), own)
    write_component_debian(release, component, credits, folder)
    accounting.write_component(
        release.origin(name, release.version(name)),
        component,
        environment,
        release.requirements(name),
        release.build_requirements(name) if component.python.install == "wheel" else None,
        payload,
    )
    # Both keep a core busy and neither needs the other.
    with log.step(name, "byte code and library dependencies"), ThreadPoolExecutor(2) as pool:
        libraries = pool.submit(shared_library_depends, folder, payload, runner)
        final = Path("/opt/trading") / name
        venv.compile_bytecode(tree, final, release.target.python, workshop.jobs, runner)
        depends = libraries.result()
    (folder / "debian/shlibs.substvars").write_text(f"shlibs:Depends={depends}\n")
    venv.normalise(payload, release.lock.packages[name].timestamp)
    return described


def _environment(
    release: Release, component: Component, tar: Path, tree: Path, workshop: Workshop
) -> venv.Environment:
    lock = release.requirements(component.name)
    wheels = collect(
        lock, workshop.cache, release.target, workshop.runner, offline=workshop.offline
    )
    root, python = tree / ".venv", release.target.python
    with tempfile.TemporaryDirectory(prefix="debstack-venv-") as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(lock.text())
        environment = venv.venv(
            root, python, requirements, wheels, workshop.uv_program(), workshop.runner
        )
        if component.python.install == "wheel":
            wheel = _own_wheel(release, component, tar, Path(folder), workshop)
            venv.add_wheel(environment, wheel, workshop.uv_program(), workshop.runner)
    return environment


def _own_wheel(
    release: Release, component: Component, tar: Path, folder: Path, workshop: Workshop
) -> Path:
    """Build the component's wheel in an environment of its own, made from its build lock.

    Raises DependencyError where its build backend would see what is the user's.
    """
    if not (workshop.isolate or workshop.confined):
        raise not_isolated(component.name, "its own wheel", instead="")
    lock = release.build_requirements(component.name)
    tools = collect(lock, workshop.cache, release.target, workshop.runner, offline=workshop.offline)
    requirements = folder / "build-requirements.txt"
    requirements.write_text(lock.text())
    python = release.target.python
    builder = venv.venv(
        folder / "builder", python, requirements, tools, workshop.uv_program(), workshop.runner
    )
    source = folder / "source"
    stage.unpack(tar, source, component.source.exclude)
    epoch = release.lock.packages[component.name].timestamp
    return venv.build_wheel(
        source, builder, folder / "wheel", epoch, workshop.runner, isolate=workshop.isolate
    )


def write_component_debian(
    release: Release, component: Component, credits: Mapping[str, object], folder: Path
) -> None:
    """Write debian/ of a component; ``credits`` are those of ``accounting``."""
    locked = release.lock.components[component.name]
    url = locked.url
    values: dict[str, object] = {
        **release.values(),
        **credits,
        "architecture": release.target.architecture,
        "python": release.target.python,
        "next_python": _next_minor(release.target.python),
        "summary": component.summary,
        "long_description": paragraph(component.description),
        "depends": "".join(f", {each}" for each in component.depends),
        "commit": locked.commit,
        "url": url,
        "vcs_git": url if "://" in url and not url.startswith("file:") else "",
        "directories": stage.state_directories(component),
        "settings": [each.name for each in component.config],
        "units": [each.name for each in component.units],
    }
    write_debian("component", component.name, release.history(component.name), values, folder)


def common_contents(release: Release, folder: Path) -> None:
    """Write payload and debian/ of the package with the user, the directories and tradingctl."""
    name = Names.of(release.definition).common
    modules = folder / "payload/usr/share" / name / "tradingctl"
    for relative, module in tradingctl_files().items():
        (modules / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, modules / relative)
    changelog = release.changelog(name, release.version(name), "tradingctl and the shared places")
    components = [each.name for each in release.definition.components]
    values = {
        **release.values(),
        "guarded": [Names.of(release.definition).stack, name, *components],
    }
    write_debian("common", name, changelog, values, folder)
    origin = release.origin(name, release.version(name))
    accounting.write_other(origin, "user, directories and tradingctl", folder / "payload")
    venv.normalise(folder / "payload", changelog.epoch)


def stack_contents(release: Release, folder: Path) -> None:
    """Write payload and debian/ of the package that is the release."""
    names = Names.of(release.definition)
    name = names.stack
    # The versions of a package must not be in another's that does not change with it: only the
    # stack, which is new with every release, may name any.
    together = [names.common, *(each.name for each in release.definition.components)]
    packages = {each: release.version(each) for each in together}
    described = description.Stack(
        package=name,
        release=release.lock.release,
        version=release.version(name),
        packages=packages,
    )
    target = folder / "payload/usr/share/trading/stack.json"
    target.parent.mkdir(parents=True)
    target.write_text(described.to_json(), encoding="utf-8")
    changelog = release.changelog(
        name,
        release.version(name),
        ", ".join(f"{package} {version}" for package, version in packages.items()),
    )
    values = {
        **release.values(),
        "section": "metapackages",
        "packages": packages,
        "release": release.lock.release,
    }
    write_debian("stack", name, changelog, values, folder)
    origin = release.origin(name, release.version(name))
    accounting.write_stack(origin, "the release as a whole", packages, folder / "payload")
    venv.normalise(folder / "payload", changelog.epoch)


def ibgateway_contents(release: Release, name: str, folder: Path) -> None:
    """Write payload and debian/ of the optional package for a headless IB Gateway."""
    values = {
        **release.values(),
        "sandbox": [line for line in directives() if line[0] != "MemoryDenyWriteExecute"],
        "settings": ["ibgateway.env"],
        "units": ["ibgateway"],
    }
    changelog = release.changelog(name, release.version(name), "unit and configuration template")
    write_debian("ibgateway", name, changelog, values, folder)
    described = description.Component(
        name="ibgateway",
        package=name,
        version=release.version(name),
        release=release.lock.packages[name].changed_in,
        repository="",
        commit="",
        units=(description.Unit("ibgateway.service", order=50),),
    )
    target = folder / "payload/usr/share/trading/components" / f"{name}.json"
    target.parent.mkdir(parents=True)
    target.write_text(described.to_json(), encoding="utf-8")
    origin = release.origin(name, release.version(name))
    accounting.write_other(origin, "unit for a headless IB Gateway", folder / "payload")
    venv.normalise(folder / "payload", changelog.epoch)


def keyring_contents(
    release: Release, version: str, trusted: Mapping[str, Mapping[str, bytes]],
    development: bool, folder: Path,
) -> None:  # fmt: skip
    """Write payload and debian/ of the package that tells apt about the repository.

    ``trusted`` are the binary public keys by role (repository, package, channels with a key of
    their own), then by fingerprint.
    """
    name = Names.of(release.definition).keyring
    stack = release.definition.stack
    payload = folder / "payload"
    files = {
        role: f"usr/share/keyrings/{name}{'' if role == 'repository' else f'-{role}'}.pgp"
        for role in trusted
        if role != "package"
    }
    values = {
        **release.values(),
        "uri": stack.archive.uri,
        "origin": stack.archive.origin,
        "channels": [
            {
                "suite": f"{release.target.name}-{each.name}",
                "key": f"/{files.get(each.name, files['repository'])}",
            }
            for each in stack.channels
        ],
        "own_keys": len(files) > 1,
        "architecture": release.target.architecture,
        "development": development,
    }
    changelog = release.changelog(name, version, "the keys and the address of the repository")
    write_debian("keyring", name, changelog, values, folder)
    for role, place in files.items():
        _write(payload / place, b"".join(trusted[role].values()))
    for fingerprint, key in trusted["package"].items():
        _write_policy(name, stack.name, fingerprint[-16:], key, payload)
    origin = release.origin(name, version)
    accounting.write_other(origin, "keys and address of the repository", payload)
    venv.normalise(payload, changelog.epoch)


def _write_policy(keyring: str, stack: str, key_id: str, key: bytes, payload: Path) -> None:
    """Write what debsig-verify, which looks in /etc, needs to accept packages of a key.

    The policy is no conffile, for dpkg keeps those of keys that are trusted no more.
    """
    _write(payload / f"usr/share/debsig/keyrings/{key_id}/{stack}.pgp", key)
    policy = f"/usr/share/{keyring}/{key_id}.pol"
    text = render_one("_debsig_policy", {"stack": stack, "key_id": key_id})
    _write(payload / policy.lstrip("/"), text.encode())
    link = payload / f"etc/debsig/policies/{key_id}/{stack}.pol"
    link.parent.mkdir(parents=True)
    link.symlink_to(policy)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def paragraph(text: str) -> str:
    """Return ``text`` as an extended description (Policy 5.6.13): indented, "." for empty lines."""
    lines = text.strip().splitlines()
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in lines)


def _next_minor(python: str) -> str:
    major, minor = python.split(".")
    return f"{major}.{int(minor) + 1}"
