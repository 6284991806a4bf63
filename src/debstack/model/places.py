"""Where things lie in a project: each path is named here, once."""

from __future__ import annotations

from pathlib import Path

NO_OWN_FILE = "is not a regular file of packaging/"
OWN_FILE = "put the file itself there, not a link to it"


def packaging_folder(project: Path) -> Path:
    """Return the folder of everything that a user writes."""
    return project / "packaging"


def stack_file(project: Path) -> Path:
    """Return the file that defines the stack."""
    return packaging_folder(project) / "stack.toml"


def components_folder(project: Path) -> Path:
    """Return the folder with one file per component."""
    return packaging_folder(project) / "components"


def component_file(project: Path, name: str) -> Path:
    """Return the file that defines the component ``name``."""
    return components_folder(project) / f"{name}.toml"


def lock_file(project: Path) -> Path:
    """Return the release lock."""
    return packaging_folder(project) / "repos.lock"


def locks_folder(project: Path) -> Path:
    """Return the folder of the dependency locks."""
    return packaging_folder(project) / "locks"


def requirements_lock(target: str, component: str) -> str:
    """Return the path, below the locks' folder, of a component's dependency lock."""
    return f"{target}/{component}.txt"


def build_requirements_lock(target: str, component: str) -> str:
    """Return the path, below the locks' folder, of a component's build dependency lock."""
    return f"{target}/{component}.build.txt"


def is_own_file(path: Path, packaging: Path) -> bool:
    """Whether a file lies in ``packaging`` itself: it is no link, nor in a folder that leads away.

    Where a link leads to, neither a clean root nor another checkout need have anything.
    """
    is_regular = path.is_file() and not path.is_symlink()
    return is_regular and path.resolve().is_relative_to(packaging.resolve())
