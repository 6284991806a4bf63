"""Make the virtual environment of a component: the same bits whoever makes it, wherever.

The wheels are unpacked by uv into a private cache and hard-linked from there, which writes every
file once. What uv or the machine leaves of itself is removed, and the byte code is compiled with
content hashes and the path at which it will run.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

import build
from debstack.errors import BuildError, DebstackError, DependencyError
from debstack.isolation import among_system_files, writing
from debstack.process import Result, Runner, base_environment

# Left behind by uv: locks, activation scripts (the units name the interpreter) and a patch for a
# distutils that nothing here uses, which every start of Python would pay for.
_JUNK = (".lock", ".gitignore", "CACHEDIR.TAG", "bin/activate*", "bin/deactivate*", "bin/pydoc.bat",
         "lib/python*/site-packages/_virtualenv.*")  # fmt: skip
# Say where and when a wheel was unpacked, or by whom it was asked for.
_MACHINE_FILES = ("uv_cache.json", "direct_url.json", "REQUESTED")

# Prints which of some files are valid.
_VALID = """
import sys
for name in sys.argv[1:]:
    try:
        with open(name, "rb") as file:
            compile(file.read(), name, "exec", dont_inherit=True)
    except Exception:
        continue
    print(ascii(name))
"""
_AT_ONCE = 1000
# A folder in which no module is that could be taken for one of Python's.
_NOWHERE = Path("/")


@dataclass(frozen=True)
class Environment:
    """A virtual environment at ``root``, made for the target's Python ``python`` ("3.11")."""

    root: Path
    python: str

    @property
    def site_packages(self) -> Path:
        """Where its distributions are installed."""
        return self.root / "lib" / f"python{self.python}" / "site-packages"

    def distributions(self) -> list[tuple[str, Distribution]]:
        """Return what is installed in it: the name of each dist-info folder and what is in it."""
        folders = sorted(self.site_packages.glob("*.dist-info"))
        return [(folder.name, Distribution.at(folder)) for folder in folders]


def venv(
    root: Path, python: str, requirements: Path, wheels: Sequence[Path], uv: Path, runner: Runner
) -> Environment:
    """Make the environment ``root`` from exactly the wheels that ``requirements`` lists by hash.

    Nothing is fetched: ``wheels`` are files, ``uv`` is the program. Raises DependencyError if a
    wheel is missing or its hash is not the one listed, and if something else is installed then
    than what they are called.
    """
    with _wheelhouse(wheels) as (wheelhouse, env):
        runner.run(
            [uv, "venv", "--relocatable", "--no-config", "--no-project", "--offline",
             "--python", f"/usr/bin/python{python}", root],
            env=env,
        )  # fmt: skip
        _install(root, ["--require-hashes", "-r", requirements], wheelhouse, env, uv, runner)
    environment = Environment(root, python)
    _demand_exactly(environment, wheels)
    return environment


def _demand_exactly(environment: Environment, wheels: Sequence[Path]) -> None:
    """Raise DependencyError unless exactly the distributions of ``wheels`` are installed."""
    wanted = sorted(parse_wheel_filename(each.name)[:2] for each in wheels)
    found = sorted(
        (canonicalize_name(each.metadata["Name"]), Version(each.version))
        for _, each in environment.distributions()
    )
    if found != wanted:
        differing = sorted(set(found) ^ set(wanted)) or found
        raise DependencyError(
            "what is installed is not what the lock names",
            hint="a wheel holds other distributions than its name says; do not use it",
            details=[f"{name} {version}: {'installed' if (name, version) in found else 'missing'}"
                     for name, version in differing],
        )  # fmt: skip


def add_wheel(environment: Environment, wheel: Path, uv: Path, runner: Runner) -> None:
    """Install the component's own wheel; its dependencies are there already."""
    with _wheelhouse([]) as (wheelhouse, env):
        _install(environment.root, [wheel], wheelhouse, env, uv, runner)


def build_wheel(
    source: Path,
    build_environment: Environment,
    destination: Path,
    epoch: int,
    runner: Runner,
    *,
    isolate: bool = False,
) -> Path:
    """Build the wheel of the project in ``source`` with the tools of ``build_environment``.

    ``epoch`` is SOURCE_DATE_EPOCH. With ``isolate`` the build backend, which is other people's
    code, has no network, sees Debian's files and these, and writes to ``source`` and
    ``destination`` alone. Raises DependencyError if the project asks for build requirements that
    are not in the lock.
    """
    destination.mkdir(parents=True, exist_ok=True)
    project = _project(source, build_environment, epoch, runner, isolate, destination)
    missing = _missing(project, build_environment)
    if missing:
        raise DependencyError(
            "the project's build requirements are not in its lock: " + ", ".join(missing),
            hint="run: debstack lock --upgrade",
        )
    with _judged():
        return Path(project.build("wheel", destination))


def build_requires(
    source: Path, build_environment: Environment, runner: Runner, *, isolate: bool = False
) -> list[str]:
    """Return what building the project needs beyond what ``build_environment`` has."""
    return _missing(_project(source, build_environment, 0, runner, isolate), build_environment)


def _project(
    source: Path,
    build_environment: Environment,
    epoch: int,
    runner: Runner,
    isolate: bool,
    *results: Path,
) -> build.ProjectBuilder:
    def call_backend(
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        env = base_environment() | {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
        env |= {"HOME": str(source), "XDG_RUNTIME_DIR": str(source), **(extra_environ or {})}
        # Where it is compiled is not to be in what is compiled.
        env["CFLAGS"] = f"-ffile-prefix-map={source}=."
        prefix: list[str] = []
        if isolate:
            # What calls the backend, and where it leaves what the backend answers: PEP 517 in a
            # process of its own, as pyproject_hooks does it.
            program, answers = Path(cmd[1]).parent, Path(cmd[-1])
            prefix = [
                *among_system_files([build_environment.root, program]),
                *writing([source, answers, *results]),
            ]
            env["TMPDIR"] = "/tmp"  # noqa: S108  (its own)
        runner.run([*prefix, *cmd], cwd=Path(cwd) if cwd else None, env=env)

    interpreter = build_environment.root / "bin" / "python"
    return build.ProjectBuilder(source, python_executable=str(interpreter), runner=call_backend)


@contextmanager
def _judged() -> Iterator[None]:
    """Say what failed when a build backend does, in place of a traceback through it."""
    try:
        yield
    except (build.BuildException, build.BuildBackendException) as error:
        cause = getattr(error, "exception", None)
        if isinstance(cause, DebstackError):
            raise cause from None
        raise BuildError(f"the build backend failed: {error}") from error


def _missing(project: build.ProjectBuilder, environment: Environment) -> list[str]:
    """Return the build requirements of the project that ``environment`` does not meet."""
    with _judged():
        required = project.build_system_requires | project.get_requires_for_build("wheel")
    return sorted(each for each in required if not _has(environment, Requirement(each)))


def clean(environment: Environment) -> None:
    """Remove what would differ between two machines, or is of no use at run time."""
    for pattern in _JUNK:
        for path in environment.root.glob(pattern):
            path.unlink()
    (environment.root / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {environment.python}\n"
    )
    for path in list(environment.site_packages.rglob("__pycache__")):
        shutil.rmtree(path)
    for dist_info in environment.site_packages.glob("*.dist-info"):
        _forget(dist_info, [name for name in _MACHINE_FILES if (dist_info / name).exists()])


def compile_bytecode(tree: Path, final: Path, python: str, jobs: int, runner: Runner) -> None:
    """Compile every module below ``tree`` as if it lay at ``final``.

    The files are valid by content hash and never checked again, so that they are the same bits in
    every build and cost nothing at start. Modules for other versions of Python that a wheel
    brings may fail to compile; they are named in the log. Source of the component itself may not:
    BuildError, as for a module that has no byte code although it is valid.
    """
    tree = tree.absolute()
    # fmt: off
    command = [
        *_python(python), "-m", "compileall", "-q", "-j", str(jobs),
        "--invalidation-mode", "unchecked-hash",
        "-s", str(tree), "-p", str(final),
    ]
    # fmt: on
    # What is left out is so by its path in the tree, wherever that lies.
    within = f"^{re.escape(str(tree))}(/.*)?"
    # No service imports the test suites that some wheels bring, and they are a third of the work.
    tests = f"{within}/site-packages/.*/tests/"
    env = base_environment() | {"PYTHONHASHSEED": "0"}
    done = runner.run([*command, "-x", tests, tree / ".venv"], cwd=_NOWHERE, env=env, check=False)
    _demand_finished(done)
    _demand_compiled(tree / ".venv", tests, python, runner)
    own = runner.run(
        [*command, "-x", rf"{within}/\.venv/", tree], cwd=_NOWHERE, env=env, check=False
    )
    _demand_finished(own)
    if own.returncode:
        raise BuildError(
            f"not valid Python {python}",
            hint="correct the files at their commit, or exclude them in packaging/components",
            details=own.text.splitlines()[-20:],
        )


def _python(python: str) -> list[str]:
    """Return the command of the target's Python, with nothing of the user's, nor of a folder's."""
    return [f"/usr/bin/python{python}", "-P", "-s"]


def _demand_finished(done: Result) -> None:
    """Raise BuildError if compileall did not come to its end: it says 1 of what does not compile.

    A killed process of several ends the others, and all of it with a traceback.
    """
    lines = done.text.splitlines()
    if done.returncode not in (0, 1) or any(each.startswith("Traceback ") for each in lines):
        raise BuildError(
            f"the byte code was not compiled to the end (exit code {done.returncode})",
            hint="see whether memory or disk were full; then build again",
            details=lines[-20:],
        )


def _demand_compiled(root: Path, left_out: str, python: str, runner: Runner) -> None:
    """Raise BuildError if a module below ``root`` is valid and has no byte code.

    That depends on the machine, as of a full disk, and the package would have other bits.
    """
    tag = f"cpython-{python.replace('.', '')}"
    missing = []
    for folder, folders, files in os.walk(root):
        folders[:] = [each for each in folders if each != "__pycache__"]
        for file in (Path(folder, each) for each in files if each.endswith(".py")):
            stem = file.name.removesuffix(".py") or "py"
            compiled = file.parent / "__pycache__" / f"{stem}.{tag}.pyc"
            if file.is_file() and not re.search(left_out, str(file)) and not compiled.is_file():
                missing.append(file)
    for start in range(0, len(missing), _AT_ONCE):
        found = runner.capture(
            [*_python(python), "-W", "ignore", "-c", _VALID, *missing[start : start + _AT_ONCE]],
            cwd=_NOWHERE,
        )
        if found.text:
            raise BuildError(
                f"{found.text.splitlines()[0]} has no byte code, although it is valid Python"
                f" {python}",
                hint="see in the log what kept it from being compiled, such as a full disk; then"
                " build again",
            )


def normalise(tree: Path, epoch: int) -> None:
    """Give every file and folder below ``tree`` the same modes and times on every machine."""
    for path in [tree, *tree.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _has(environment: Environment, requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    versions = {
        canonicalize_name(each.metadata["Name"]): each.version
        for _, each in environment.distributions()
    }
    version = versions.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


class _wheelhouse:  # noqa: N801  (a context manager, read as a function)
    """A folder of links to wheels and a private uv cache beside it, gone afterwards."""

    def __init__(self, wheels: Iterable[Path]) -> None:
        self._wheels = tuple(wheels)

    def __enter__(self) -> tuple[Path, dict[str, str]]:
        self._folder = tempfile.TemporaryDirectory(prefix="debstack-wheels-")
        wheelhouse = Path(self._folder.name) / "wheels"
        wheelhouse.mkdir()
        for wheel in self._wheels:
            (wheelhouse / wheel.name).symlink_to(wheel.resolve())
        return wheelhouse, base_environment()

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _install(
    root: Path,
    what: Sequence[str | Path],
    wheelhouse: Path,
    env: dict[str, str],
    uv: Path,
    runner: Runner,
) -> None:
    # The cache must share a file system with the environment, or uv falls back to copying.
    with tempfile.TemporaryDirectory(prefix=".uv-", dir=root.parent) as cache:
        runner.raising(DependencyError).run(
            [uv, "pip", "install", "--no-config", "--offline", "--no-index",
             "--find-links", wheelhouse, "--cache-dir", cache, "--link-mode", "hardlink",
             "--no-deps", "--only-binary", ":all:", "--python", root / "bin" / "python",
             *what],
            env=env,
        )  # fmt: skip


def _forget(dist_info: Path, names: Sequence[str]) -> None:
    """Remove files of a dist-info folder together with their lines in RECORD."""
    for name in names:
        (dist_info / name).unlink()
    record = dist_info / "RECORD"
    if names and record.exists():
        gone = {f"{dist_info.name}/{name}" for name in names}
        with record.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row and row[0] not in gone]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        record.write_text(text.getvalue(), encoding="utf-8", newline="")
